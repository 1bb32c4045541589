"""VM documents as OpenNebula's network drivers get them: every copied element in a TEMPLATE of its own."""

import base64
from xml.sax.saxutils import escape

import pytest


def _elements(values):
    return "".join(
        f"<{name}>{_elements(value) if isinstance(value, dict) else escape(str(value))}</{name}>"
        for name, value in values.items()
    )


def vm_document(number=7, nics=(), rules=(), others=(), hosts=("one-host",)):
    """``nics`` and ``rules`` are mappings of attributes, ``others`` (kind, attributes) of further TEMPLATE parts."""
    parts = [f"<ID>{number}</ID><DEPLOY_ID>one-{number}</DEPLOY_ID>"]
    parts += [f"<TEMPLATE><SECURITY_GROUP_RULE>{_elements(rule)}</SECURITY_GROUP_RULE></TEMPLATE>" for rule in rules]
    parts += [f"<HISTORY_RECORDS><HISTORY><HOSTNAME>{host}</HOSTNAME></HISTORY></HISTORY_RECORDS>" for host in hosts]
    parts += [f"<TEMPLATE><NIC>{_elements(nic)}</NIC></TEMPLATE>" for nic in nics]
    parts += [f"<TEMPLATE><{kind}>{_elements(values)}</{kind}></TEMPLATE>" for kind, values in others]
    return f"<VM>{''.join(parts)}</VM>".encode()


def nic_of(machine=7, number=0, **changed):
    """The attributes of a NIC on network 3."""
    return {
        "NIC_ID": number,
        "TARGET": f"one-{machine}-{number}",
        "MAC": f"02:00:0a:09:00:{10 + machine:02x}",
        "IP": f"172.31.0.{10 + machine}",
        "NETWORK": "ours",
        "NETWORK_ID": 3,
        "BRIDGE": "br-int",
        "VN_MAD": "sluice",
        "SECURITY_GROUPS": "100",
    } | changed


def rule_of(group=100, **attributes):
    """A rule, inbound unless it says otherwise."""
    return {"RULE_TYPE": "inbound", "SECURITY_GROUP_ID": group, "SECURITY_GROUP_NAME": "web"} | attributes


@pytest.fixture
def document():
    return vm_document


@pytest.fixture
def nic():
    return nic_of


@pytest.fixture
def rule():
    return rule_of


@pytest.fixture
def encoded():
    return lambda text: base64.b64encode(text).decode()

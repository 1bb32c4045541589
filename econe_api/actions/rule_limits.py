"""How many rules a group may have: what each one counts.

"Amazon VPC quotas": IPv4 and IPv6 rules count apart, a reference to a group counts as one of each, and one to a prefix
list as many as the list may have entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from econe_api.actions import prefix_list_rows, rule_rows
from econe_api.actions.permissions import Permission, SourceKind
from econe_api.actions.prefix_list_rows import PrefixList
from econe_api.errors import Ec2Error
from econe_api.store.quotas import INBOUND_RULES, OUTBOUND_RULES
from econe_api.store.schema import rules
from econe_api.store.transaction import Transaction


def check(txn: Transaction, found: Iterable[Permission], *, egress: bool) -> None:
    """Refuse more rules in one direction of a group than the account's quota.

    Raises:
        Ec2Error: RulesPerSecurityGroupLimitExceeded.

    """
    _check(txn, list(found), {}, egress=egress)


def check_resize(txn: Transaction, groups: Sequence[str], sizes: Mapping[str, int]) -> None:
    """Refuse new ``sizes`` of prefix lists that are too much for one of the ``groups`` that refer to them.

    Raises:
        Ec2Error: RulesPerSecurityGroupLimitExceeded.

    """
    found = rule_rows.load(txn, rules.c.group.in_(groups))
    for group in groups:
        for egress in (False, True):
            mine = [rule.permission for rule in found if rule.group == group and rule.egress is egress]
            _check(txn, mine, sizes, egress=egress)


def _check(txn: Transaction, found: Sequence[Permission], sizes: Mapping[str, int], *, egress: bool) -> None:
    named = {one.source for one in found if one.kind is SourceKind.PREFIX_LIST}
    lists = prefix_list_rows.named(txn, sorted(named)) if named else {}
    most = max(_count(found, lists, sizes, family) for family in ("IPv4", "IPv6"))
    if most > txn.quota(OUTBOUND_RULES if egress else INBOUND_RULES):
        raise Ec2Error(
            "RulesPerSecurityGroupLimitExceeded",
            "The maximum number of rules per security group has been reached.",
        )


def _count(found: Sequence[Permission], lists: Mapping[str, PrefixList], sizes: Mapping[str, int], family: str) -> int:
    other = SourceKind.CIDR6 if family == "IPv4" else SourceKind.CIDR
    count = 0
    for one in found:
        if one.kind is SourceKind.PREFIX_LIST:
            listed = lists[one.source]
            count += sizes.get(listed.id, listed.max_entries) if listed.family == family else 0
        elif one.kind is not other:
            count += 1
    return count

"""A push of ten thousand flows that ends at a random byte leaves the old table or the new one, never a mixture.

To a switch a controller that is killed is a connection that ends.
"""

import os
import random
import socket

import eventlet
import pytest

from controller import outlet
from controller.openflow import OpenFlowSession, OutcomeUnknownError
from flowrules import fields
from flowrules.actions import Load, Resubmit
from flowrules.diff import as_installed, encode_delete
from flowrules.encode import flow_add
from flowrules.flow import flow, match

POINTS = int(os.environ.get("SLUICE_FAULT_POINTS", "3"))
MANY = 10_000


def flows(first, value):
    return [
        flow(22, 100, [match(fields.REG3, number)], [Load(fields.REMOTE_SET, value), Resubmit(24)])
        for number in range(first, first + MANY)
    ]


def test_never_mixed(ryu_server, private_ovs, bridge, monkeypatch):
    private_ovs.vsctl("set", "controller", bridge, "max_backoff=1000")  # it comes back after a second, not eight
    old, new = flows(0, 1), flows(MANY // 2, 2)
    states = [sorted(as_installed(item) for item in state) for state in (old, new)]
    deletes = [encode_delete(as_installed(item)) for item in old[: MANY // 2]]
    adds = [flow_add(item) for item in new]
    whole = sum(16 + len(one) + 8 for one in [*deletes, *adds])
    chance = random.Random(POINTS)
    before = [flow_add(item) for item in old]
    found, send = [], outlet.send
    for _ in range(POINTS):
        session = connect(ryu_server)
        if found != states[0]:
            session.apply([encode_delete(item) for item in found], before)
        left = chance.randrange(whole)
        datapath = session._datapath

        def some(datapath, buffer, send=send):
            nonlocal left
            sent = send(datapath, buffer[:left])
            left -= len(buffer)
            if left <= 0:
                while datapath.send_q is not None and datapath.send_q.qsize():
                    eventlet.sleep(0)
                datapath.socket.shutdown(socket.SHUT_RDWR)
            return sent and left > 0

        with monkeypatch.context() as patch, pytest.raises(OutcomeUnknownError):
            patch.setattr(outlet, "send", some)
            session.apply(deletes, adds)
        ryu_server.wait(lambda datapath=datapath: not datapath.is_active, "the connection to end")
        session.close()
        session = connect(ryu_server)
        found = sorted(session.dump())
        assert found in states
        session.close()


def connect(ryu_server):
    ryu_server.datapaths = [each for each in ryu_server.datapaths if each.is_active]
    return OpenFlowSession(ryu_server.wait(ryu_server.ready, "the switch"))

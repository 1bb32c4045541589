"""Every verdict of the compiled flows on real Open vSwitch is the oracle's."""

import os

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from flowrules.flow import Flow
from topologies.oracle import DENIED, OUTSIDE, Sender, Service, State, verdict
from topologies.verdicts import TraceError

#: Random clouds per run; each is asked about 50 packets.
EXAMPLES = int(os.environ.get("SLUICE_ORACLE_EXAMPLES", "300"))
ASKED = 50


def _mismatches(tracer, state, asked):
    for sender, destination, service in asked:
        expected = verdict(state, sender, destination, service)
        found = tracer.verdict(sender, destination, service)
        event("denied" if expected == DENIED else "outside" if expected.receiver == OUTSIDE else "delivered")
        if found != expected:
            yield f"{sender} -> {destination} {service}: found {found}, expected {expected}"
        elif expected != DENIED:
            back = tracer.reply(found, service)
            # An answer reaches the opener from the very address that it had called.
            if (back.receiver, back.source) != (sender.interface or OUTSIDE, destination):
                yield f"{sender} -> {destination} {service}: the answer arrives as {back}"


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_clouds(data, stage, random_states, compiled, questions):
    state = data.draw(random_states)
    seed = data.draw(st.integers(0, 1 << 16))
    stage.install(compiled(state))
    tracer = stage.tracer(state)
    assert list(_mismatches(tracer, state, questions(state, seed, ASKED))) == []

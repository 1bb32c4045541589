"""The agent's file says what its command line would."""

from __future__ import annotations

import pytest

from agents.config_file import AgentConfigError, read_arguments, written
from agents.options import parse


def test_the_file_that_joining_writes_is_read():
    known = {"host": "h1", "controller": "ssl:10.0.0.1:6653", "report": "10.0.0.1:6654", "tls": "/x", "uplink": "eth1"}
    options = parse(read_arguments(written({**known, "fabric": None})))
    assert (options.host, str(options.tls), options.report) == ("h1", "/x", ("10.0.0.1", 6654))
    assert options.bridge.ports == ("eth1",)
    assert options.bridge.controller == "ssl:10.0.0.1:6653"


def test_numbers_and_flags():
    text = 'host = "h"\ncontroller = "tcp:10.0.0.1:1"\nreport = "10.0.0.1:2"\nno_metadata = true\nconntrack_limit = 9\n'
    options = parse(read_arguments(text))
    assert (options.metadata, options.conntrack_limit) == (None, 9)
    assert "--no-metadata" not in read_arguments("no_metadata = false")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("host", "is not TOML"),
        ('uplnk = "eth1"', "did you mean uplink?"),
        ("uplink = 1", "is not a string"),
        ('no_metadata = "yes"', "true or false"),
        ('conntrack_limit = "9"', "is no number"),
        ("answer_timeout = true", "is no number"),
    ],
)
def test_a_mistake_is_named(text, said):
    with pytest.raises(AgentConfigError, match=said.replace("?", r"\?")):
        read_arguments(text)

"""The agent's configuration file: the command line's options, without their dashes, as TOML.  Pure."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SYSTEM_FILE = Path("/etc/sluice/agent.toml")
"""What is read when no other is named."""
_TEXTS = (
    *("host", "bridge", "ovsdb", "controller", "report", "control", "uplink", "fabric", "fabric_mode", "fabric_ip"),
    *("datapath_type", "metadata_port", "dpid", "tls"),
)
_NUMBERS = ("conntrack_limit", "answer_timeout")
_FLAGS = ("no_metadata",)
_KNOWN = (*_TEXTS, *_NUMBERS, *_FLAGS)


class AgentConfigError(Exception):
    """The file cannot be used; the text is one line with key and mend."""


def read_arguments(text: str) -> list[str]:
    """Return the command line that a file's ``text`` stands for; raises :class:`AgentConfigError`."""
    try:
        document = tomllib.loads(text)
    except ValueError as error:
        raise AgentConfigError(f"is not TOML ({' '.join(str(error).split())}); mend it there") from error
    return [word for key, value in document.items() for word in _words(key, value)]


def _words(key: str, value: object) -> list[str]:
    option = f"--{key.replace('_', '-')}"
    if key not in _KNOWN:
        near = difflib.get_close_matches(key, _KNOWN, n=1)
        mend = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(_KNOWN))}"
        raise AgentConfigError(f"{key}: is not a known key; {mend}")
    if key in _FLAGS:
        if not isinstance(value, bool):
            raise AgentConfigError(f"{key}: is not true or false; write one of them")
        return [option] if value else []
    if key in _NUMBERS:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise AgentConfigError(f"{key}: is no number; write one")
        return [f"{option}={value}"]
    if not isinstance(value, str):
        raise AgentConfigError(f'{key}: is not a string; write it as {key} = "..."')
    return [f"{option}={value}"]


def written(known: Mapping[str, Any]) -> str:
    """Return the text of a file that says ``known``, strings by key; those that it does not say follow as comments."""
    lines = ["# What 'sluice agent run' does on this host; 'sluice agent check' looks whether it can."]
    lines += [f"{key} = {json.dumps(value)}" for key, value in known.items() if value is not None]
    for key, example in (("uplink", "eth1"), ("fabric", "eth2")):
        if known.get(key) is None:
            lines.append(f'# {key} = "{example}"')
    return "\n".join(lines) + "\n"

"""Questions to the switches of hosts, carried by their agents (docs/architecture.md, "Messages", ``appctl``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from eventlet.event import Event
from eventlet.timeout import Timeout

#: Seconds within which an agent has to answer.
PATIENCE = 12.0
Send = Callable[[Mapping[str, Any]], None]


class AskError(Exception):
    """A switch could not be asked, or gave an error for an answer; the text names host and cause in one line."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What ovs-vswitchd said; ``truncated`` = there was more than an agent passes on."""

    text: str
    truncated: bool = False


@dataclass(slots=True)
class _Line:
    connection: int
    send: Send
    pending: dict[int, Event] = field(default_factory=dict)


class AgentChannel:
    """The live agents, by host; one question waits for its own answer only."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._numbers = count(1)

    def opened(self, host: str, connection: int, send: Send) -> None:
        """An agent can be asked; a newer connection of one host replaces the older."""
        self.closed(host)
        self._lines[host] = _Line(connection, send)

    def closed(self, host: str, connection: int | None = None) -> None:
        """An agent's connection (None: whichever) is over: whoever waits for it hears so."""
        line = self._lines.get(host)
        if line is not None and connection in (None, line.connection):
            del self._lines[host]
            for event in line.pending.values():
                event.send_exception(AskError(f"the agent of {host} has gone in the middle of the question"))

    def answered(self, host: str, message: Mapping[str, Any]) -> None:
        """Take an ``appctl_reply``; one that nobody waits for is dropped."""
        line, number = self._lines.get(host), message.get("id")
        event = line.pending.pop(number, None) if line is not None and isinstance(number, int) else None
        if event is None:
            return
        error = message.get("error")
        if error is not None:
            event.send_exception(AskError(f"{host}: {error}"))
        else:
            event.send(Answer(str(message.get("text")), bool(message.get("truncated"))))

    def ask(self, host: str, command: str, *arguments: str, patience: float = PATIENCE) -> Answer:
        """Ask the switch of ``host`` what ovs-appctl would; raises :class:`AskError`."""
        line = self._lines.get(host)
        if line is None:
            raise AskError(f"the agent of {host} is not connected, so its switch cannot be asked")
        number, event = next(self._numbers), Event()
        line.pending[number] = event
        late = AskError(f"the agent of {host} gave no answer within {patience:g} s")
        try:
            with Timeout(patience, late):
                line.send({"type": "appctl", "id": number, "command": command, "arguments": list(arguments)})
                answer: Answer = event.wait()
        except OSError as error:
            raise AskError(f"the agent of {host} cannot be reached: {error}") from error
        finally:
            line.pending.pop(number, None)
        return answer

"""The API described from its own catalogue; ``python -m econe_api.document`` prints ``docs/api.md``.

What an action does is the docstring of its handler; which actions there are is the service model.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator, Mapping

from econe_api.actions import ACTIONS
from econe_api.call import Action, Answer
from econe_api.protocol.model import API_VERSION, operations

_WIDTH = 120
_INTRODUCTION = """\
# The API, action by action

*Generated from `econe_api/` by `scripts/docs`; edit the handlers' docstrings, not this page.*

The EC2 service model of version {version} has {total} actions. {works} do here what their names say, {empty} answer
that there is nothing, since this cloud has nothing of the kind, {refused} check what they are given and then refuse,
and the other {rest} are not supported.

* An action of the model that is not supported: `UnsupportedOperation`, HTTP status 400. So a client can tell it from a
  misspelt one.
* A name that is no action of the model: `InvalidAction`, HTTP status 400.
* A parameter that an action has in EC2 but not here, where it would change the answer: `UnsupportedOperation` as well;
  it is never passed over in silence.
* A parameter that the action does not have: `UnknownParameter`.
* Ids of another account are answered exactly like ids that do not exist.

Calls that fail change nothing. `DryRun` is honoured by every action: a call that would succeed answers
`DryRunOperation` with HTTP status 412.
"""
_HEADINGS = {
    Answer.WORKS: "## What works",
    Answer.EMPTY: "## What is answered as empty",
    Answer.REFUSED: "## What is checked and refused",
}


def document(actions: Mapping[str, Action] = ACTIONS) -> str:
    """The whole page."""
    return "\n".join(_lines(actions))


def _lines(actions: Mapping[str, Action]) -> Iterator[str]:
    by_answer = {kind: sorted(name for name, action in actions.items() if action.answer is kind) for kind in Answer}
    rest = sorted(operations() - actions.keys())
    counts = {kind.value: len(names) for kind, names in by_answer.items()}
    yield _INTRODUCTION.format(version=API_VERSION, total=len(operations()), rest=len(rest), **counts)
    for kind, heading in _HEADINGS.items():
        yield f"{heading}\n"
        yield "| action | |"
        yield "|---|---|"
        yield from (f"| {name} | {_summary(actions[name])} |" for name in by_answer[kind])
        yield ""
    yield "## What is not supported\n"
    yield textwrap.fill(", ".join(rest) + ".", _WIDTH)


def _summary(action: Action) -> str:
    """A handler's docstring up to its list of errors, as one line."""
    text = inspect.getdoc(action.handler) or ""
    return " ".join(text.partition("\nRaises:")[0].split()).replace("|", "\\|")


if __name__ == "__main__":
    print(document())  # noqa: T201 - the page is this command's output

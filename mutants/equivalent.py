"""Changes that change nothing that anyone can see, each with the reason why; they are not counted."""

from __future__ import annotations

from mutants.changes import Mutant

#: (module, what its line contains, how the change begins) -> why; "" as module or change: any.
REASONS: dict[tuple[str, str, str], str] = {
    ("", "xid: int = 0", "0 -> 1"): "any number will do; who waits for an answer gives its own",
    ("encode", "_flow_mod(_ADD,", "0 -> 1"): "a cookie mask means nothing when a flow is added (OpenFlow 1.3)",
    ("encode", ".pack(", "first two arguments of _BUNDLE"): "version 4 and message type 4 (experimenter)",
    ("encode", ".pack(", "first two arguments of _FLUSH_ZONE"): "version 4 and message type 4 (experimenter)",
    ("live", "_parts(", "first two arguments of _parts swapped"): "it says in what two flows differ, in no direction",
    ("compile_dhcp", "flow(t.SPOOF, 10,", "first two arguments of flow"): "the number of that table is 10 as well",
    ("", "__all__ = [", "without"): "who may import it is for mypy to say, which runs with the static checks",
    **{
        ("compile_group", "_GROUP_KIND << 62", change): "the kind of a group is 0, wherever it is shifted to"
        for change in ("62 -> ", "LShift -> ")
    },
}


def reason(mutant: Mutant) -> str | None:
    """Why a mutant is equivalent to the original; None = it is not."""
    for (module, fragment, change), why in REASONS.items():
        if module in ("", mutant.path.stem) and fragment in mutant.before and mutant.change.startswith(change):
            return why
    return None

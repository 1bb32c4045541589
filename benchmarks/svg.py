"""One row as a picture: a bar for us, a bar for the peer, a mark where the goal is.  Plain SVG, made by hand."""

from __future__ import annotations

from html import escape

from benchmarks.result import Result, number

_WIDTH = 640
_LEFT = 130
_BAR = 26
_GAP = 12
_TOP = 46
_ROOM = 120
"""Pixels right of the longest bar, for its figure."""
_COLOURS = ("#2b6cb0", "#a0aec0")


def draw(result: Result) -> str:
    """The picture of one row, lengths in proportion to the figures."""
    bars = [("Sluice", result.ours)]
    if result.theirs is not None:
        bars.append((result.peer.split(",")[0].split(" (")[0], result.theirs))
    longest = max(value for _, value in bars) or 1.0
    height = _TOP + len(bars) * (_BAR + _GAP) + 28
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="26" font-size="15" font-weight="bold">{escape(result.row)} ({escape(result.unit)})</text>',
    ]
    for place, (name, value) in enumerate(bars):
        y = _TOP + place * (_BAR + _GAP)
        length = max(1.0, value / longest * (_WIDTH - _LEFT - _ROOM))
        middle = y + _BAR // 2 + 5
        lines += [
            f'<text x="{_LEFT - 8}" y="{middle}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{_LEFT}" y="{y}" width="{length:.1f}" height="{_BAR}" fill="{_COLOURS[place]}"/>',
            f'<text x="{_LEFT + length + 6:.1f}" y="{middle}">{number(value)}</text>',
        ]
    lines += [f'<text x="12" y="{height - 12}" fill="#4a5568">{escape(_verdict(result))}</text>', "</svg>"]
    return "\n".join(lines) + "\n"


def _verdict(result: Result) -> str:
    words = [] if result.ratio is None else [f"ratio {result.ratio:.2f}"]
    if result.goal:
        words.append(f"goal: {result.goal}")
    if result.met is not None:
        words.append("met" if result.met else "missed")
    return "; ".join(words)

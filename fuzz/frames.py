"""``scripts/test frames``: mutated OpenFlow messages against the guard and Ryu's parsers together.

What must hold for every frame, each bounded by an alarm of processor time:

* guard and Ryu, as the controller puts them together, come to an end, and neither raises;
* what the guard hands to a session as bytes is decoded, or refused by a ``DecodeError``;
* whatever the guard lets through, Ryu's own parser for that message comes to an end on it as well, though the
  controller does not give it more than the handshake.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import click

from controller.guard import Frame
from flowrules.encode import HEADER, MessageType
from fuzz.campaign import resident_kb
from fuzz.frame_corpus import corpus
from topologies.errors import LabError

#: Seconds of processor time for one frame; the longest honest one takes some milliseconds.
PATIENCE = 2.0
#: Beyond this something is kept of each frame, in kB.
GROWTH = 20_000
#: Ryu's parser alone is tried with every so many-th frame that passes: it is slow.
_EVERY = 8
_MOST_SHOWN = 20
_INTERESTING = (0, 1, 2, 3, 4, 7, 8, 15, 16, 0x7F, 0x80, 0xFE, 0xFF)


class _TooLongError(BaseException):
    """No Exception, so that no parser takes it for a fault of the frame."""


@dataclass
class Outcome:
    """What came of it; memory is this process's resident size, in kB."""

    frames: int = 0
    seconds: float = 0.0
    verdicts: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    warm_kb: int = 0
    end_kb: int = 0


def mutated(random: Random, frames: list[bytes]) -> bytes:
    """One frame of ``frames`` with a few things wrong; most say truly how long they are."""
    frame = bytearray(random.choice(frames))
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 5))):
        _mutate(random, frame, frames)
    if len(frame) >= 8 and random.random() < 0.85:
        frame[2:4] = (len(frame) & 0xFFFF).to_bytes(2, "big")
    return bytes(frame[:0xFFFF])


def _mutate(random: Random, frame: bytearray, frames: list[bytes]) -> None:
    at = random.randrange(len(frame)) if frame else 0
    what = random.randrange(8)
    if what < 3 and frame:
        frame[at] = random.choice(_INTERESTING) if what else random.randrange(256)
    elif what == 3:
        # A length of 16 bits, where lists have theirs.
        at &= ~1
        frame[at : at + 2] = random.choice((0, 1, 3, 4, 8, 0x7FFF, 0xFFFF, len(frame) - at)).to_bytes(3, "big")[-2:]
    elif what == 4:
        del frame[at:]
    elif what == 5:
        frame += random.randbytes(random.randint(1, 40))
    elif what == 6:
        del frame[at & ~7 : (at & ~7) + random.choice((2, 4, 8, 16))]
    else:
        other = random.choice(frames)
        start = random.randrange(len(other)) & ~3
        frame[at & ~3 : at & ~3] = other[start : start + random.choice((4, 8, 16, 64))]


class _Peer:
    """Stands where Ryu's connection stands."""

    address = ("192.0.2.1", 6653)

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Judge:
    """Takes frames as the controller would; not more than one at a time in a process, because of its alarm."""

    def __init__(self) -> None:
        # Ryu wants Eventlet's WSGI module as it was; the controller's entry point sees to that.
        import eventlet.wsgi

        eventlet.wsgi.ALREADY_HANDLED = getattr(eventlet.wsgi, "ALREADY_HANDLED", object())
        from ryu.ofproto import ofproto_protocol, ofproto_v1_3, ofproto_v1_3_parser

        from controller import wire
        from controller.refusals import Refusals
        from fuzz.frame_decoders import decode

        logging.getLogger("controller").setLevel(logging.CRITICAL)
        self.refusals = Refusals()
        self._gate = wire.Gate(self.refusals)
        self._wire = wire
        self._parser = ofproto_v1_3_parser
        self._protocol = ofproto_protocol.ProtocolDesc(version=ofproto_v1_3.OFP_VERSION)
        self._decode = decode
        self._passed = 0

    def judge(self, frame: bytes) -> tuple[str, str | None]:
        """The verdict in a word, and what was wrong with it, if anything was."""
        received: list[Frame] = []
        peer = _Peer()
        self._wire.attach(peer, received.append)
        try:
            with _bounded():
                parsed = self._gate.take(peer, 0, 0, 0, 0, bytearray(frame))
                for one in received:
                    self._decode(one)
        except _TooLongError:
            return "hang", f"not done after {PATIENCE:g} s"
        except Exception as error:
            return "raised", repr(error)
        if peer.closed:
            return "refused", None if parsed is None and not received else "refused and given on"
        self._passed += 1
        word = "for Ryu" if parsed is not None else "for the session" if received else "dropped"
        return word, self._alone(frame) if self._passed % _EVERY == 0 else None

    def _alone(self, frame: bytes) -> str | None:
        """Ryu's own parser on a frame that has passed."""
        if frame[1] == MessageType.HELLO:
            return None  # Ryu never sees one: it is given one of our making
        try:
            with _bounded(), contextlib.suppress(Exception):
                self.ryu_alone(None, frame)
        except _TooLongError:
            return f"Ryu's parser is not done after {PATIENCE:g} s"
        return None

    def ryu_alone(self, _datapath: object, frame: bytes) -> object:
        """What Ryu's parser makes of a whole frame when nobody stands in front of it."""
        _, kind, length, xid = HEADER.unpack_from(frame)
        return self._parser.msg_parser(self._protocol, 4, kind, length, xid, bytearray(frame))


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    # Python swallows what is raised while its cycle collector calls back, as Hypothesis has it do, and a parser that
    # runs for ever allocates all the time: so the collector rests meanwhile.
    gc.disable()
    signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        gc.enable()


def ring(_number: int, _frame: FrameType | None) -> Any:
    """Handle the alarm."""
    raise _TooLongError


def run(folder: Path, frames: int, seed: int, progress: Callable[[str], None] = lambda _: None) -> Outcome:
    """Judge as many mutated frames, with a switch in ``folder`` to learn from; LabError without Open vSwitch."""
    known, judge, outcome = corpus(folder), Judge(), Outcome()
    previous = signal.signal(signal.SIGVTALRM, ring)
    begin = time.monotonic()
    try:
        for frame in known:
            word, fault = judge.judge(frame)
            if word == "refused" or fault is not None:
                outcome.wrong.append((fault or "an honest frame is refused", frame.hex()))
        for number in range(1, frames + 1):
            random = Random(f"{seed}/{number}")  # noqa: S311 - to be repeatable is what it is for
            frame = mutated(random, known)
            if len(frame) < 8:
                continue  # Ryu waits for a whole header
            word, fault = judge.judge(frame)
            outcome.verdicts[word] += 1
            if (fault is not None or word in ("hang", "raised")) and len(outcome.wrong) < _MOST_SHOWN:
                outcome.wrong.append((fault or word, f"{seed}/{number} {frame.hex()}"))
            if number == frames // 4:
                outcome.warm_kb = resident_kb(os.getpid())
            if number % 50_000 == 0:
                progress(f"{number} frames, {len(outcome.wrong)} wrong")
    finally:
        signal.signal(signal.SIGVTALRM, previous)
    outcome.frames, outcome.seconds = frames, time.monotonic() - begin
    outcome.end_kb = resident_kb(os.getpid())
    return outcome


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--count", default=1_000_000, show_default=True, help="How many frames to try.")
@click.option("--seed", default=1, show_default=True, help="Another number makes other frames.")
def main(count: int, seed: int) -> None:
    """Try mutated OpenFlow messages on the guard and Ryu's parsers; the status is 1 when anything was wrong.

    They are made from what a real Open vSwitch says when it is asked everything: bytes and lengths changed, frames cut,
    grown and spliced.  None may hang, none may make anything raise, memory must stay.
    """
    with tempfile.TemporaryDirectory(prefix="sluice-frames-") as folder:
        outcome = run(Path(folder), count, seed, lambda text: click.echo(text, err=True))
    for fault, shown in outcome.wrong:
        click.echo(f"{fault}:\n{shown}\n")
    grown = outcome.end_kb - outcome.warm_kb
    click.echo(f"frames        {outcome.frames} (seed {seed}), {outcome.frames / outcome.seconds:.0f} a second")
    click.echo("verdicts      " + ", ".join(f"{word} {count}" for word, count in outcome.verdicts.most_common()))
    click.echo(f"wrong         {len(outcome.wrong)}")
    click.echo(f"memory        {outcome.warm_kb} kB after a quarter, {outcome.end_kb} kB at the end ({grown:+d} kB)")
    if outcome.wrong or grown > GROWTH:
        sys.exit(1)


if __name__ == "__main__":
    try:
        main()
    except LabError as error:
        sys.exit(f"scripts/test frames: {error}")

"""Talks to an echo server: ``python -m topologies.talk HOST PORT [LINES]``, ten lines a second, without end by default.

Prints "echo" for every line that comes back.  Ends with status 1 when nobody answers the call; once connected it waits
for ever, as a connection that was cut does.
"""

from __future__ import annotations

import itertools
import socket
import sys
import time

from topologies.vantage import PROBE

PAUSE = 0.1


def main(arguments: list[str]) -> int:
    """Talk as the arguments say."""
    host, port, *lines = arguments
    count = int(lines[0]) if lines else None
    try:
        connection = socket.create_connection((host, int(port)), timeout=PROBE)
    except OSError:
        return 1
    with connection, connection.makefile("rw", encoding="ascii", newline="\n") as stream:
        connection.settimeout(PROBE if count else None)
        for number in itertools.islice(itertools.count(1), count):
            stream.write(f"line {number}\n")
            stream.flush()
            try:
                answer = stream.readline()
            except OSError:
                return 1
            if not answer:
                return 1
            sys.stdout.write("echo\n")
            sys.stdout.flush()
            time.sleep(PAUSE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""``scripts/test fuzz``: hostile requests by the ten thousand, and what came of them."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click

from fuzz import campaign
from topologies.errors import LabError

#: Beyond this the server keeps something of each request, in kB.
GROWTH = 20_000


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--requests", default=50_000, show_default=True, help="How many requests to send.")
@click.option("--seed", default=1, show_default=True, help="Another number makes other requests.")
def main(requests: int, seed: int) -> None:
    """Send hostile requests to a real server; the status is 1 when an answer was not what EC2's must be.

    They are made from the service model: right and wrong values, ids that exist, parameters that are doubled, nested
    and misnumbered, signatures that do not fit.  No answer may be of 5xx, no traceback be logged, memory must stay.
    """
    with tempfile.TemporaryDirectory(prefix="sluice-fuzz-") as folder:
        outcome = campaign.run(Path(folder), requests, seed, lambda text: click.echo(text, err=True))
    for fault, shown in outcome.wrong:
        click.echo(f"{fault}:\n{shown}\n")
    grown = outcome.end_kb - outcome.warm_kb
    click.echo(f"requests      {outcome.requests} (seed {seed}), {outcome.requests / outcome.seconds:.0f} a second")
    click.echo("answers       " + ", ".join(f"{code} {count}" for code, count in outcome.codes.most_common(12)))
    click.echo(f"wrong         {len(outcome.wrong)}")
    click.echo(f"tracebacks    {outcome.tracebacks} in the server's log")
    click.echo(f"memory        {outcome.warm_kb} kB after a quarter, {outcome.end_kb} kB at the end ({grown:+d} kB)")
    click.echo(f"still alive   {'yes' if outcome.alive else 'NO'}")
    if outcome.wrong or outcome.tracebacks or grown > GROWTH or not outcome.alive:
        sys.exit(1)


if __name__ == "__main__":
    try:
        main()
    except LabError as error:
        sys.exit(f"scripts/test fuzz: {error}")

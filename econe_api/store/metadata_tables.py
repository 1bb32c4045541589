"""How instances may use the metadata service: the table, and what holds for each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Integer,
    String,
    Table,
    bindparam,
    delete,
    insert,
    select,
)

from econe_api.config import Config
from econe_api.store.schema import metadata

#: An instance without a row has what the configuration says.
metadata_options = Table(
    "metadata_options",
    metadata,
    Column("instance", ForeignKey("instances.id", ondelete="CASCADE"), primary_key=True),
    Column("tokens", String(8), nullable=False),  # optional, required
    Column("endpoint", Boolean, nullable=False),
    Column("hop_limit", Integer, nullable=False),
)


@dataclass(frozen=True, slots=True)
class MetadataOptions:
    """``tokens`` "optional" or "required"; ``endpoint`` = is there an answer at all; ``hop_limit`` of tokens."""

    tokens: str
    endpoint: bool
    hop_limit: int


_OF = select(metadata_options).where(metadata_options.c.instance.in_(bindparam("instances", expanding=True)))


def load_options(connection: Connection, config: Config, instances: Iterable[str]) -> Mapping[str, MetadataOptions]:
    """What holds for instances, by id; one that is not named has the configuration's."""
    usual = MetadataOptions(config.metadata.tokens, endpoint=True, hop_limit=config.metadata.hop_limit)
    found: defaultdict[str, MetadataOptions] = defaultdict(lambda: usual)
    rows = connection.execute(_OF, {"instances": list(instances)})
    found.update({row.instance: MetadataOptions(row.tokens, row.endpoint, row.hop_limit) for row in rows})
    return found


def write_options(connection: Connection, options: Mapping[str, MetadataOptions]) -> None:
    """Let other options hold for instances, by id."""
    connection.execute(delete(metadata_options).where(metadata_options.c.instance.in_(list(options))))
    rows = [
        {"instance": instance, "tokens": one.tokens, "endpoint": one.endpoint, "hop_limit": one.hop_limit}
        for instance, one in options.items()
    ]
    connection.execute(insert(metadata_options), rows)

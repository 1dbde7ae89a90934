"""Names that the user gave clients, beside their rows."""

from collections.abc import Mapping
from typing import Any

from fedmtl.core.text import LIMIT, escaped
from fedmtl.tables.blocks import Block
from fedmtl.tables.schemas import Row, Table


def named(table: Table, names: Mapping[int, str]) -> Table:
    """The table with a last column ``client_name``; as it is where no client has a name."""
    if not names:
        return table
    place = table.fields.index("client")

    def decode(block: Block) -> tuple[list[Any], ...]:
        values = table.decode(block)
        return *values, [None if client is None else names.get(client) for client in values[place]]

    return Table(table.name, (*table.fields, "client_name"), decode, table.spent, table.saved)


def names_of(summary: Mapping[str, Any]) -> dict[int, str]:
    """Client -> its name, of a run's summary, escaped and cut; what no run writes is left out."""
    said = summary.get("names", {})
    clients = said.get("clients", {}) if isinstance(said, Mapping) else {}
    if not isinstance(clients, Mapping):
        return {}
    return {int(client): escaped(name, LIMIT) for client, name in clients.items() if client.isdecimal()}


def with_names(some: list[Row], names: Mapping[int, str]) -> list[Row]:
    """Rows with a last field ``client_name``; as they are where no client has a name."""
    return [row | {"client_name": names.get(row["client"])} for row in some] if names else some

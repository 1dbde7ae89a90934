"""Bytes at the sockets of a run's clients, if each were a device of its own: modelled from its ledger."""

from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from fedmtl.analysis.byte_rows import byte_rows
from fedmtl.protocol.wire_model import FlowerWire


class WireRow(NamedTuple):
    """Bytes of one exchange."""

    round: int
    """As in the ledger; a model that is measured on its way to training counts with the round that it trains."""
    clients: int
    packet_down: int
    packet_up: int
    app_down: int
    app_up: int
    wire_down: int
    wire_up: int
    label: str = "modelled"


def wire_bytes(result: Any, wire: FlowerWire | None = None) -> list[WireRow]:
    """Return a run's bytes by exchange, with what Flower and HTTP add where each client is a device of its own.

    Idle and control traffic is not in it: it depends on time, see ``byte_rows``.

    Args:
        result: of ``run`` or ``load_result``, or a run of ``load_run``.
        wire: the model of the transport; Flower's, without TLS.
    """
    found = []
    messages = (row for row in byte_rows(result, wire) if row.traffic == "messages")
    for exchange, rows in groupby(messages, lambda row: row.round):
        sizes, clients = {"down": np.zeros(3, np.int64), "up": np.zeros(3, np.int64)}, set[int | None]()
        for row in rows:
            clients.add(row.client)
            sizes[row.direction] += (row.packet_bytes, row.app_bytes, row.wire_bytes)
        packet, app, wired = zip(sizes["down"].tolist(), sizes["up"].tolist(), strict=True)
        found.append(WireRow(exchange or 0, len(clients), *packet, *app, *wired))
    return found

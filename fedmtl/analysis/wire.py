"""Bytes at the sockets of a run's clients, if each were a device of its own: modelled from its ledger."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from fedmtl.analysis.runs import Run
from fedmtl.protocol.wire_model import Carried, FlowerWire

OBJECTS = 6
"""Objects of a message, and of a reply: message, its records of packets and of columns, the array and its bytes."""

DOWN_RECORDS, UP_RECORDS = 1_607, 1_582
"""Application bytes of a message, and of a reply, of one client, beside its packets."""


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

    Idle and control traffic is not in it: it depends on time, see ``FlowerWire.idle`` and ``FlowerWire.begin``.

    Args:
        result: of ``run`` or ``load_result``, or a run of ``load_run``.
        wire: the model of the transport; Flower's, without TLS.
    """
    wire = FlowerWire() if wire is None else wire
    packets: dict[int, dict[str, dict[int, int]]] = defaultdict(
        lambda: {"down": defaultdict(int), "up": defaultdict(int)}
    )
    for row in result.transfers if isinstance(result, Run) else result.ledger:
        exchange = row["round"] + (row["purpose"] == "evaluate")
        packets[exchange][row["direction"]][row["client"]] += row["packet_bytes"]
    found = []
    for exchange, ways in sorted(packets.items()):
        down, up = (_carried(ways[way].values(), own) for way, own in (("down", DOWN_RECORDS), ("up", UP_RECORDS)))
        total = wire.down(down) + wire.up(up)
        packet_down, packet_up = (sum(ways[way].values()) for way in ("down", "up"))
        clients = len({*ways["down"], *ways["up"]})
        sizes = packet_down, packet_up, down.app_bytes, up.app_bytes, total.down, total.up
        found.append(WireRow(exchange, clients, *sizes))
    return found


def _carried(packets: Iterable[int], records: int) -> Carried:
    sizes = list(packets)
    return Carried(len(sizes), OBJECTS * len(sizes), sum(sizes) + records * len(sizes))

"""Bytes of a run by column: a row for each exchange, client and direction, and rows of idle and control traffic.

    ideal_bits     the symbols of the packets, by the model that the codec declares (``ideal_bits``   measured
                   of ``CodecTraits``); 8 a byte of the body of one that declares none
    packet_bytes   lengths of the packets, from the ledger                                      measured
    app_bytes      packets with Flower's objects and records around them                        modelled
    wire_bytes     at the client's sockets: HTTP's heads, requests, replies (``FlowerWire``)   modelled
    wasted_bytes   of packets that moved for an update that was not used: a client that         simulated with a
                   dropped out or was late; without a clock, one that never replied             clock, else measured

With ``wire = true`` in the experiment, the clock moves, and wastes, bytes on the wire.

Each client is taken for a device of its own. Columns beside ``packet_bytes`` are functions of the ledger and of the
clock's rows, so they are computed when they are read: files have no more bytes, and runs take no more time.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.analysis.runs import Run
from fedmtl.callbacks.replay import exchange_of, packets_by_exchange
from fedmtl.protocol.transfers import body_bits
from fedmtl.protocol.wire_model import FlowerWire
from fedmtl.tables.schemas import Row

WAYS = ("down", "up")

COLUMNS = ("ideal", "packets", "application", "wire", "wasted", "idle", "control")
"""Columns of tables, in bytes."""

NOTE = (
    "Packets are measured, and so is ideal, what the entropy of a body's symbols would take where a codec has a model "
    "of it, else the body; application and wire are modelled, as if each client were a device of its own with Flower's "
    "HTTP; wasted are bytes of packets for updates that were not used; idle and control are modelled bytes on the wire "
    "besides, where the time is known, simulated or measured."
)


class ByteRow(NamedTuple):
    """Bytes of one direction in one exchange, ``down`` from the server or ``up`` to it."""

    round: int | None
    """As in the ledger; a model that is measured on its way to training counts with the round that it trains. None for
    the traffic of a whole run."""
    client: int | None
    """None for all clients that were asked, or all nodes, together."""
    direction: str
    traffic: str
    """``messages``; ``idle``, requests in vain and heartbeats of those that wait; or ``control``, the app's bundle."""
    packet_bytes: int
    app_bytes: int
    wire_bytes: int
    wasted_bytes: float
    ideal_bits: int = 0


def byte_rows(result: Any, wire: FlowerWire | None = None) -> Iterator[ByteRow]:
    """Yield the rows of a run, an exchange in memory at a time.

    With a simulated clock each exchange has its idle traffic, of the clients that it asked, for its simulated seconds.
    A run over a network has that of its nodes for its measured seconds, and their control traffic, in rows of the whole
    run; other runs have no such rows.

    Args:
        result: of ``run`` or ``load_result``, or a run of ``load_run``.
        wire: the model of the transport; Flower's, without TLS.
    """
    read = isinstance(result, Run)
    training = result.read_training() if read else result.training
    yield from rows_of(result.transfers if read else result.ledger, training, result.summary, wire)


def rows_of(
    transfers: Iterable[Row],
    training: Iterable[Mapping[str, Any]],
    summary: Mapping[str, Any],
    wire: FlowerWire | None = None,
) -> Iterator[ByteRow]:
    """Yield ``byte_rows``, from the rows of the tables ``ledger`` and ``training``, in order, and the summary."""
    wire, wired = FlowerWire() if wire is None else wire, bool(summary.get("simulated", {}).get("wire"))
    clock = groupby((row for row in training if row["metric"] in _CLOCK), lambda row: row["round"])
    spent = next(clock, None)
    for rows in packets_by_exchange(transfers):
        exchange = exchange_of(rows[0])
        times: list[Mapping[str, Any]] = []
        while spent is not None and spent[0] <= exchange:
            times = list(spent[1]) if spent[0] == exchange else times
            spent = next(clock, None)
        yield from _of_exchange(exchange, rows, times, wire, wired)
    modelled = summary.get("transport", {}).get("wire_bytes", {})
    for traffic in ("control", "idle"):
        for way in WAYS if traffic in modelled else ():
            yield ByteRow(None, None, way, traffic, 0, 0, modelled[traffic][way], 0.0)


_CLOCK = ("simulated_wasted_bytes", "simulated_seconds")
"""Metrics of training that the clock writes for each client, and for all."""


def _of_exchange(
    exchange: int, rows: Sequence[Row], times: list[Mapping[str, Any]], wire: FlowerWire, wired: bool
) -> Iterator[ByteRow]:
    clients, place = np.unique(np.array([row["client"] for row in rows], np.int64), return_inverse=True)
    lengths, up = np.array([row["packet_bytes"] for row in rows]), np.array([row["direction"] == "up" for row in rows])
    train = np.array([row["purpose"] == "train" for row in rows])
    ideal = body_bits(lengths)
    if "ideal_bits" in rows[0]:  # else no codec of the run declares them
        ideal = np.array([row["ideal_bits"] for row in rows])
    packets, bits = np.zeros((2, 2, len(clients)), np.int64)
    sends = np.zeros((2, len(clients)), bool)
    for way, some in enumerate((~up, up)):
        np.add.at(packets[way], place[some], lengths[some])
        np.add.at(bits[way], place[some], ideal[some])
        sends[way, place[some]] = True
    apps, on_wire = wire.of_devices(packets, sends)
    wasted = np.zeros((2, len(clients)))
    if times:
        moved = wire.of_devices(packets, np.ones_like(sends))[1] if wired else packets
        _waste(wasted, moved[0], clients, times)
    else:
        silent = np.zeros(len(clients), bool)
        silent[place[train & ~up]] = True
        silent[place[train & up]] = False
        wasted[0, silent] = packets[0, silent]
    for k, client in enumerate(clients.tolist()):
        for way, name in enumerate(WAYS):
            sizes = int(packets[way, k]), int(apps[way, k]), int(on_wire[way, k]), float(wasted[way, k])
            yield ByteRow(exchange, client, name, "messages", *sizes, int(bits[way, k]))
    seconds = [row["value"] for row in times if row["client"] is None and row["metric"] == "simulated_seconds"]
    for each in seconds:
        idle = wire.idle(each, len(clients), int(sends[0].sum()))
        for name, size in zip(WAYS, idle, strict=True):
            yield ByteRow(exchange, None, name, "idle", 0, 0, size, 0.0)


def byte_totals(result: Any, wire: FlowerWire | None = None) -> dict[str, dict[str, float]]:
    """Return for each direction the sums of the columns, and the wire bytes of idle and control traffic.

    Args:
        result, wire: as for ``byte_rows``.
    """
    found = {way: {str(column): 0.0 for column in COLUMNS} for way in WAYS}
    for row in byte_rows(result, wire):
        sums = found[row.direction]
        if row.traffic != "messages":
            sums[row.traffic] += row.wire_bytes
            continue
        sums["ideal"] += row.ideal_bits / 8
        sums["packets"] += row.packet_bytes
        sums["application"] += row.app_bytes
        sums["wire"] += row.wire_bytes
        sums["wasted"] += row.wasted_bytes
    return found


def _waste(
    wasted: NDArray[np.float64],
    down: NDArray[np.int64],
    clients: NDArray[np.int64],
    times: Iterable[Mapping[str, Any]],
) -> None:
    """Divide the bytes that clients moved in vain: an upload begins when the download has ended."""
    for row in times:
        if row["client"] is not None and row["metric"] == "simulated_wasted_bytes" and row["value"]:
            k = int(np.searchsorted(clients, row["client"]))
            wasted[0, k] = min(row["value"], float(down[k]))
            wasted[1, k] = row["value"] - wasted[0, k]

"""Packets that are no algorithm's: sums of metrics, and raw examples for central algorithms."""

import io
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.comm.packets import (
    DATA,
    HEADER_BYTES,
    REPORT,
    PacketError,
    Packets,
    in_rows,
    open_packet,
    open_rows,
    seal,
    seal_rows,
)
from fedmtl.data.base import Split
from fedmtl.federation.plan import Plan
from fedmtl.types import TaskSet


def raw_data_packet(plan: Plan, round: int, train: Split) -> bytes:
    """A client's training examples, bit for bit, as a numpy archive."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, x=train.x, **{f"y.{task}": labels for task, labels in train.y.items()})
    return seal(DATA, plan.digest, round, len(train.x), buffer.getvalue())


def open_raw_data(plan: Plan, round: int, packet: bytes) -> Split:
    """The examples of a raw-data packet."""
    _, body = open_packet(packet, DATA, plan.digest, round)
    with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
        labels = {name.removeprefix("y."): arrays[name] for name in arrays.files if name.startswith("y.")}
        return Split(arrays["x"], labels)


def report_packets(plan: Plan, round: int, owned: TaskSet, sums: Mapping[str, Tensor]) -> Packets:
    """Metric sums [K, s] of the clients' tasks, in their order, as float64: a packet a client."""
    bodies = np.concatenate([sums[task].detach().cpu().numpy().astype("<f8") for task in owned], axis=1)
    packets = np.empty((len(bodies), HEADER_BYTES + 8 * bodies.shape[1]), np.uint8)
    packets[:, HEADER_BYTES:] = bodies.view(np.uint8)
    seal_rows(packets, REPORT, plan.digest, round, 0.0)
    return in_rows(packets)


def open_reports(
    plan: Plan, round: int, owned: TaskSet, packets: Packets, problem: Callable[[int, PacketError], None]
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]:
    """Rows of the K packets that are good, and task -> their sums [rows, s].

    Args:
        problem: told of the row and the error of each report that is damaged or of another length.
    """
    sizes = plan.sums_sizes(owned)
    length = 8 * sum(sizes.values())
    rows, _, bodies = open_rows(packets, REPORT, plan.digest, round, problem)
    values = np.zeros((len(rows), sum(sizes.values())))
    good = np.ones(len(rows), bool)
    if isinstance(bodies, np.ndarray) and bodies.shape[1] == length:
        values[:] = np.ascontiguousarray(bodies).view("<f8")
    else:
        for k, body in enumerate(bodies):
            good[k] = len(body) == length
            if good[k]:
                values[k] = np.frombuffer(bytes(body), "<f8")
            else:
                rule = f"A report on {list(owned)} has {length} bytes"
                problem(int(rows[k]), PacketError(f"{rule}, got {len(body)}."))
    cuts = np.cumsum([sizes[task] for task in owned])[:-1]
    return rows[good], dict(zip(owned, np.split(values[good], cuts, axis=1), strict=True))

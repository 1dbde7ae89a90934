"""Packets that are no algorithm's: sums of metrics, and raw examples for central algorithms."""

import io
from collections.abc import Mapping

import numpy as np
from torch import Tensor

from fedmtl.comm.wire import DATA, REPORT, PacketError, open_packet, seal
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


def report_packet(plan: Plan, round: int, owned: TaskSet, sums: Mapping[str, Tensor]) -> bytes:
    """Metric sums of the client's tasks, in their order, as float64."""
    body = np.concatenate([sums[task].detach().cpu().numpy().astype("<f8").reshape(-1) for task in owned])
    return seal(REPORT, plan.digest, round, 0.0, body.tobytes())


def open_report(plan: Plan, round: int, owned: TaskSet, packet: bytes) -> dict[str, np.ndarray]:
    """Task -> sums.

    Raises:
        PacketError: a damaged report, or one of another length.
    """
    _, body = open_packet(packet, REPORT, plan.digest, round)
    sizes = plan.sums_sizes(owned)
    if len(body) != 8 * sum(sizes.values()):
        raise PacketError(f"A report on {list(owned)} has {8 * sum(sizes.values())} bytes, got {len(body)}.")
    values = np.frombuffer(body, "<f8")
    cuts = np.cumsum([sizes[task] for task in owned])[:-1]
    return dict(zip(owned, np.split(values, cuts), strict=True))

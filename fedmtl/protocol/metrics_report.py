"""Packets of metric sums, and of raw examples for centralized algorithms."""

import io
import math
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.core.text import escaped
from fedmtl.core.types import TaskSet
from fedmtl.data.base import Split
from fedmtl.metrics import Tally
from fedmtl.metrics.tally import spans
from fedmtl.protocol.counts import decode, encode
from fedmtl.protocol.header import make_packet, read_packet, read_packets, write_headers
from fedmtl.protocol.packets import DATA, HEADER_BYTES, REPORT, PacketError, Packets, from_matrix
from fedmtl.protocol.plan import Plan

MOST_CELLS = 2**22
"""Cells that a report is taken to need at most: of more, no device has the examples."""


def raw_data_packet(plan: Plan, round: int, train: Split) -> bytes:
    """Pack a client's training examples, bit-identical, as a numpy archive."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, x=train.x, **{f"y.{task}": labels for task, labels in train.y.items()})
    return make_packet(DATA, plan.digest, round, len(train.x), buffer.getvalue())


def raw_data_bytes(plan: Plan, owned: TaskSet) -> tuple[int, int]:
    """Return the bytes of a packet of one example with labels of some tasks, and of each further example."""
    shape, dtype = plan.input_like
    labels = {task: np.zeros((1, *plan.tasks[task].label_shape), np.float32) for task in owned}
    one = Split(np.zeros((1, *shape), dtype), labels)
    return len(raw_data_packet(plan, 1, one)), one.x.nbytes + sum(y.nbytes for y in labels.values())


def read_raw_data(plan: Plan, round: int, packet: bytes, owned: TaskSet | None = None) -> Split:
    """Read the examples of a raw-data packet.

    Args:
        owned: the tasks that its client has; None for any.

    Raises:
        PacketError: what ``raw_data_packet`` cannot have made: members that are compressed or overlap, declared sizes
            that are not the real ones, other types or shapes, inputs that are not finite, labels that their task
            cannot have.
    """
    num_examples, body = read_packet(packet, DATA, plan.digest, round)
    try:
        arrays = _members(body)
        x = arrays.pop("x")
        labels = {name.removeprefix("y."): y for name, y in arrays.items()}
        if unknown := [name for name in arrays if not name.startswith("y.") or name[2:] not in plan.tasks]:
            raise ValueError(f"labels of {escaped(str(unknown[:3]), 60)}, and the tasks are {list(plan.tasks)}")
        if owned is not None and sorted(labels) != sorted(owned):
            raise ValueError(f"labels of {sorted(labels)}, and the client's tasks are {sorted(owned)}")
        shape, dtype = plan.input_like
        if x.shape[1:] != shape or x.dtype != dtype or not len(x) or len(x) != num_examples or not np.isfinite(x).all():
            rule = f"inputs are {dtype} [{num_examples:g}, {', '.join(map(str, shape))}], finite"
            raise ValueError(f"{rule}, got {x.dtype} {escaped(str(x.shape), 60)}")
        for task, y in labels.items():
            if len(y) != len(x) or y.dtype != np.float32:
                raise ValueError(f"labels of {task!r} are float32, one for each of {len(x)} inputs")
            plan.tasks[task].labels(y)
    except (ValueError, KeyError, EOFError, OSError, NotImplementedError, RuntimeError, zipfile.BadZipFile) as error:
        raise PacketError(f"The raw data cannot be used: {escaped(str(error))}") from error
    return Split(x, labels)


def _members(body: memoryview) -> dict[str, NDArray[Any]]:
    """The arrays of an archive of numpy's, their declared sizes checked before any is made."""
    arrays: dict[str, NDArray[Any]] = {}
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        members = archive.infolist()
        stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
        if not stored or sum(member.file_size for member in members) > len(body):
            raise ValueError("members are stored as they are, and together no larger than the packet")
        for member in members:
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                if version != (1, 0):
                    raise ValueError(f"arrays have format 1.0, got {version}")
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
                data = file.read()
            if dtype not in (np.dtype("<f4"), np.dtype("<i8")) or math.prod(map(int, shape)) * dtype.itemsize != len(
                data
            ):
                raise ValueError("arrays are float32 or int64 (allow_pickle=False), of the size of their bytes")
            array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
            arrays[member.filename.removesuffix(".npy")] = np.ascontiguousarray(array)
    return arrays


def report_packets(
    plan: Plan, round: int, owned: TaskSet, sums: Mapping[str, Tensor], tallies: Mapping[str, Tally] | None = None
) -> Packets:
    """Metric sums [K, s] of the clients' tasks, in their order, as float64: a packet a client.

    With ``tallies`` of the same clients their numbers follow, as float64, and their counts, packed by
    ``protocol.counts``.
    """
    bodies = np.concatenate([sums[task].detach().cpu().numpy().astype("<f8") for task in owned], axis=1)
    if tallies is not None:
        return _full_packets(plan, round, bodies, {task: tallies[task] for task in owned if task in tallies})
    packets = np.empty((len(bodies), HEADER_BYTES + 8 * bodies.shape[1]), np.uint8)
    packets[:, HEADER_BYTES:] = bodies.view(np.uint8)
    write_headers(packets, REPORT, plan.digest, round, 0.0)
    return from_matrix(packets)


def _full_packets(plan: Plan, round: int, bodies: NDArray[Any], tallies: Mapping[str, Tally]) -> Packets:
    numbers = [each.numbers for each in tallies.values()]
    cells = [plan.kinds[task].cells for task in tallies]
    fixed = np.concatenate([bodies, *numbers], axis=1).astype("<f8").view(np.uint8)
    data, sizes = np.zeros(0, np.uint8), np.zeros(len(bodies), np.int64)
    if tallies:
        data, sizes = encode([(each.lengths, each.cells, each.counts) for each in tallies.values()], cells)
    lengths = HEADER_BYTES + fixed.shape[1] + sizes
    starts = np.cumsum(lengths) - lengths
    whole = np.zeros(int(lengths.sum()), np.uint8)
    whole[(starts + HEADER_BYTES)[:, None] + np.arange(fixed.shape[1])] = fixed
    whole[spans(starts + HEADER_BYTES + fixed.shape[1], sizes)] = data
    for length in np.unique(lengths).tolist():  # headers are written to rows of one length
        some = np.flatnonzero(lengths == length)
        place = starts[some][:, None] + np.arange(length)
        rows = whole[place]
        write_headers(rows, REPORT, plan.digest, round, 0.0)
        whole[place] = rows
    return Packets(whole, starts, lengths)


def max_report_bytes(plan: Plan, owned: TaskSet, full: bool) -> int:
    """The largest report of a client with these tasks, by the primary metric alone or by all."""
    least = HEADER_BYTES + 8 * sum(plan.sums_sizes(owned).values())
    if not full:
        return least
    kinds = [plan.kinds[task] for task in owned if task in plan.kinds]
    return least + sum(8 * kind.numbers + 4 + 4 * min(kind.cells, MOST_CELLS) for kind in kinds)


def read_full_reports(
    plan: Plan, round: int, owned: TaskSet, packets: Packets, on_error: Callable[[int, PacketError], None]
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]], dict[str, Tally]]:
    """Return the rows of the good packets, task -> their sums [rows, s], and task -> its other statistics."""
    sizes = plan.sums_sizes(owned)
    kinds = {task: plan.kinds[task] for task in owned if task in plan.kinds}
    columns = [*sizes.values(), *(kind.numbers for kind in kinds.values())]
    fixed = 8 * sum(columns)
    rows, _, bodies = read_packets(packets, REPORT, plan.digest, round, on_error)
    lengths = np.array([len(body) for body in bodies], np.int64)
    long = lengths >= fixed
    for k in np.flatnonzero(~long).tolist():
        on_error(
            int(rows[k]), PacketError(f"A full report on {list(owned)} has {fixed} bytes or more, got {lengths[k]}.")
        )
    rows, kept = rows[long], [np.frombuffer(bodies[k], np.uint8) for k in np.flatnonzero(long).tolist()]
    whole = np.concatenate([*kept, np.zeros(0, np.uint8)])
    lengths = lengths[long]
    starts = np.cumsum(lengths) - lengths
    values = whole[starts[:, None] + np.arange(fixed)].view("<f8") if len(rows) else np.zeros((0, fixed // 8))
    data = whole[spans(starts + fixed, lengths - fixed)]
    counts, good = decode(data, lengths - fixed, [kind.cells for kind in kinds.values()])
    if not kinds:
        good = lengths == fixed
    for k in np.flatnonzero(~good).tolist():
        on_error(int(rows[k]), PacketError(f"A full report on {list(owned)} ends in counts of cells; these are none."))
    parts = np.split(values.astype(np.float64), np.cumsum(columns)[:-1], axis=1)
    chosen = np.flatnonzero(good)
    tallies = {
        task: Tally(numbers, np.cumsum(cells[0]), cells[1], cells[2]).select(chosen)
        for task, numbers, cells in zip(kinds, parts[len(sizes) :], counts, strict=True)
    }
    return rows[chosen], {task: part[chosen] for task, part in zip(owned, parts, strict=False)}, tallies


def read_reports(
    plan: Plan, round: int, owned: TaskSet, packets: Packets, on_error: Callable[[int, PacketError], None]
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]:
    """Return the rows of the K packets that are good, and task -> their sums [rows, s].

    Args:
        on_error: called with the row and the error of each report that is damaged or of another length.
    """
    sizes = plan.sums_sizes(owned)
    length = 8 * sum(sizes.values())
    rows, _, bodies = read_packets(packets, REPORT, plan.digest, round, on_error)
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
                on_error(int(rows[k]), PacketError(f"{rule}, got {len(body)}."))
    cuts = np.cumsum([sizes[task] for task in owned])[:-1]
    return rows[good], dict(zip(owned, np.split(values[good], cuts, axis=1), strict=True))

"""Packets of a cohort: bytes with a header of 32 bytes each (see ``header``), in one array."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADER_BYTES = 32
"""Bytes before the body."""

DOWN, UP, REPORT, DATA, SUMMARY, AGREED = 1, 2, 3, 4, 5, 6
"""Kinds of packet: a broadcast, an upload, sums of metrics, raw examples (centralized algorithms only); and before the
first round a client's summary of its data, and what is agreed by all."""

KIND_NAMES = {
    DOWN: "broadcast",
    UP: "upload",
    REPORT: "report",
    DATA: "raw data",
    SUMMARY: "summary",
    AGREED: "agreement",
}


class PacketError(ValueError):
    """Bytes that are not the packet that was expected: truncated, corrupted, or of another experiment.

    Args:
        text: the rule and what was found.
        kind: what of the packet is at fault: ``packet``, ``values`` or ``weight``.
    """

    def __init__(self, text: str, kind: str = "packet") -> None:
        super().__init__(text)
        self.kind = kind


class Packets(Sequence[bytes]):
    """Packets of K clients in one array of bytes; clients with the same packet may share its bytes.

    Args:
        data: uint8.
        starts, lengths: where each packet is, [K].
    """

    def __init__(self, data: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        self.data = data
        self.starts = starts
        self.lengths = lengths

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, row: Any) -> Any:
        """One packet, or those of a slice."""
        if isinstance(row, slice):
            return Packets(self.data, self.starts[row], self.lengths[row])
        start = int(self.starts[row])
        return self.data[start : start + int(self.lengths[row])].tobytes()

    def select(self, rows: NDArray[Any]) -> "Packets":
        """Select the packets of some rows, without a copy."""
        return Packets(self.data, self.starts[rows], self.lengths[rows])

    def matrix(self) -> NDArray[np.uint8] | None:
        """[K, length], without a copy where they lie at equal distances; None when their lengths differ."""
        if not len(self) or (self.lengths != self.lengths[0]).any():
            return None
        length = int(self.lengths[0])
        steps = np.diff(self.starts)
        step = int(steps[0]) if len(steps) else length
        if step >= length and (steps == step).all():
            first = int(self.starts[0])
            return np.lib.stride_tricks.as_strided(self.data[first:], (len(self), length), (step, 1), writeable=False)  # pyright: ignore[reportCallIssue]
        return np.stack([self.data[start : start + length] for start in self.starts.tolist()])

    def contiguous(self) -> "Packets":
        """Lay the packets end to end, each in a place of its own."""
        ends = np.cumsum(self.lengths)
        starts = ends - self.lengths
        if self.data.size == ends[-1:].sum() and (starts == self.starts).all():
            return self
        return concat(list(self))


def concat(packets: Sequence[bytes]) -> Packets:
    """Join packets from bytes, end to end."""
    lengths = np.array([len(packet) for packet in packets], np.int64)
    return Packets(np.frombuffer(b"".join(packets), np.uint8), np.cumsum(lengths) - lengths, lengths)


def from_matrix(matrix: NDArray[np.uint8]) -> Packets:
    """View the rows of [K, length], C-contiguous, as packets."""
    rows, length = matrix.shape
    return Packets(matrix.reshape(-1), np.arange(rows) * length, np.full(rows, length))


PacketRows = tuple[NDArray[np.int64], Packets]
"""Rows among the requests, and the packet of each."""


def in_order(count: int, parts: Sequence[PacketRows]) -> Packets:
    """Arrange one packet for each of the requests, empty where no part has one."""
    if len(parts) == 1 and len(parts[0][0]) == count and (parts[0][0] == np.arange(count)).all():
        return parts[0][1]
    starts, lengths = np.zeros(count, np.int64), np.zeros(count, np.int64)
    offset = 0
    for rows, packets in parts:
        starts[rows], lengths[rows] = packets.starts + offset, packets.lengths
        offset += packets.data.size
    data = np.concatenate([packets.data for _, packets in parts]) if parts else np.zeros(0, np.uint8)
    return Packets(data, starts, lengths)

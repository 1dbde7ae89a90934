"""Trace: bandwidth that was recorded, or made by ``fedmtl.timing.make_trace``, from a CSV file.

    client,start,end,down_mbps,up_mbps
    0,0,30,18.5,4.2
    0,30,60,2.5,0.8
    1,0,60,40,12

Rows of a client are together, begin at 0 and have no gaps; after the last one its trace begins again.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.timing.checks import BYTES
from fedmtl.timing.radios.base import Radio
from fedmtl.timing.radios.lte import LTE
from fedmtl.timing.trace_file import Timeline, read_rows, stamp, timeline

COLUMNS = ("down_mbps", "up_mbps")


class RecordedRates(NamedTuple):
    """Bandwidth of all traces of a file."""

    timeline: Timeline
    end: NDArray[np.float64]
    """End of each interval, seconds since the begin of its trace, [N]."""
    rates: NDArray[np.float64]
    """Bytes a second, down and up, [N, 2]."""


@lru_cache(maxsize=8)
def read_rates(path: str, stamp: tuple[int, int]) -> RecordedRates:
    """Read a file of bandwidth.

    Raises:
        ValueError: it names the file, the line and the rule.
    """
    client, start, end, mbps, lines = read_rows(path, stamp, COLUMNS)
    first = np.concatenate([[True], client[1:] != client[:-1]])
    begins = np.where(first, 0.0, np.concatenate([[0.0], end[:-1]]))
    for k in np.flatnonzero(start != begins)[:1].tolist():
        rule = "the first row of a client starts at 0" if first[k] else "a row starts where the one before ends"
        raise ValueError(
            f"{path}, line {lines[k]}: a gap, {rule}, {begins[k]:g}, got {start[k]:g}; give the bandwidth of the time "
            "between, 0 for an outage."
        )
    last = np.concatenate([first[1:], [True]])
    total = np.stack([np.bincount(client, mbps[:, way]) for way in range(2)], axis=1)
    for number, way in np.argwhere(total == 0)[:1].tolist():
        line = lines[np.flatnonzero(client == number)[0]]
        raise ValueError(f"{path}, line {line}: a client whose {COLUMNS[way]} is always 0 never ends a transfer.")
    return RecordedRates(timeline(client, start, end[last]), end, BYTES * mbps)


@dataclass(frozen=True)
class Trace:
    """Recorded bandwidth of each client over time."""

    path: str
    """CSV file."""
    shuffle: bool = False
    """False: client c has the file's trace c mod T, from its begin; True: a drawn one, entered at a drawn time."""
    radio: Radio = LTE()
    """Energy of transfers."""

    def __post_init__(self) -> None:
        read_rates(self.path, stamp(self.path))

    def rates(
        self, seed: int, clients: NDArray[np.int64], time: NDArray[np.float64], upward: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        found = read_rates(self.path, stamp(self.path))
        index, into, _ = found.timeline.find(seed, clients, time, self.shuffle)
        return found.rates[index, int(upward)], time + (found.end[index] - into)

    def capacity(self, upward: bool) -> float:
        return np.inf

    def fingerprint(self) -> tuple[object, ...]:
        """Content by which a resumed run knows its trace, wherever the file is."""
        found = read_rates(self.path, stamp(self.path))
        return self.shuffle, self.radio, found.timeline.bounds, found.end, found.rates

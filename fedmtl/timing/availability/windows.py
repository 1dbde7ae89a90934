"""Windows: availability that was recorded, from a CSV file.

    client,start,end
    0,0,3600
    0,7200,10800
    1,3600,14400

Rows of a client are together and in order of time, and do not overlap; a client is available in them and away between.
After ``seconds``, a day by default, the trace begins again.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.timing.availability.base import DAY
from fedmtl.timing.checks import check_above, check_range
from fedmtl.timing.trace_file import Timeline, read_rows, stamp, timeline


class RecordedWindows(NamedTuple):
    """Windows of all traces of a file."""

    timeline: Timeline
    end: NDArray[np.float64]
    """End of each window on the timeline's axis, [N]."""
    left: NDArray[np.float64]
    """The same, with what follows at the begin of the trace; infinity for a client that is always there, [N]."""


@lru_cache(maxsize=8)
def read_windows(path: str, stamp: tuple[int, int], seconds: float) -> RecordedWindows:
    """Read a file of windows; those that touch are one, also across the end of a trace.

    Raises:
        ValueError: it names the file, the line and the rule.
    """
    client, start, end, _, lines = read_rows(path, stamp, ())
    for k in np.flatnonzero(end > seconds)[:1].tolist():
        raise ValueError(
            f"{path}, line {lines[k]}: a window ends within the {seconds:g} s of its trace, got {end[k]:g}; raise the "
            "field seconds."
        )
    begins = np.concatenate([[True], (client[1:] != client[:-1]) | (start[1:] != end[:-1])])
    end = end[np.concatenate([begins[1:], [True]])]
    client, start = client[begins], start[begins]
    first = np.searchsorted(client, client)  # the first window of each one's trace
    goes_on = (end == seconds) & (start[first] == 0)
    alone = goes_on & (first == np.arange(len(first)))
    further = np.where(alone, np.inf, np.where(goes_on, end[first], 0.0))
    made = timeline(client, start, np.full(int(client[-1]) + 1, seconds))
    ends = made.bounds + (end - start)
    return RecordedWindows(made, ends, ends + further)


@dataclass(frozen=True)
class Windows:
    """Recorded windows of each client."""

    path: str
    """CSV file."""
    seconds: float = DAY
    """Length of the trace, after which it begins again."""
    shuffle: bool = False
    """False: client c has the file's trace c mod T, from its begin; True: a drawn one, entered at a drawn time."""
    dropout: float = 0.0
    """Probability that a sampled client drops out of its round."""

    def __post_init__(self) -> None:
        check_above(self, seconds=self.seconds)
        check_range(self, 0, 1, dropout=self.dropout)
        read_windows(self.path, stamp(self.path), float(self.seconds))

    def until(self, seed: int, clients: NDArray[np.int64], time: NDArray[np.float64]) -> NDArray[np.float64]:
        found = read_windows(self.path, stamp(self.path), float(self.seconds))
        index, _, place = found.timeline.find(seed, clients, time, self.shuffle)
        there = (index >= 0) & (place < found.end[index])
        return np.where(there, time + (found.left[index] - place), -np.inf)

    def fingerprint(self) -> tuple[object, ...]:
        """Content by which a resumed run knows its trace, wherever the file is."""
        found = read_windows(self.path, stamp(self.path), float(self.seconds))
        return self.seconds, self.shuffle, self.dropout, found.timeline.bounds, found.left

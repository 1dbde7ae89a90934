"""Traces of clients: CSV files of intervals, checked when they are read, and looked up for many clients at once.

A file has a header and a row for each interval, ``client,start,end`` and further columns: seconds from the beginning of
the trace, the rows of a client together and in order of time.
"""

import csv
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.bounds import shown
from fedmtl.core.random import uniforms

MOST_ROWS = 50_000_000


class TraceRows(NamedTuple):
    """The rows of a file, in its order."""

    client: NDArray[np.int64]
    """0 for the first client of the file, 1 for the second, [N]."""
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    values: NDArray[np.float64]
    """The further columns, [N, C]."""
    lines: NDArray[np.int64]
    """Lines of the file, for messages, [N]."""


def stamp(path: str) -> tuple[int, int]:
    """Return size and time of change of a file: a file that changes is read again.

    Raises:
        ValueError: there is no such file.
    """
    try:
        found = Path(path).stat()
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        raise ValueError(f"trace {shown(path)}: {reason}; give the path of a CSV file.") from None
    return found.st_size, found.st_mtime_ns


@lru_cache(maxsize=8)
def read_rows(path: str, _stamp: tuple[int, int], further: Sequence[str]) -> TraceRows:
    """Read a file of intervals.

    Args:
        path: of the file.
        _stamp: of ``stamp``, by which a file that has changed is known.
        further: names of the columns after ``client,start,end``; their numbers are 0 or more.

    Raises:
        ValueError: it names the file, the line, what it holds and the rule.
    """
    header = ["client", "start", "end", *further]
    ids: dict[str, int] = {}
    client, numbers, lines = list[int](), list[list[float]](), list[int]()
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.reader(file)
        found = [name.strip() for name in next(reader, [])]
        if found != header:
            raise ValueError(f"{path}: the header is {','.join(header)}, got {shown(','.join(found))}.")
        for row in reader:
            if not row:
                continue
            where = f"{path}, line {reader.line_num}"
            try:
                values = [float(text) for text in row[1:]]
            except ValueError:
                values = []
            if len(row) != len(header) or len(values) != len(header) - 1:
                raise ValueError(f"{where}: a row is {','.join(header)}, got {shown(','.join(row))}.")
            if not all(0 <= value < math.inf for value in values):
                raise ValueError(f"{where}: numbers are finite and 0 or more, got {shown(','.join(row))}.")
            if values[1] <= values[0]:
                raise ValueError(f"{where}: end is after start, got {values[0]:g} to {values[1]:g}.")
            number = ids.setdefault(row[0].strip(), len(ids))
            if client and number < client[-1]:
                raise ValueError(f"{where}: the rows of client {shown(row[0])} are not together; sort the file.")
            if client and number == client[-1] and values[0] < numbers[-1][1]:
                raise ValueError(
                    f"{where}: times are not in order, {values[0]:g} comes after an interval that ends at "
                    f"{numbers[-1][1]:g}; sort the file by client and start."
                )
            client.append(number)
            numbers.append(values)
            lines.append(reader.line_num)
            if len(lines) > MOST_ROWS:
                raise ValueError(f"{path}: a trace has at most {MOST_ROWS:,} rows; join or leave out some.")
    if not client:
        raise ValueError(f"{path}: a trace has one row at least, after its header.")
    table = np.array(numbers)
    return TraceRows(np.array(client), table[:, 0], table[:, 1], table[:, 2:], np.array(lines))


class Timeline(NamedTuple):
    """The intervals of all traces behind each other on one axis, each trace as long as its period."""

    bounds: NDArray[np.float64]
    """Begin of each interval on the axis, ascending, [N]."""
    base: NDArray[np.float64]
    """Begin of each trace on the axis, [T]."""
    period: NDArray[np.float64]
    """Length of each trace, after which it begins again, [T]."""

    def find(
        self, seed: int, clients: NDArray[np.int64], time: NDArray[np.float64], shuffle: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Return each client's latest interval, the seconds since the begin of its trace, and these on the axis, [K].

        The interval is −1, or of another trace, where the client's trace has none up to then.

        Client c has trace c mod T, from its begin; where ``shuffle``, a drawn one, which it enters at a drawn time.
        """
        trace, into = clients % len(self.base), time
        if shuffle:
            trace = (uniforms(seed, clients, 0, "trace of a client") * len(self.base)).astype(np.int64)
            into = time + uniforms(seed, clients, 1, "trace of a client") * self.period[trace]
        into = into % self.period[trace]
        place = self.base[trace] + into
        return np.searchsorted(self.bounds, place, "right") - 1, into, place


def timeline(client: NDArray[np.int64], start: NDArray[np.float64], period: NDArray[np.float64]) -> Timeline:
    """Return the timeline of intervals, by the trace and the start of each, and the length of each trace."""
    base = np.concatenate([[0.0], np.cumsum(period)[:-1]])
    return Timeline(base[client] + start, base, period)

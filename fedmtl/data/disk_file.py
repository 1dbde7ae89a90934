"""Rows of files, read in place of mapped: a mapped page counts as memory of the process, and a file that is cut short
while it is mapped ends it.

Files stay open while they are among the last that were read; each reading compares size and time of the last change.
"""

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_OPEN = 128
"""Files that stay open."""

GAP = 2**14
"""Bytes between two wanted rows up to which they are read and dropped: they take less time than another call."""

WINDOW = 2**22
"""Bytes that are read at once."""


@dataclass(frozen=True)
class StoredRows:
    """N rows of a file, equally far apart, as numbers of a plain type."""

    path: str
    """Absolute."""
    offset: int
    """Bytes before the first row."""
    stride: int
    """Bytes from one row to the next, at least those that a row spans."""
    count: int
    """N."""
    shape: tuple[int, ...]
    """Shape of a row."""
    strides: tuple[int, ...]
    """Bytes between the numbers of a row, for each of its dimensions."""
    dtype: str
    """As numpy writes it, such as "<f4"."""
    size: int
    """Bytes of the file when it was opened first."""
    changed: int
    """Time of its last change then, in nanoseconds."""

    @property
    def span(self) -> int:
        """Bytes from the first to the last number of a row."""
        return span(self.shape, self.strides, np.dtype(self.dtype).itemsize)

    def read(self, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Read rows, ascending, into an array of any type of numbers.

        Raises:
            ValueError: the file is gone, has changed, or ends too early.
        """
        if not len(rows) or not prod(self.shape):
            return
        kind = np.dtype(self.dtype)
        plain = kind == out.dtype and out.flags.c_contiguous
        plain = plain and out[0].strides == self.strides and self.stride == self.span
        step = np.diff(rows)
        apart = (step > max(1, GAP // self.stride)) | (np.diff(rows * self.stride // WINDOW) > 0)
        cuts = np.flatnonzero(apart) + 1
        starts, stops = [0, *cuts.tolist()], [*cuts.tolist(), len(rows)]
        firsts, lasts = rows[starts].tolist(), rows[np.array(stops) - 1].tolist()
        dense = np.array(stops) - np.array(starts) == np.array(lasts) - np.array(firsts) + 1
        if len(step) and (step == 0).any():
            dense[:] = False
        scratch = bytearray()
        with _LOCK:
            file = _opened(self)
            for start, stop, first, last, one in zip(starts, stops, firsts, lasts, dense.tolist(), strict=True):
                at = self.offset + first * self.stride
                if plain and one:
                    self._fill(file, out[start:stop].data.cast("B"), at)
                    continue
                length = (last - first) * self.stride + self.span
                if len(scratch) < length:
                    scratch = bytearray(length)
                self._fill(file, memoryview(scratch)[:length], at)
                shape = (last - first + 1, *self.shape)
                found = np.ndarray(shape, kind, scratch, 0, (self.stride, *self.strides))
                out[start:stop] = found[rows[start:stop] - first]

    def _fill(self, file: int, buffer: memoryview, offset: int) -> None:
        while len(buffer):
            count = os.preadv(file, [buffer], offset)
            if count == 0:
                raise ValueError(
                    f"{self.path} ends after {os.fstat(file).st_size:,} bytes, {offset + len(buffer):,} are needed: it "
                    "has been cut short; give back the whole file."
                )
            buffer, offset = buffer[count:], offset + count


def span(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> int:
    """Bytes from the first to the last number of a row."""
    return sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) + itemsize if prod(shape) else 0


_LOCK = threading.Lock()

_files: OrderedDict[str, int] = OrderedDict()
"""Path -> descriptor of an open file, the last read at the end."""


def _opened(rows: StoredRows) -> int:
    """The file's descriptor.

    Raises:
        ValueError: it is gone, or not the file that it was.
    """
    file = _files.pop(rows.path, None)
    if file is None:
        try:
            file = os.open(rows.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise ValueError(
                f"{rows.path} cannot be read ({error.strerror}); examples stay in this file while they are used: give "
                "it back, on each machine that trains on it."
            ) from None
    _files[rows.path] = file
    if len(_files) > MOST_OPEN:
        os.close(_files.popitem(last=False)[1])
    now = os.fstat(file)
    if (now.st_size, now.st_mtime_ns) != (rows.size, rows.changed):
        os.close(_files.pop(rows.path))
        what = f"had {rows.size:,} bytes and has {now.st_size:,}" if now.st_size != rows.size else "was written to"
        raise ValueError(
            f"{rows.path} has changed since its arrays were given: it {what}; make the data set anew from the file as "
            "it is."
        )
    return file

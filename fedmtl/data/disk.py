"""Arrays that stay on disk: rows are read when they are used, so that examples may be larger than memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128

from fedmtl.data.disk_file import StoredRows

BLOCK = 2**22
"""Bytes of rows that are looked at together."""


@dataclass(frozen=True, eq=False)
class DiskArray:
    """N rows of files, and of arrays in memory beside them, read as one type of numbers.

    ``len``, ``shape``, ``dtype`` and ``nbytes`` are as numpy's, rows by number or slice are numpy arrays, and
    ``np.asarray`` reads everything.
    """

    parts: tuple[StoredRows | NDArray[Any], ...]
    """Rows that it chooses from, end to end."""
    dtype: np.dtype[Any]
    """Type of the numbers as they are used; those of files may be of others."""
    rows: NDArray[np.int64] | None = None
    """Numbers of its rows among those of the parts; None for all in their order."""
    checked: bool = False
    """True once the inputs have been looked at, all of them."""

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self), *self.parts[0].shape[isinstance(self.parts[0], np.ndarray) :]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def raw(self) -> np.dtype[Any]:
        """A type that holds the numbers of all parts as they are stored."""
        return np.result_type(*{np.dtype(part.dtype) for part in self.parts})

    def __len__(self) -> int:
        return int(self.ends[-1]) if self.rows is None else len(self.rows)

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """Rows up to the end of each part."""
        return np.cumsum([part.count if isinstance(part, StoredRows) else len(part) for part in self.parts])

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        if isinstance(rows, int | np.integer):
            return self.take(np.array([range(len(self))[rows]]))[0]
        return self.take(self._numbers(rows))

    def _numbers(self, rows: Any) -> NDArray[np.int64]:
        if isinstance(rows, slice):
            return np.arange(len(self))[rows]
        found = np.asarray(rows)
        return np.flatnonzero(found) if found.dtype == bool else found.astype(np.int64)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        found = self.take(np.arange(len(self)))
        return found if dtype is None else found.astype(dtype)

    def select(self, rows: Any) -> "DiskArray":
        """Some of the rows, which stay where they are."""
        numbers = self._numbers(rows)
        return replace(self, rows=numbers if self.rows is None else self.rows[numbers])

    def astype(self, dtype: Any) -> "DiskArray":
        """The same rows, to be read as another type."""
        return replace(self, dtype=np.dtype(dtype))

    def take(self, rows: NDArray[np.int64], dtype: np.dtype[Any] | None = None) -> NDArray[Any]:
        """Read rows by number, […] -> […, *shape of one].

        Raises:
            ValueError: a file that is gone or has changed.
        """
        flat = rows.reshape(-1)
        flat = flat if self.rows is None else self.rows[flat]
        order = np.argsort(flat, kind="stable")
        numbers, ends = flat[order], self.ends
        found = np.empty((len(flat), *self.shape[1:]), dtype or self.dtype)
        bounds = np.searchsorted(numbers, np.concatenate([[0], ends]))
        for part in np.flatnonzero(np.diff(bounds)).tolist():
            some, stored = slice(bounds[part], bounds[part + 1]), self.parts[part]
            own = numbers[some] - (ends[part - 1] if part else 0)
            if isinstance(stored, StoredRows):
                stored.read(own, found[some])
            else:
                found[some] = stored[own]
        if len(order) and (np.diff(order) != 1).any():
            placed = np.empty_like(found)
            placed[order] = found
            found = placed
        return found.reshape(*rows.shape, *self.shape[1:])

    def blocks(self, dtype: np.dtype[Any] | None = None) -> Iterator[NDArray[Any]]:
        """All rows in order, some megabytes at a time."""
        step = max(1, BLOCK // max(1, prod(self.shape[1:]) * self.dtype.itemsize))
        for start in range(0, len(self), step):
            yield self.take(np.arange(start, min(start + step, len(self))), dtype)

    def fingerprint(self) -> tuple[Any, ...]:
        """Its content, for comparisons."""
        found = xxh3_128()
        for block in self.blocks():
            found.update(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)
        return self.shape, self.dtype.str, found.hexdigest()


def end_to_end(arrays: Sequence[Any]) -> Any:
    """Arrays of one type as one; those on disk stay there."""
    if not any(isinstance(array, DiskArray) for array in arrays):
        return np.concatenate(arrays)
    if len(arrays) == 1:
        return arrays[0]
    parts: list[StoredRows | NDArray[Any]] = []
    numbers: list[NDArray[np.int64]] = []
    places: dict[Any, int] = {}  # of files that several arrays are parts of
    first = 0
    for array in arrays:
        own = array.parts if isinstance(array, DiskArray) else (array,)
        starts = []
        for part in own:
            key = part if isinstance(part, StoredRows) else id(part)
            if key not in places:
                places[key] = first
                parts.append(part)
                first += part.count if isinstance(part, StoredRows) else len(part)
            starts.append(places[key])
        sizes = np.diff(array.ends, prepend=0) if isinstance(array, DiskArray) else np.array([len(array)])
        every = np.arange(int(sizes.sum())) + np.repeat(np.array(starts) - np.cumsum(sizes) + sizes, sizes)
        chosen = array.rows if isinstance(array, DiskArray) else None
        numbers.append(every if chosen is None else every[chosen])
    kind = np.result_type(*{array.dtype for array in arrays})
    checked = all(array.checked for array in arrays if isinstance(array, DiskArray))
    return DiskArray(tuple(parts), kind, np.concatenate(numbers), checked)


def some_rows(array: Any, rows: Any) -> Any:
    """Rows of an array in memory, or of one on disk, which stay there."""
    return array.select(rows) if isinstance(array, DiskArray) else array[rows]


def blocks_of(array: Any) -> Iterator[NDArray[Any]]:
    """An array in memory as it is, one on disk in blocks."""
    if isinstance(array, DiskArray):
        yield from array.blocks()
    else:
        yield array

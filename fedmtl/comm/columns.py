"""Columns of numbers, kept small while a run goes on: sorted ids and equal sizes take a few bits a number."""

import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_NARROW = ("<u1", "<i1", "<u2", "<i2", "<u4", "<i4", "<i8")


class Column(NamedTuple):
    """N whole numbers or floats, as ``pack`` made them; ``unpack`` gives the same array back, bit for bit."""

    data: bytes
    kind: str
    """numpy's name of the type that ``data`` holds: of the numbers themselves, or of the steps between them."""
    first: int | None
    """Where the steps start; None when the numbers are stored as they are."""
    size: int
    """N."""


def pack(values: NDArray[Any]) -> Column:
    """A column of [N] int64 or float64.

    Whole numbers, also those among floats, become the steps from one to the next in the narrowest type, deflated;
    floats that are not whole are kept as they are.
    """
    whole = values if values.dtype == np.int64 else _whole(values)
    if whole is None or whole.size == 0:
        return Column(values.tobytes(), values.dtype.str, None, values.size)
    steps = np.diff(whole)
    low, high = (int(steps.min()), int(steps.max())) if steps.size else (0, 0)
    narrow = next(kind for kind in _NARROW if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    data = zlib.compress(steps.astype(narrow).tobytes(), 1)
    return Column(data, values.dtype.str + narrow, int(whole[0]), whole.size)


def unpack(column: Column) -> NDArray[Any]:
    """The column's numbers, [N]."""
    if column.first is None:
        return np.frombuffer(column.data, column.kind)
    steps = np.frombuffer(zlib.decompress(column.data), column.kind[3:])
    values = np.empty(len(steps) + 1, np.int64)
    values[0] = column.first
    np.cumsum(steps, out=values[1:])
    values[1:] += column.first
    return values.astype(column.kind[:3], copy=False)


def _whole(values: NDArray[Any]) -> NDArray[Any] | None:
    """Floats as int64 when nothing is lost by it, not even the sign of a zero; else None."""
    if not (np.abs(values) < 2**53).all() or np.signbit(values[values == 0]).any():
        return None
    whole = values.astype(np.int64)
    return whole if (whole == values).all() else None

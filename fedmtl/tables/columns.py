"""Columns of numbers in few bytes: sorted ids, equal sizes and numbers that repeat take a few bits each."""

import zlib
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

_NARROW = ("<u1", "<u2", "<u4", "<u8")
_DISTINCT = 2**16
"""Floats are numbered when no more than these differ, and each comes twice in the mean."""


class Column(NamedTuple):
    """N whole numbers or floats, packed by ``pack_column``; ``unpack_column`` gives the array back, bit for bit."""

    form: Literal["plain", "steps", "table"]
    dtype: str
    """numpy's name of the numbers' type: <i8 or <f8."""
    size: int
    """N."""
    narrow: str = ""
    """numpy's name of the type that ``data`` holds, deflated; "" when it holds none."""
    first: int = 0
    """First number in the format ``steps``; number of different numbers in the format ``table``."""
    step: int = 0
    """Smallest step, in the format ``steps``, between two numbers; ``data`` holds the surplus of each step."""
    data: bytes = b""


def pack_column(values: NDArray[Any]) -> Column:
    """A column of [N] int64 or float64.

    Whole numbers, also those among floats, become the steps from one to the next in the narrowest type, and nothing
    when all are equal. Other floats are numbered where they repeat, and kept as they are elsewhere.
    """
    whole = values if values.dtype == np.int64 else _whole(values)
    if values.size == 0:
        return Column("plain", values.dtype.str, 0)
    if whole is None:
        return _table(values)
    steps = np.diff(whole)  # modulo 2⁶⁴, and so is the sum that undoes it
    if not steps.size or (low := int(steps.min())) == (high := int(steps.max())):
        return Column("steps", values.dtype.str, values.size, "", int(whole[0]), int(steps[0]) if steps.size else 0)
    narrow = next(kind for kind in _NARROW if high - low <= np.iinfo(kind).max)
    above = steps.view(np.uint64) - np.uint64(low % 2**64)
    return Column("steps", values.dtype.str, values.size, narrow, int(whole[0]), low, _deflated(above, narrow))


def _table(values: NDArray[Any]) -> Column:
    found, number = np.unique(values.view(np.int64), return_inverse=True)  # their bits: a NaN has many
    if len(found) > min(_DISTINCT, values.size // 2):
        return Column("plain", values.dtype.str, values.size, data=values.tobytes())
    narrow = next(kind for kind in _NARROW if len(found) - 1 <= np.iinfo(kind).max) if len(found) > 1 else ""
    data = found.tobytes() + (_deflated(number, narrow) if narrow else b"")
    return Column("table", values.dtype.str, values.size, narrow, len(found), data=data)


def unpack_column(column: Column) -> NDArray[Any]:
    """The column's numbers, [N].

    Raises:
        ValueError: a column that ``pack_column`` cannot have made. The caller bounds N, and with it the memory.
    """
    form, dtype, size, narrow, first, step, data = column
    if dtype not in ("<i8", "<f8") or narrow not in ("", *_NARROW) or size < 0:
        raise ValueError(f"a column of {size} numbers {dtype!r} in {narrow!r}")
    if form == "plain":
        if len(data) != 8 * size:
            raise ValueError(f"{len(data)} bytes for {size} numbers")
        return np.frombuffer(data, dtype)
    if form == "table":
        if not 0 < first <= min(_DISTINCT, len(data) // 8):
            raise ValueError(f"{len(data)} bytes for {first} different numbers")
        number = _inflated(data[8 * first :], narrow, size) if narrow else np.zeros(size, np.uint8)
        if size and int(number.max()) >= first:
            raise ValueError(f"number {int(number.max())} of {first}")
        return np.frombuffer(data[: 8 * first], dtype)[number]
    if form != "steps" or size == 0 or not all(-(2**63) <= number < 2**63 for number in (first, step)):
        raise ValueError(f"a column of the form {form!r}, size {size}, first {first}, step {step}")
    steps = np.full(size, step, np.int64)
    if narrow:
        steps[1:] += _inflated(data, narrow, size - 1).astype(np.int64)
    steps[0] = first
    return np.cumsum(steps, out=steps).astype(dtype, copy=False)


def _deflated(numbers: NDArray[Any], narrow: str) -> bytes:
    return zlib.compress(numbers.astype(narrow).tobytes(), 1)


def _inflated(data: bytes, narrow: str, size: int) -> NDArray[Any]:
    """[size] numbers; no more memory than they take is used, whatever the data would become."""
    length = size * np.dtype(narrow).itemsize
    inflater = zlib.decompressobj()
    try:
        numbers = inflater.decompress(data, length + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(numbers) != length or not inflater.eof or inflater.unused_data:
        raise ValueError(f"{size} numbers that are not {size}")
    return np.frombuffer(numbers, narrow)


def _whole(values: NDArray[Any]) -> NDArray[Any] | None:
    """Floats as int64 when nothing is lost by it, not even the sign of a zero; else None."""
    if not (np.abs(values) < 2**53).all() or np.signbit(values[values == 0]).any():
        return None
    whole = values.astype(np.int64)
    return whole if (whole == values).all() else None

"""Anything that holds numbers as a numpy array of the same numbers: tables, tensors, masked and sparse arrays, lists.

Other packages' types are known by their attributes, so that none of them is needed here. No number changes: what has no
exact counterpart is refused.
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.data.disk import DiskArray

EXACT = 2**53
"""The whole numbers up to which float64 has each of its own."""

_MISSING = ("NAType", "NaTType", "NoneType")
_REAL = (bool, int, float, np.bool_, np.integer, np.floating, Decimal, Fraction)
_WAYS = {
    "c": "real numbers; give real and imaginary part (or length and angle) as columns of their own",
    "M": "numbers, not dates; give the time since some date, (t - t0) / np.timedelta64(1, 'D')",
    "m": "numbers, not durations; divide by a unit, t / np.timedelta64(1, 's')",
    "V": "numbers, not records; give each field as a column, np.stack([a[name] for name in a.dtype.names], 1)",
}
_TEXT = (
    "numbers, not text; code names as whole numbers from 0, by one list for all clients "
    "(names.index(name)), and convert digits with astype(float)"
)


class NumberArray(NamedTuple):
    """An array of real numbers, NaN where the source has none."""

    array: NDArray[Any]
    whole: bool
    """True where the source's type holds whole numbers only."""


def to_numbers(where: str, value: Any) -> NumberArray:
    """The numbers of an array-like; it may share the source's memory.

    Raises:
        ValueError: it holds something else, or numbers that no numpy type holds as they are; the message begins with
            ``where``.
    """
    if isinstance(value, DiskArray):
        return NumberArray(np.asarray(value), value.dtype.kind != "f")
    if isinstance(value, Tensor):
        return _plain(where, _of_tensor(where, value))
    if isinstance(value, list | tuple) and value and all(isinstance(item, Tensor) for item in value):
        if len({item.shape for item in value}) > 1:
            raise ValueError(f"{where}: a list of tensors of unlike shapes; pad or cut them to one shape.")
        return _plain(where, np.stack([_of_tensor(where, item) for item in value]))
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        return _plain(where, _dense(where, value))
    if hasattr(value, "columns") and hasattr(value, "to_numpy"):
        return _of_table(where, value)
    if hasattr(value, "dtype") and hasattr(value, "to_numpy"):
        return _of_series(where, value)
    if isinstance(value, np.ma.MaskedArray):
        return with_gaps(where, np.asarray(value.data), np.ma.getmaskarray(value))
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"{where}: no array can be made of this {type(value).__name__} ({_line(error)}); all rows need the same "
            "length, and all entries must be numbers."
        ) from None
    if isinstance(value, list | tuple) and array.dtype.kind == "f" and array.size and np.nanmax(np.abs(array)) > EXACT:
        array = np.asarray(value, dtype=object)  # numpy makes floats of whole numbers that no integer type holds
    return _plain(where, array)


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__


def _plain(where: str, array: NDArray[Any]) -> NumberArray:
    kind = array.dtype.kind
    if kind in "biuf":
        return NumberArray(array, kind != "f")
    if kind == "O":
        return _of_objects(where, array)
    if kind == "V" and array.dtype.names is None and "float" in array.dtype.name:  # bfloat16 and its kin
        return NumberArray(array.astype(np.float32), False)
    raise ValueError(
        f"{where}: {array.dtype} of shape {array.shape}, which must be {_WAYS.get(kind, _TEXT)}"
        f"{_first(array) if kind in 'USTMm' else ''}."
    )


def _first(array: NDArray[Any]) -> str:
    return f"; the first is {str(array.flat[0])[:40]!r}" if array.size else ""


def _of_tensor(where: str, tensor: Tensor) -> NDArray[Any]:
    if tensor.is_complex():
        raise ValueError(f"{where}: {tensor.dtype} of shape {tuple(tensor.shape)}, which must be {_WAYS['c']}.")
    if tensor.is_quantized or tensor.is_nested or tensor.is_meta:
        kind = "quantized" if tensor.is_quantized else "nested" if tensor.is_nested else "meta"
        raise ValueError(f"{where}: a {kind} tensor; give a dense one that holds the numbers.")
    tensor = tensor.detach()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    tensor = tensor.cpu().resolve_neg()
    if tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64):
        tensor = tensor.float()  # exact: bfloat16 and floats of 8 bits
    return tensor.numpy()


def _dense(where: str, value: Any) -> NDArray[Any]:
    try:
        return np.asarray(value.toarray())
    except MemoryError:
        raise ValueError(
            f"{where}: a sparse matrix of shape {tuple(value.shape)}, which memory does not hold densely; select "
            "columns, or project it to fewer."
        ) from None


def _of_table(where: str, table: Any) -> NumberArray:
    """Columns side by side, [N, columns]."""
    names = list(table.columns)
    columns = [table.iloc[:, j] if hasattr(table, "iloc") else table[name] for j, name in enumerate(names)]
    if not columns:
        return NumberArray(np.zeros((len(table), 0)), False)
    parts = [to_numbers(f"{where}, column {name!r}", column) for name, column in zip(names, columns, strict=True)]
    if all(part.array.dtype == parts[0].array.dtype for part in parts):
        return NumberArray(np.stack([part.array for part in parts], 1), all(part.whole for part in parts))
    if all(part.array.dtype.kind in "biu" for part in parts):
        kind = np.result_type(*[part.array.dtype for part in parts])
        if kind.kind != "f":
            return NumberArray(np.stack([part.array.astype(kind) for part in parts], 1), True)
    found = [
        _floats(f"{where}, column {name!r}", part.array) for name, part in zip(names, parts, strict=True)
    ]  # a table has one type
    return NumberArray(np.stack(found, 1), all(part.whole for part in parts))


def _of_series(where: str, series: Any) -> NumberArray:
    dtype = series.dtype
    if isinstance(dtype, np.dtype) or not hasattr(dtype, "kind") or not hasattr(series, "isna"):
        return _plain(where, np.asarray(series.to_numpy()))
    if dtype.kind not in "biuf":
        if hasattr(series, "cat") or hasattr(dtype, "categories"):
            raise ValueError(
                f"{where}: categories, whose order may differ between clients; code them as whole numbers by one list "
                f"for all clients, such as {_some(dtype.categories)}, with codes that count from 0."
            )
        return _plain(where, np.asarray(series))
    gaps = np.asarray(series.isna(), bool)
    whole = getattr(dtype, "numpy_dtype", None)
    if dtype.kind == "f" or not isinstance(whole, np.dtype):
        return _plain(where, np.asarray(series.to_numpy(dtype=float, na_value=np.nan) if gaps.any() else series))
    if not gaps.any():
        return _plain(where, np.asarray(series.to_numpy(dtype=whole)))
    return with_gaps(where, np.asarray(series.to_numpy(dtype=whole, na_value=whole.type(0))), gaps)


def _some(values: Any) -> str:
    listed = [str(value)[:20] for value in list(values)[:4]]
    return f"[{', '.join(listed)}{', …' if len(values) > 4 else ''}]"


def with_gaps(where: str, array: NDArray[Any], gaps: NDArray[np.bool_]) -> NumberArray:
    """The numbers with NaN where there are gaps, in a type that holds both; the message begins with ``where``."""
    numbers = _plain(where, array)
    if not gaps.any():
        return numbers
    floats = np.array(_floats(where, np.where(gaps, numbers.array.dtype.type(0), numbers.array)))
    floats[gaps] = np.nan
    return NumberArray(floats, numbers.whole)


def _floats(where: str, array: NDArray[Any]) -> NDArray[Any]:
    """As floats, which hold all of it."""
    if array.dtype.kind == "f":
        return array
    if array.dtype.itemsize == 8 and array.size and max(int(array.max()), -int(array.min())) > EXACT:
        top = max(int(array.max()), -int(array.min()))
        raise ValueError(
            f"{where}: whole numbers up to {top} beside gaps or fractions, which only floats hold, and those are exact "
            f"to 2**53; subtract a constant, or number the values from 0."
        )
    return array.astype(np.float64)


def _of_objects(where: str, array: NDArray[Any]) -> NumberArray:
    """An array of Python objects that are numbers, or None and the like."""
    items: Sequence[Any] = array.reshape(-1).tolist()
    if items and all(isinstance(item, np.ndarray | list | tuple | Tensor) for item in items):
        parts = [to_numbers(where, item).array for item in items]
        if len({part.shape for part in parts}) > 1:
            raise ValueError(
                f"{where}: rows of unlike shapes, such as {parts[0].shape} and "
                f"{next(part.shape for part in parts if part.shape != parts[0].shape)}; pad or cut them to one shape."
            )
        return _plain(where, np.stack(parts).reshape(*array.shape, *parts[0].shape))
    gaps = np.array([type(item).__name__ in _MISSING for item in items], bool)
    for place, (item, gap) in enumerate(zip(items, gaps, strict=True)):
        if not gap and not isinstance(item, _REAL):
            at = ", ".join(str(int(i)) for i in np.unravel_index(place, array.shape))
            way = _TEXT if isinstance(item, str | bytes) else "numbers; drop or convert what is something else"
            raise ValueError(f"{where}: a {type(item).__name__}, {str(item)[:40]!r}, at [{at}]; entries must be {way}.")
    known = [item for item, gap in zip(items, gaps, strict=True) if not gap]
    if all(isinstance(item, bool | int | np.bool_ | np.integer) for item in known):
        small, large = min(map(int, known), default=0), max(map(int, known), default=0)
        kind = np.int64 if -(2**63) <= small and large < 2**63 else np.uint64 if 0 <= small and large < 2**64 else None
        if kind is None:
            raise ValueError(f"{where}: whole numbers from {small} to {large}, which no type of 64 bits holds.")
        whole = np.array([0 if gap else int(item) for item, gap in zip(items, gaps, strict=True)], kind)
        # Objects may stand for anything: with gaps they are whole numbers as those of a column with gaps are.
        return with_gaps(where, whole.reshape(array.shape), gaps.reshape(array.shape))
    for item in known:
        if isinstance(item, int | np.integer) and abs(int(item)) > EXACT:
            raise ValueError(f"{where}: {item} beside fractions, which only floats hold, and those are exact to 2**53.")
    try:
        floats = np.array([np.nan if gap else float(item) for item, gap in zip(items, gaps, strict=True)])
    except OverflowError:
        raise ValueError(f"{where}: a number beyond float64; scale the column.") from None
    return NumberArray(floats.reshape(array.shape), False)


def is_numeral(text: str) -> bool:
    """Return True where a text is a number as Python reads it."""
    try:
        float(text)
    except ValueError:
        return False
    return True

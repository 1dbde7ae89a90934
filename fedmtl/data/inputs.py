"""All clients' inputs as one type: int64 where all are whole numbers, else float32, and nothing changed in silence."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.data.disk import DiskArray
from fedmtl.tasks.precision import LARGEST, merged_by_float32


def to_inputs(parts: Sequence[Any], where: Callable[[int], str]) -> list[Any]:
    """Copies of the inputs of all clients, float32 or int64, finite, in C order; those on disk stay there.

    Whole numbers of whole types stay so while all clients have such; a model that takes floats is given float32.

    Args:
        parts: numbers, [N, …], equal in all but N; numpy arrays, or ``DiskArray``.
        where: names a part, for messages.

    Raises:
        ValueError: another shape, NaN or infinity, numbers beyond the type, or different numbers that float32 makes
            one.
    """
    for part, array in enumerate(parts):
        if array.shape[1:] != parts[0].shape[1:]:
            raise ValueError(
                f"{where(part)}: inputs have shape {array.shape[1:]}, and those of {where(0)} {parts[0].shape[1:]}; "
                "all clients' have one shape; inputs of unlike shape have names, {task: (x, labels)}, and a model with "
                "Stems."
            )
    whole = all(part.dtype.kind in "biu" for part in parts)
    stored = [number for number, part in enumerate(parts) if isinstance(part, DiskArray)]
    memory = sorted(set(range(len(parts))).difference(stored))
    found: dict[int, Any] = {number: checked_on_disk(parts[number], where(number), whole) for number in stored}
    if memory:
        copies = _in_memory([parts[number] for number in memory], lambda part: where(memory[part]), whole)
        found.update(zip(memory, copies, strict=True))
    return [found[number] for number in range(len(parts))]


def _in_memory(parts: Sequence[NDArray[Any]], where: Callable[[int], str], whole: bool) -> list[NDArray[Any]]:
    starts = np.cumsum([0, *map(len, parts)])
    if whole:
        for part, array in enumerate(parts):
            _check_whole(array, where(part))
        joined = np.concatenate([np.asarray(part, np.int64) for part in parts])
    else:
        joined = join(parts)
        check_finite(joined, starts, where)
        joined = floats(joined, "inputs")
    return np.split(joined, starts[1:-1])


def checked_on_disk(array: DiskArray, where: str, whole: bool) -> DiskArray:
    """Inputs on disk, to be read as int64 where ``whole``, else as float32; looked at once, block by block.

    Numbers that float32 makes one are found where they are in one block.

    Raises:
        ValueError: as ``to_inputs``.
    """
    kind, raw = np.dtype(np.int64 if whole else np.float32), array.raw
    if array.checked and array.dtype == kind:
        return array
    if raw.kind == "f" or raw.itemsize == 8 or not whole:
        first = 0
        for block in array.blocks(raw):
            if whole:
                _check_whole(block, where)
            else:
                check_finite(block, np.array([0, len(block)]), lambda _: where, first)
                floats(block, f"{where}: inputs")
            first += len(block)
    return replace(array, dtype=kind, checked=True)


def _check_whole(array: NDArray[Any], where: str) -> None:
    if array.dtype == np.uint64 and array.size and int(array.max()) >= 2**63:
        raise ValueError(
            f"{where}: inputs hold {array.max()}, and whole numbers are int64, below 2**63; number the values from 0."
        )


def join(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Parts end to end, in a type that holds all of their numbers."""
    kinds = {part.dtype for part in parts}
    if len(kinds) == 1:
        return np.concatenate(parts)
    wide = any(kind.kind in "iu" and kind.itemsize == 8 for kind in kinds)  # more digits than float64 has
    found = np.result_type(*kinds, *([np.longdouble] if wide else []))
    return np.concatenate([part.astype(found, copy=False) for part in parts])


def check_finite(joined: NDArray[Any], starts: NDArray[np.int64], where: Callable[[int], str], first: int = 0) -> None:
    """Refuse NaN, infinity and what is beyond float32.

    Args:
        joined: the inputs of all parts, end to end.
        starts: where each begins, and the end.
        where: names a part.
        first: number of the first row, of a block.

    Raises:
        ValueError: it names the part, the rows, the feature and the way out.
    """
    if joined.dtype.kind != "f":
        return
    good = np.isfinite(joined) if joined.dtype.itemsize <= 4 else np.abs(joined) <= LARGEST
    if good.all():
        return
    row = int(np.flatnonzero(~good.reshape(len(good), -1).all(1))[0])
    part = int(np.searchsorted(starts, row, side="right")) - 1
    own = good[starts[part] : starts[part + 1]].reshape(starts[part + 1] - starts[part], -1)
    rows = np.flatnonzero(~own.all(1))
    place = int(np.flatnonzero(~own[rows[0]])[0])
    value = joined[starts[part] + rows[0]].reshape(-1)[place]
    found = "NaN or infinity" if not np.isfinite(value) else "numbers beyond float32"
    way = "drop or impute them before building the federation" if not np.isfinite(value) else "scale the feature"
    raise ValueError(
        f"{where(part)}: inputs hold {found} in {len(rows)} row(s), first row {first + rows[0]}, "
        f"{feature(joined.shape[1:], place)} ({value}); {way}."
    )


def feature(shape: tuple[int, ...], place: int) -> str:
    """The name of one number of an example."""
    at = [int(i) for i in np.unravel_index(place, shape)]
    return f"feature {at[0] if len(at) == 1 else at}"


def floats(joined: NDArray[Any], what: str) -> NDArray[np.float32]:
    """Numbers as float32, which rounds them to 7 digits.

    Args:
        joined: finite or NaN, [N, …], of all clients.
        what: they are, for the message.

    Raises:
        ValueError: numbers of a feature that float32 makes one, or a feature of numbers that are all too small for it.
    """
    found = joined.astype(np.float32)
    if joined.dtype.itemsize <= 2 or joined.dtype == np.float32:
        return found
    merged = merged_by_float32(joined, found)
    if merged is not None:
        place, before, after = merged
        raise ValueError(
            f"{what}: float32 keeps 7 digits, by which {before - after} of {before} distinct values in "
            f"{feature(joined.shape[1:], place)} (up to {np.abs(joined.reshape(len(joined), -1)[:, place]).max()}) "
            "merge with others; subtract a constant, the same for all clients, or number the values from 0, or give "
            "astype(np.float32) where they may merge."
        )
    _check_small(joined, what)
    return found


def _check_small(joined: NDArray[Any], what: str) -> None:
    """Refuse a feature of which no number is large enough for float32's digits."""
    if joined.dtype.kind != "f" or not joined.size:
        return
    flat = joined.reshape(len(joined), -1)
    most = np.fmax.reduce(np.abs(flat), axis=0)  # labels may be missing
    small = np.flatnonzero((most > 0) & (most < np.finfo(np.float32).tiny))
    if len(small):
        raise ValueError(
            f"{what}: float32 keeps less than 7 digits below {np.finfo(np.float32).tiny:.3g}, and no number in "
            f"{feature(joined.shape[1:], int(small[0]))} is larger than {most[small[0]]:.3g}; scale it for all clients "
            "alike."
        )

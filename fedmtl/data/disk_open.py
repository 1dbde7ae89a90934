"""Arrays on disk from what a user has: a memory-mapped array, or the path of a .npy file."""

import mmap
import os
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.bounds import shown
from fedmtl.data.disk import DiskArray
from fedmtl.data.disk_file import StoredRows, span

SMALL = 2**26
"""Bytes up to which an array whose rows lie scattered over its file is held in memory."""


def on_disk(where: str, value: Any) -> DiskArray | None:
    """The array as one that stays on disk; None for arrays in memory, and for small ones whose rows are scattered.

    A mapped array that is written to in memory only (mode "c") is one in memory.

    Raises:
        ValueError: a path that is no .npy file, a file that is damaged, or rows that are scattered over a large file;
            the message begins with ``where``.
    """
    if isinstance(value, DiskArray):
        return value
    if isinstance(value, str | Path):
        return of_file(where, Path(value))
    if not isinstance(value, np.ndarray) or type(value) not in (np.ndarray, np.memmap):
        return None
    mapped = _mapped(value)
    if mapped is None or mapped.filename is None or mapped.mode == "c" or value.dtype.kind not in "biuf":
        return None
    if mapped.mode in ("r+", "w+"):
        mapped.flush()
    memory: Any = mapped._mmap
    start = (
        mapped.offset
        - mapped.offset % mmap.ALLOCATIONGRANULARITY
        + _address(value)
        - _address(np.frombuffer(memory, np.uint8))
    )
    return _stored(where, Path(mapped.filename), start, value.shape, value.strides, value.dtype)


def opened(where: str, value: Any) -> Any:
    """The array as one that stays on disk where it can, else what it is in memory.

    Raises:
        ValueError: as ``on_disk``.
    """
    found = on_disk(where, value)
    if found is not None:
        return found
    return np.load(value, allow_pickle=False) if isinstance(value, str | Path) else value


def in_memory(where: str, x: Any) -> NDArray[Any]:
    """Inputs that have to be in memory, of those on disk small ones.

    Raises:
        ValueError: large ones on disk; the message begins with ``where``.
    """
    if isinstance(x, DiskArray) and x.nbytes > SMALL:
        raise ValueError(
            f"{where}: inputs of unlike shape are held in memory, as rows of one shape, and these are {x.nbytes:,} "
            "bytes on disk; give all inputs one shape, or give those of each task to an experiment of its own."
        )
    return np.asarray(x)


def kept(x: Any) -> Any:
    """An array that is mapped as one that stays on disk; others as they are."""
    found = on_disk("inputs", x) if isinstance(x, np.memmap) else None
    return x if found is None else found


def of_file(where: str, path: Path) -> DiskArray | None:
    """The array of a .npy file; None for a small one that is stored column by column.

    Raises:
        ValueError: no such file, another format, objects, or a file that is shorter than its array.
    """
    if path.suffix != ".npy":
        way = "; unpack it, np.save(name, archive[name])" if path.suffix == ".npz" else ""
        raise ValueError(f"{where}: arrays on disk are .npy files, got {shown(str(path))}{way}.")
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, by_columns, dtype = read(file)
            offset, size = file.tell(), os.fstat(file.fileno()).st_size
    except OSError as error:
        raise ValueError(f"{where}: {path} cannot be read ({error.strerror}).") from None
    except (ValueError, TypeError, SyntaxError) as error:
        line = str(error).strip().splitlines()[0][:120] if str(error).strip() else "no header"
        raise ValueError(f"{where}: {path} is no .npy file ({line}); write it with np.save.") from None
    if dtype.kind not in "biuf":
        raise ValueError(f"{where}: {path} holds {dtype}; arrays on disk hold numbers or true and false.")
    need = offset + prod(shape) * dtype.itemsize
    if size < need:
        raise ValueError(
            f"{where}: {path} has {size:,} bytes, and its array of shape {shape} needs {need:,}: it was cut "
            "short; copy or write it again."
        )
    order = shape if by_columns else shape[::-1]
    strides = tuple(dtype.itemsize * int(n) for n in np.cumprod([1, *order[:-1]])) if shape else ()
    return _stored(where, path, offset, shape, strides if by_columns else strides[::-1], dtype)


def _stored(
    where: str, path: Path, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype[Any]
) -> DiskArray | None:
    if not shape:
        raise ValueError(f"{where}: {path} holds a single number; arrays have a row for each example.")
    length = span(shape[1:], strides[1:], dtype.itemsize)
    if min(strides, default=0) < 0 or (shape[0] > 1 and strides[0] < length):
        if prod(shape) * dtype.itemsize <= SMALL:
            return None
        raise ValueError(
            f"{where}: the rows of this array lie scattered over {path}, column by column or backwards, so that one "
            "cannot be read alone; write it anew, np.save(path, np.ascontiguousarray(x)) part by part."
        )
    path = path.resolve()
    facts = path.stat()
    stride = max(strides[0], length, 1)
    rows = StoredRows(
        str(path), offset, stride, shape[0], shape[1:], strides[1:], dtype.str, facts.st_size, facts.st_mtime_ns
    )
    if shape[0] and length and offset + (shape[0] - 1) * stride + length > facts.st_size:
        raise ValueError(f"{where}: {path} has been cut short to {facts.st_size:,} bytes; give back the whole file.")
    return DiskArray((rows,), dtype)


def _mapped(value: NDArray[Any]) -> Any:
    """The mapped array that a view looks into; None for arrays of their own memory."""
    base: Any = value
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap) and getattr(base, "_mmap", None) is not None:
            return base
        base = base.base
    return None


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])

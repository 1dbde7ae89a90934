"""The file of a small model: what is measured is its length, and what is evaluated is what was read from it.

    file  = "fmsm"  count  entry …  crc          count: of parameters; crc: CRC-32 of all before; 4 bytes each
    entry = type  layout  dims  length           one byte each, length: of the name
            name  sizes  scales  numbers         UTF-8; 4 bytes a dimension; int8 only: 4 bytes a channel

Numbers take b = 4 bytes (float32) or 1 (int8). Of n numbers, m of which are not 0, in order:

    layout 0  all             b n                                                          (1)
    layout 1  bitmap, values  ceil(n / 8) + b m       bit j: number j is not 0             (2)
    layout 2  index, values   4 + (i + b) m           m, then i = 2 bytes, 4 if n > 2^16   (3)

The layout with the fewest bytes is taken; of equals, the first. So a file of parameters p has

    12 + Σ_p (4 + |name| + 4 dims + (4 C if int8) + min of (1), (2), (3))  bytes           (4)

All is little-endian. The file says everything that a device needs: no experiment, no other file.
"""

import math
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.export.quantize import Quantised

_MAGIC = b"fmsm"
_TYPES = (np.dtype("<f4"), np.dtype("i1"))
_ALL, _BITMAP, _INDEX = range(3)
_MOST_DIMS = 32

MOST_NUMBERS = 2**28
"""Most numbers of a model that is read: 1 GB."""


def to_bytes(small: Mapping[str, Tensor | Quantised]) -> bytes:
    """The content of a file.

    Raises:
        ValueError: a parameter whose name no entry can hold.
    """
    blob = b"".join([_MAGIC, struct.pack("<I", len(small)), *(_entry(name, value) for name, value in small.items())])
    return blob + struct.pack("<I", zlib.crc32(blob))


def _entry(name: str, value: Tensor | Quantised) -> bytes:
    scales, numbers = (value.scales, value.levels) if isinstance(value, Quantised) else (None, value)
    array = numbers.detach().cpu().numpy().astype(_TYPES[scales is not None])
    encoded = name.encode()
    if len(encoded) > 255:
        raise ValueError(f"A parameter's name has at most 255 bytes in a small model's file, got {name!r}.")
    layout, body = _numbers(array.reshape(-1))
    head = struct.pack("<4B", scales is not None, layout, array.ndim, len(encoded)) + encoded
    head += struct.pack(f"<{array.ndim}I", *array.shape)
    return head + (b"" if scales is None else scales.detach().cpu().numpy().astype("<f4").tobytes()) + body


def _numbers(array: NDArray[Any]) -> tuple[int, bytes]:
    """The layout that is shortest, and what it writes."""
    b, n = array.itemsize, len(array)
    (places,) = array.nonzero()
    m, i = len(places), _index_type(n).itemsize
    layout = int(np.argmin([b * n, math.ceil(n / 8) + b * m, 4 + (i + b) * m]))  # (1), (2), (3)
    if layout == _ALL:
        return layout, array.tobytes()
    where = np.packbits(array != 0) if layout == _BITMAP else places.astype(_index_type(n))
    count = struct.pack("<I", m) if layout == _INDEX else b""
    return layout, count + where.tobytes() + array[places].tobytes()


def _index_type(n: int) -> np.dtype[Any]:
    return np.dtype("<u2" if n <= 2**16 else "<u4")


def from_bytes(data: bytes, most: int = MOST_NUMBERS) -> dict[str, Tensor | Quantised]:
    """Return the input of ``to_bytes``; a −0 that a sparse layout left out is 0.

    Args:
        data: a file's content, from anywhere.
        most: numbers of the model, or eight a byte where that is more: a few bytes can say that 10⁹ numbers are 0.

    Raises:
        ValueError: another kind of file, or one that is damaged, larger than ``most``, or holds NaN or infinity.
    """
    if data[:4] != _MAGIC:
        raise ValueError(
            f"A small model's file begins with {_MAGIC!r}, got {data[:4]!r}: this is another kind of file."
        )
    if len(data) < 12 or zlib.crc32(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
        raise ValueError(f"The {len(data)} bytes of a small model do not fit their checksum: damaged; copy it again.")
    reader = _Reader(data[:-4], max(most, 8 * len(data)))
    found: dict[str, Tensor | Quantised] = {}
    for _ in range(int(reader.numbers("<u4", 1)[0])):
        name, value = _read_entry(reader)
        _expect(name not in found, f"{name!r} is there twice")
        found[name] = value
    _expect(reader.is_at_end, "bytes are left at its end")
    return found


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(f"A small model's file is not one that fedmtl writes: {otherwise}; make it again.")


class _Reader:
    """A place in a file that moves on. Sizes are Python's numbers, which do not wrap, checked before they are used."""

    def __init__(self, data: bytes, most: int) -> None:
        self._data = data
        self._at = len(_MAGIC)
        self._most = most

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._data)

    def numbers(self, kind: str | np.dtype[Any], count: int) -> NDArray[Any]:
        length = np.dtype(kind).itemsize * count
        _expect(length <= len(self._data) - self._at, "it ends too early")
        found = np.frombuffer(self._data, kind, count, self._at)
        self._at += length
        return found

    def claim(self, count: int) -> None:
        """Numbers of memory that the file asks for."""
        self._most -= count
        _expect(self._most >= 0, "it has more numbers than a model may have")


def _read_entry(reader: _Reader) -> tuple[str, Tensor | Quantised]:
    int8, layout, dims, length = reader.numbers("u1", 4).tolist()
    _expect(int8 < len(_TYPES) and layout <= _INDEX and int8 <= dims <= _MOST_DIMS, "an unknown kind of entry")
    try:
        name = reader.numbers("u1", length).tobytes().decode()
    except UnicodeDecodeError:
        _expect(False, "a name is not UTF-8")
        raise
    shape = reader.numbers("<u4", dims).tolist()
    scales = torch.from_numpy(reader.numbers("<f4", shape[0]).astype(np.float32)) if int8 else None
    kind, n = _TYPES[int8], math.prod(shape)
    reader.claim(math.prod(max(1, side) for side in shape))
    if layout == _ALL:
        array = reader.numbers(kind, n)
    else:
        if layout == _BITMAP:
            places = np.flatnonzero(np.unpackbits(reader.numbers("u1", math.ceil(n / 8)), count=n))
        else:
            places = reader.numbers(_index_type(n), int(reader.numbers("<u4", 1)[0])).astype(np.int64)
            _expect(bool((np.diff(places) > 0).all() and (places < n).all()), "an index is out of order or range")
        values = reader.numbers(kind, len(places))
        array = np.zeros(n, kind)
        array[places] = values
    native = torch.from_numpy(_writable(array, np.int8 if int8 else np.float32).reshape(shape))
    for numbers in (native,) if scales is None else (scales,):
        _expect(bool(numbers.isfinite().all()), f"{name!r} holds NaN or infinity")
    return name, native if scales is None else Quantised(native, scales)


def _writable(array: NDArray[Any], kind: type) -> NDArray[Any]:
    """In the machine's byte order, and copied where it is a view of the file."""
    return array.astype(kind, copy=not array.flags.writeable)

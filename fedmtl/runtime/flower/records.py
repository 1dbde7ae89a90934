"""Records of Flower messages, read by name and type, so that no value of unchecked type is used."""

from typing import Any, TypeVar

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from numpy.typing import NDArray

from fedmtl.core.text import escaped
from fedmtl.protocol.rejections import Refused

PACKETS = "packets"
REQUESTS = "requests"
REPLIES = "replies"
TOTALS = "totals"
ROSTER = "roster"
PREPARATION = "preparation"
"""Names of the records."""

STYPE = "fedmtl.packets"
"""Name of the serialisation of packets: plain bytes."""

R = TypeVar("R", ArrayRecord, ConfigRecord)


def record(content: RecordDict, name: str, kind: type[R]) -> R:
    """Return the record of a name. Flower's own views of a kind build a dict of all records at each access.

    Raises:
        Refused: it is missing, or of another type.
    """
    found = content.get(name)
    if not isinstance(found, kind):
        got = "no such record" if found is None else type(found).__name__
        raise Refused("message", f"record {name!r} is a {kind.__name__}, got {got}")
    return found


def only(content: RecordDict, *allowed: str) -> None:
    """Refuse records that were not requested.

    Raises:
        Refused: a record of another name.
    """
    for name in content:
        if name not in allowed:
            raise Refused("unasked", f"record {escaped(name, 40)!r} was not requested, only {', '.join(allowed)}")


def value(config: ConfigRecord, key: str, kind: type[Any]) -> Any:
    """Return a value of exactly this type (True is no int).

    Raises:
        Refused: it is missing, or of another type.
    """
    found = config.get(key)
    if type(found) is not kind:
        got = "nothing" if found is None else type(found).__name__
        raise Refused("message", f"{key!r} is of type {kind.__name__}, got {got}")
    return found


def column(config: ConfigRecord, key: str, dtype: str, most: int | None = None) -> NDArray[Any]:
    """Read numbers that are sent as bytes, since Flower checks each item of a list, and there may be 100,000.

    Args:
        config: the record.
        key: of the column.
        dtype: of the numbers.
        most: rows that were requested; None for any number.

    Raises:
        Refused: it is missing, no whole number of rows, or longer than that.
    """
    data, width = value(config, key, bytes), np.dtype(dtype).itemsize
    if len(data) % width:
        raise Refused("message", f"{key!r} is a column of {dtype}, got {len(data)} bytes")
    if most is not None and len(data) // width > most:
        raise Refused("message", f"{key!r} has at most {most} rows, got {len(data) // width}")
    return np.frombuffer(data, dtype).astype(np.dtype(dtype).newbyteorder("="), copy=False)


def same_length(*columns: NDArray[Any]) -> None:
    """Refuse columns of unlike lengths.

    Raises:
        Refused: lengths differ.
    """
    if len({len(one) for one in columns}) > 1:
        raise Refused("message", f"columns of one message have one length, got {[len(one) for one in columns]}")


def packet_array(content: RecordDict) -> NDArray[np.uint8]:
    """Return the bytes of a message's packets, without a copy.

    Raises:
        Refused: the record holds anything but one array of bytes whose declared size is its real one.
    """
    arrays = record(content, PACKETS, ArrayRecord)
    array: Any = arrays.get(PACKETS)
    if len(arrays) != 1 or not isinstance(array, Array):
        raise Refused("message", f"record {PACKETS!r} holds one array of that name, got {len(arrays)} arrays")
    if array.dtype != "uint8" or not isinstance(array.data, (bytes, bytearray, memoryview)):
        raise Refused("message", f"packets are bytes, got an array of dtype {escaped(array.dtype, 40)!r}")
    size = array.data.nbytes if isinstance(array.data, memoryview) else len(array.data)
    if not isinstance(array.shape, (tuple, list)) or len(array.shape) != 1 or array.shape[0] != size:
        raise Refused("message", f"an array of {size} bytes of packets declares another shape")
    return np.frombuffer(array.data, np.uint8)


def lie_within(starts: NDArray[np.int64], lengths: NDArray[np.int64], size: int) -> bool:
    """Return True if all packets are within ``size`` bytes. No sum is formed, so none can overflow."""
    return not len(starts) or bool(
        starts.min() >= 0 and lengths.min() >= 0 and lengths.max() <= size and (starts <= size - lengths).all()
    )


def added(lengths: NDArray[np.int64], size: int) -> int:
    """Return the sum of lengths of packets, each of at most ``size`` bytes.

    Raises:
        Refused: a length below zero or above ``size``.
    """
    if not len(lengths):
        return 0
    if lengths.min() < 0 or lengths.max() > size:
        bad = lengths[(lengths < 0) | (lengths > size)][0]
        raise Refused("message", f"packets have lengths from 0 to the {size} received bytes, got {bad}")
    if size and len(lengths) > 2**62 // size:
        return sum(map(int, lengths.tolist()))
    return int(lengths.sum())

"""The header of a packet, by which the receiver refuses what it did not expect; written and read for a cohort at once.

A packet is, with little-endian numbers,

    checksum 4 | magic 2 | version 1 | kind 1 | spec and codec 8 | round 4 | num_examples 8 | body length 4 | body

32 bytes before the body. An upload has two float32 in the place of num_examples: that number, and the client's training
loss, NaN where none is sent. The checksum is the lower half of XXH3-64 over all that follows it: at 8 kB a packet,
CRC-32 as Python has it would take a fifth of the time in which a small model is trained.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from fedmtl.protocol.packets import HEADER_BYTES, KIND_NAMES, UP, PacketError, Packets

_HEADER = np.dtype(
    [
        ("checksum", "<u4"),
        ("magic", "V2"),
        ("version", "u1"),
        ("kind", "u1"),
        ("digest", "V8"),
        ("round", "<u4"),
        ("num_examples", "<f8"),
        ("length", "<u4"),
    ]
)
_UPLOAD = np.dtype([*_HEADER.descr[:6], ("num_examples", "<f4"), ("train_loss", "<f4"), _HEADER.descr[7]])
"""The header of an upload."""
_FIXED = np.r_[4:20, 28:32]
"""Bytes of the header that a receiver knows beforehand: all but the checksum and a client's numbers."""
_LOSS = np.r_[24:28]
"""Bytes of an upload with the training loss."""
_MAGIC = b"fm"
_VERSION = 3


def write_headers(
    packets: NDArray[np.uint8],
    kind: int,
    digest: bytes,
    round: int,
    num_examples: NDArray[Any] | float,
    train_loss: NDArray[np.float32] | float = math.nan,
) -> None:
    """Write the headers before K bodies, in place.

    Args:
        packets: [K, 32 + body], C-contiguous; the bodies are there already.
        num_examples: [K], or one number for all.
        train_loss: the same, of uploads.
    """
    header = packets[:, :HEADER_BYTES].view(_UPLOAD if kind == UP else _HEADER)[:, 0]
    header["magic"] = np.void(_MAGIC)
    header["version"] = _VERSION
    header["kind"] = kind
    header["digest"] = np.void(digest)
    header["round"] = round
    with np.errstate(over="ignore"):  # more examples than float32 holds are refused by the receiver
        header["num_examples"] = num_examples
    if kind == UP:
        header["train_loss"] = train_loss
    header["length"] = packets.shape[1] - HEADER_BYTES
    header["checksum"] = _checksums(packets)


def _checksums(packets: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """[K], of everything behind the checksum itself."""
    if packets.flags.c_contiguous:
        view, length = packets.reshape(-1).data, packets.shape[1]
        covered = [view[end - length + 4 : end] for end in range(length, packets.size + 1, length)]
    else:
        covered = [row[4:] for row in packets]
    return np.array(list(map(xxh3_64_intdigest, covered)), np.uint64).astype(np.uint32)


def make_packet(
    kind: int, digest: bytes, round: int, num_examples: float, body: bytes, train_loss: float = math.nan
) -> bytes:
    """A packet around a body."""
    packet = np.empty((1, HEADER_BYTES + len(body)), np.uint8)
    packet[0, HEADER_BYTES:] = np.frombuffer(body, np.uint8)
    write_headers(packet, kind, digest, round, num_examples, train_loss)
    return packet.tobytes()


def read_packet(packet: bytes, kind: int, digest: bytes, round: int) -> tuple[float, memoryview]:
    """Read the number of examples and the body, after every check that needs no decoding.

    Raises:
        PacketError: it names the check that failed: length, magic, version, checksum, kind, spec and codec, round.
    """
    what = KIND_NAMES[kind]
    if len(packet) < HEADER_BYTES:
        raise PacketError(
            f"The {what} packet needs at least {HEADER_BYTES} bytes, got {len(packet)}: truncated; send it again."
        )
    row = np.frombuffer(packet, np.uint8)[None]
    header = row[:, :HEADER_BYTES].view(_HEADER)[0, 0]
    if header["magic"].tobytes() != _MAGIC or header["version"] != _VERSION:
        raise PacketError(
            f"A packet has {_MAGIC!r} and version {_VERSION} behind its checksum, got {header['magic'].tobytes()!r} "
            f"and {header['version']}; both sides need the same version of fedmtl."
        )
    if len(packet) != HEADER_BYTES + int(header["length"]):
        raise PacketError(
            f"The {what} packet announces {HEADER_BYTES + int(header['length'])} bytes, got {len(packet)}: truncated "
            "or overlong; send it again."
        )
    if _checksums(row)[0] != header["checksum"]:
        raise PacketError(
            f"The {what} packet's checksum does not fit its {len(packet)} bytes: corrupted; send it again."
        )
    if header["kind"] != kind:
        found = int(header["kind"])
        raise PacketError(f"Expected a {what} packet, got kind {found} ({KIND_NAMES.get(found, 'unknown')}).")
    if header["digest"].tobytes() != digest:
        raise PacketError(
            f"The {what} packet was made for model, algorithm and codec {header['digest'].tobytes().hex()}, this side "
            f"has {digest.hex()}; give both sides the same experiment."
        )
    if header["round"] != round:
        raise PacketError(f"Expected a {what} packet of round {round}, got one of round {header['round']}; drop it.")
    if kind == UP:
        header = row[:, :HEADER_BYTES].view(_UPLOAD)[0, 0]
    return float(header["num_examples"]), memoryview(packet)[HEADER_BYTES:]


def train_losses(packets: Packets) -> NDArray[np.float32]:
    """Read the training loss in the header of each of K uploads that have been read, [K]; NaN for none."""
    return packets.data[packets.starts[:, None] + _LOSS].view("<f4")[:, 0].astype(np.float32)


def read_packets(
    packets: Packets, kind: int, digest: bytes, round: int, on_error: Callable[[int, PacketError], None]
) -> tuple[NDArray[np.int64], NDArray[np.float64], list[memoryview] | NDArray[np.uint8]]:
    """Read K packets at once, each as ``read_packet`` does.

    Args:
        on_error: called with the row and the error of each packet that is refused.

    Returns:
        The rows that are good, their numbers of examples, and their bodies: [good, body] when all packets have one
        length, else a list.
    """
    matrix = packets.matrix()
    if matrix is None or matrix.shape[1] < HEADER_BYTES:
        return _read_each(packets, kind, digest, round, on_error)
    wanted = np.empty((1, HEADER_BYTES), np.uint8)
    header = matrix[:, :HEADER_BYTES]
    write_headers(wanted, kind, digest, round, 0.0)
    wanted.view(_HEADER)["length"] = matrix.shape[1] - HEADER_BYTES
    fits = (header[:, _FIXED] == wanted[0, _FIXED]).all(axis=1)
    fits &= _checksums(matrix) == np.ascontiguousarray(header[:, :4]).view("<u4")[:, 0]
    if not fits.all():
        for row in np.flatnonzero(~fits).tolist():
            try:
                read_packet(packets[row], kind, digest, round)
            except PacketError as error:
                on_error(row, error)
        good = np.flatnonzero(fits)
        matrix, header = matrix[good], header[good]
    else:
        good = np.arange(len(packets))
    fields = np.ascontiguousarray(header).view(_UPLOAD if kind == UP else _HEADER)[:, 0]
    num_examples = fields["num_examples"].astype(np.float64)
    return good, num_examples, matrix[:, HEADER_BYTES:]


def _read_each(
    packets: Packets, kind: int, digest: bytes, round: int, on_error: Callable[[int, PacketError], None]
) -> tuple[NDArray[np.int64], NDArray[np.float64], list[memoryview]]:
    good, num_examples, bodies = [], [], []
    for row in range(len(packets)):
        try:
            count, body = read_packet(packets[row], kind, digest, round)
        except PacketError as error:
            on_error(row, error)
        else:
            good.append(row)
            num_examples.append(count)
            bodies.append(body)
    return np.array(good, np.int64), np.array(num_examples, np.float64), bodies

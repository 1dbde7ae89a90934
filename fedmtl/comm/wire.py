"""Payload <-> packet: the bytes that travel, in a simulation as on a device.

Names and shapes are not sent: both sides derive the same ``Spec`` from the experiment, and the header
carries its hash. A packet is

    magic 2 | version 1 | kind 1 | spec and codec 8 | round 4 | num_examples 8 | body length 4 | CRC-32 4 | body

with little-endian numbers, 32 bytes before the body, the CRC over everything but itself. The body is what
the codec makes of all arrays, flattened and joined in the order of the Spec, as one float32 vector.
An empty payload is an empty packet: nothing to say costs nothing.
"""

import struct
import zlib
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fedmtl.codecs.base import Codec
from fedmtl.types import Payload

_HEAD = struct.Struct("<2sBB8sIdI")
_CRC = struct.Struct("<I")
_MAGIC = b"fm"
_VERSION = 1
HEADER_BYTES = _HEAD.size + _CRC.size

DOWN, UP, REPORT, DATA = 1, 2, 3, 4
"""Kinds of packet: a broadcast, an upload, sums of metrics, raw examples (central algorithms only)."""

KIND_NAMES = {DOWN: "broadcast", UP: "upload", REPORT: "report", DATA: "raw data"}


class PacketError(ValueError):
    """Bytes that are not the packet that was expected: truncated, corrupted, or of another experiment."""


class Entry(NamedTuple):
    """One array of a payload."""

    record: str
    name: str
    shape: tuple[int, ...]


class Spec(tuple[Entry, ...]):
    """What a payload holds, in order: agreed by both sides before the first packet."""

    @property
    def size(self) -> int:
        """How many numbers the payload holds."""
        return sum(int(np.prod(entry.shape)) for entry in self)

    def digest(self, codec: Codec[Any]) -> bytes:
        """8 bytes that differ when the other side has another model, algorithm or codec."""
        return blake2b(repr((tuple(self), repr(codec))).encode(), digest_size=8).digest()


def spec_of(payload: Payload) -> Spec:
    """The Spec of a payload.

    Raises:
        ValueError: an array that is not float32.
    """
    entries = []
    for record in sorted(payload):
        for name, value in sorted(payload[record].items()):
            if not isinstance(value, Tensor) or value.dtype != torch.float32:
                raise ValueError(
                    f"Payloads hold float32 tensors, but {record!r}/{name!r} is "
                    f"{getattr(value, 'dtype', type(value).__name__)}; convert it in the algorithm."
                )
            entries.append(Entry(record, name, tuple(value.shape)))
    return Spec(entries)


def _flatten(payload: Payload, spec: Spec) -> np.ndarray:
    parts = [payload[entry.record][entry.name].detach().cpu().numpy().reshape(-1) for entry in spec]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _reference(payload: Payload, spec: Spec) -> np.ndarray:
    """What the receiver of ``spec`` already holds, as a vector: zero where it holds nothing of that name and shape."""
    parts = []
    for entry in spec:
        value = payload.get(entry.record, {}).get(entry.name)
        if value is not None and tuple(value.shape) == entry.shape:
            parts.append(value.detach().cpu().numpy().reshape(-1))
        else:
            parts.append(np.zeros(int(np.prod(entry.shape)), np.float32))
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def seal(kind: int, digest: bytes, round: int, num_examples: float, body: bytes) -> bytes:
    """A packet around a body."""
    head = _HEAD.pack(_MAGIC, _VERSION, kind, digest, round, num_examples, len(body))
    return head + _CRC.pack(zlib.crc32(body, zlib.crc32(head))) + body


def open_packet(packet: bytes, kind: int, digest: bytes, round: int) -> tuple[float, memoryview]:
    """The number of examples and the body, after every check that needs no decoding.

    Raises:
        PacketError: it says which of these failed: length, magic, version, CRC, kind, spec and codec, round.
    """
    what = KIND_NAMES[kind]
    if len(packet) < HEADER_BYTES:
        raise PacketError(
            f"The {what} packet needs at least {HEADER_BYTES} bytes, got {len(packet)}: truncated; send it again."
        )
    magic, version, got_kind, got_digest, got_round, num_examples, length = _HEAD.unpack_from(packet)
    if magic != _MAGIC or version != _VERSION:
        raise PacketError(
            f"A packet starts with {_MAGIC!r} and version {_VERSION}, got {magic!r} and {version}; "
            "both sides need the same version of fedmtl."
        )
    if len(packet) != HEADER_BYTES + length:
        raise PacketError(
            f"The {what} packet announces {HEADER_BYTES + length} bytes, got {len(packet)}: truncated or overlong; "
            "send it again."
        )
    body = memoryview(packet)[HEADER_BYTES:]
    (crc,) = _CRC.unpack_from(packet, _HEAD.size)
    if zlib.crc32(body, zlib.crc32(packet[: _HEAD.size])) != crc:
        raise PacketError(
            f"The {what} packet's checksum does not fit its {len(packet)} bytes: corrupted; send it again."
        )
    if got_kind != kind:
        raise PacketError(f"Expected a {what} packet, got kind {got_kind} ({KIND_NAMES.get(got_kind, 'unknown')}).")
    if got_digest != digest:
        raise PacketError(
            f"The {what} packet was made for model, algorithm and codec {got_digest.hex()}, this side has "
            f"{digest.hex()}; give both sides the same experiment."
        )
    if got_round != round:
        raise PacketError(f"Expected a {what} packet of round {round}, got one of round {got_round}; drop it.")
    return num_examples, body


def check_payload(payload: Payload, spec: Spec, kind: int) -> None:
    """Refuse a payload that is not what the other side expects: a mistake of the algorithm, not of the data.

    Raises:
        ValueError: it says what is missing and what is too much.
    """
    found = spec_of(payload)
    if found != spec:
        missing, surplus = (
            [f"{e.record}/{e.name} {e.shape}" for e in one if e not in other]
            for one, other in ((spec, found), (found, spec))
        )
        raise ValueError(
            f"The {KIND_NAMES[kind]} should hold {missing} and not {surplus}: an algorithm's payload has the same "
            "names and shapes in every round."
        )


def pack(
    payload: Payload,
    spec: Spec,
    codec: Codec[Any],
    state: Any,
    rng: np.random.Generator,
    *,
    kind: int,
    round: int,
    num_examples: float = 0.0,
    reference: Payload | None = None,
) -> tuple[bytes, Any]:
    """The packet of a payload, and the codec's next state.

    Args:
        payload: arrays, float32.
        spec: what the other side expects; must be the payload's.
        codec, state, rng: how numbers become bytes. The state stays here.
        kind, round, num_examples: of the header. A broadcast has no number of examples and says 0.
        reference: what both sides hold already. Where it has a record and name of the payload, with the same
            shape, the difference is coded; an ``exact`` codec codes the value itself, which loses nothing.

    Raises:
        ValueError: the payload is not what the spec says, or the codec refuses its numbers.
    """
    check_payload(payload, spec, kind)
    if not spec:
        return b"", state
    vector = _flatten(payload, spec)
    if reference and not getattr(codec, "exact", False):
        vector = vector - _reference(reference, spec)
    body, state = codec.encode(vector, state, rng)
    return seal(kind, spec.digest(codec), round, num_examples, body), state


def unpack(
    packet: bytes, spec: Spec, codec: Codec[Any], *, kind: int, round: int, reference: Payload | None = None
) -> tuple[Payload, float]:
    """The payload of a packet, and its number of examples.

    Raises:
        PacketError: the packet is not one of this kind, round, spec and codec, or is damaged.
    """
    if not spec:
        if packet:
            raise PacketError(
                f"Expected an empty {KIND_NAMES[kind]}, got {len(packet)} bytes; both sides need the same algorithm."
            )
        return {}, 1.0
    num_examples, body = open_packet(packet, kind, spec.digest(codec), round)
    try:
        vector = np.asarray(codec.decode(bytes(body), spec.size), dtype=np.float32)
    except ValueError as error:
        raise PacketError(f"The {KIND_NAMES[kind]} packet's body cannot be decoded: {error}") from None
    if vector.shape != (spec.size,):
        raise PacketError(f"{codec!r} decoded {vector.shape} numbers where ({spec.size},) were expected.")
    if reference and not getattr(codec, "exact", False):
        vector = vector + _reference(reference, spec)
    if not np.isfinite(vector).all():
        raise PacketError(
            f"The {KIND_NAMES[kind]} holds {int((~np.isfinite(vector)).sum())} numbers that are not finite."
        )
    if kind == UP and not 0 < num_examples < float("inf"):
        raise PacketError(f"An upload's number of examples is positive and finite, got {num_examples}.")
    payload: dict[str, dict[str, Tensor]] = {}
    offset = 0
    for entry in spec:
        count = int(np.prod(entry.shape))
        part = torch.from_numpy(vector[offset : offset + count].copy()).reshape(entry.shape)
        payload.setdefault(entry.record, {})[entry.name] = part
        offset += count
    return payload, num_examples

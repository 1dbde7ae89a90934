"""Payload <-> packet: the bytes that travel, in a simulation as on a device.

Names and shapes are not sent: both sides derive the same ``Spec`` from the experiment, and the packet's header
carries its hash. The body is what the codec makes of all arrays, flattened and joined in the order of the Spec, as
one float32 vector. An empty payload is an empty packet: nothing to say costs nothing.

A node packs, and the server unpacks, the packets of a cohort at once, as a matrix with a row a client; one packet is
a cohort of one, so there is one way in which bytes are made.
"""

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.codecs.base import Codec
from fedmtl.core.trees import tree_index, tree_leaves, tree_map, tree_stack
from fedmtl.core.types import Payload
from fedmtl.protocol.packets import (
    HEADER_BYTES,
    KIND_NAMES,
    UP,
    PacketError,
    Packets,
    concat,
    from_matrix,
    make_packet,
    read_packets,
    train_losses,
    write_headers,
)
from fedmtl.protocol.spec import Spec, check_payload


class Packed(NamedTuple):
    """The packets of the clients whose numbers the codec took."""

    rows: NDArray[np.int64]
    """Which of the K rows, [P], ascending."""
    packets: Packets
    """P packets."""
    states: Any
    """The codec's next states, a tree of arrays [P, …]."""
    vectors: NDArray[np.float32] | None = None
    """What the receiver will unpack, [P, size], where that is known already: the codec is exact."""


class PacketBuffer:
    """Memory for K vectors, with space for a header before each.

    A codec that codes numbers as they are then copies nothing, and neither does who writes them there at once.
    """

    def __init__(self, count: int, spec: Spec) -> None:
        self._count = count
        self._spec = spec
        self._places: list[Tensor] = []

    @cached_property
    def array(self) -> NDArray[np.float32]:
        """[K, header + size], taken when it is first asked for."""
        return np.empty((self._count, HEADER_BYTES // 4 + self._spec.size), np.float32)

    def payload_views(self) -> list[Tensor]:
        """Where the arrays [K, …] of a payload go, in the order of its leaves."""
        self._places = tree_leaves(payload_of(self.array[:, HEADER_BYTES // 4 :], self._spec))
        return self._places

    def contains(self, payload: Payload) -> bool:
        """Whether the payload's arrays are in their places."""
        found = [payload[entry.record][entry.name] for entry in self._spec]
        return len(self._places) == len(found) and all(
            (one.data_ptr(), one.shape, one.stride()) == (place.data_ptr(), place.shape, place.stride())
            for one, place in zip(found, self._places, strict=True)
        )


def pack_payloads(
    payload: Payload,
    spec: Spec,
    codec: Codec[Any],
    states: Any,
    rng_for: Callable[[int], np.random.Generator],
    *,
    kind: int,
    round: int,
    num_examples: NDArray[np.float64],
    train_loss: NDArray[np.float32] | None = None,
    references: Sequence[Payload] = (),
    broadcast_index: NDArray[np.int64] | None = None,
    buffer: PacketBuffer | None = None,
    finite: bool = False,
    on_error: Callable[[int, ValueError], None],
) -> Packed:
    """The packets of K clients.

    Args:
        payload: arrays [K, …], float32; ``check_payload`` has looked at one row.
        spec: what the other side expects of one client.
        states: the codec's states, a tree of arrays [K, …]; they stay here.
        rng_for: row -> a new generator for that client.
        kind, round, num_examples, train_loss: of the header, the last two [K]; None: uploads hold no training loss.
        references, which: what both sides hold already, and [K] which of these a client has (the only one when
            None). Where it has a record and name of the payload, with the same shape, the difference is coded; an
            ``lossless`` codec codes the value itself, which loses nothing.
        room: where the payload may be already; it becomes the packets.
        finite: whether the caller has looked for NaN and infinity, and found none.
        problem: told of the row and the error of each client whose numbers the codec refuses.
    """
    count = len(num_examples)
    losses = np.full(count, np.nan, np.float32) if train_loss is None else train_loss
    if not spec:
        return Packed(np.arange(count), concat([b""] * count), states)
    if buffer is None or not buffer.contains(payload):
        buffer = PacketBuffer(count, spec)
        _flatten(payload, spec, buffer.array[:, HEADER_BYTES // 4 :])
    space = buffer.array
    vectors = space[:, HEADER_BYTES // 4 :]
    exact = codec.traits.lossless
    if references and not exact:
        vectors -= _references(references, broadcast_index, spec)
        finite = False
    digest = spec.digest(codec)
    rowwise: Any = codec
    if codec.traits.codes_rows and (finite or np.isfinite(vectors).all()):
        try:
            bodies = rowwise.encode_rows(vectors, rng_for)
        except ValueError:
            pass  # some row is at fault; one by one shows which
        else:
            packets = space.view(np.uint8)
            if not np.may_share_memory(bodies, space):
                packets = np.empty((count, HEADER_BYTES + bodies.shape[1]), np.uint8)
                packets[:, HEADER_BYTES:] = bodies
            write_headers(packets, kind, digest, round, num_examples, losses)
            return Packed(np.arange(count), from_matrix(packets), states, vectors if exact else None)
    rows, packed, next_states = [], [], []
    for k in range(count):
        try:
            data, state = codec.encode(vectors[k], tree_index(states, k), rng_for(k))
        except ValueError as error:
            on_error(k, error)
        else:
            rows.append(k)
            packed.append(make_packet(kind, digest, round, float(num_examples[k]), data, float(losses[k])))
            next_states.append(state)
    kept = tree_stack(next_states) if rows else tree_map(lambda leaf: leaf[:0], states)
    return Packed(np.array(rows, np.int64), concat(packed), kept)


def pack_payload(
    payload: Payload,
    spec: Spec,
    codec: Codec[Any],
    state: Any,
    rng: np.random.Generator,
    *,
    kind: int,
    round: int,
    num_examples: float = 0.0,
    train_loss: float = math.nan,
    reference: Payload | None = None,
) -> tuple[bytes, Any]:
    """The packet of one payload, and the codec's next state; a broadcast has no number of examples and says 0.

    Raises:
        ValueError: the payload is not what the spec says, or the codec refuses its numbers.
    """
    check_payload(payload, spec, kind)
    packed = pack_payloads(
        {record: {name: value[None] for name, value in params.items()} for record, params in payload.items()},
        spec,
        codec,
        tree_stack([state]),
        lambda _: rng,
        kind=kind,
        round=round,
        num_examples=np.array([num_examples]),
        train_loss=np.array([train_loss], np.float32),
        references=[reference] if reference else (),
        on_error=_raise,
    )
    return packed.packets[0], tree_index(packed.states, 0)


class Unpacked(NamedTuple):
    """What is in the packets that are good."""

    rows: NDArray[np.int64]
    """Which of the K packets, [P], ascending."""
    num_examples: NDArray[np.float64]
    """[P]."""
    vectors: NDArray[np.float32]
    """The payloads' numbers in the order of the Spec, [P, size]."""
    train_loss: NDArray[np.float32]
    """Of uploads, [P]; NaN where there is none. It may be any number: none is computed with."""

    def select(self, rows: NDArray[np.int64]) -> "Unpacked":
        """Some of them."""
        return Unpacked(self.rows[rows], self.num_examples[rows], self.vectors[rows], self.train_loss[rows])


def unpack_payloads(
    packets: Packets,
    spec: Spec,
    codec: Codec[Any],
    *,
    kind: int,
    round: int,
    references: Sequence[Payload] = (),
    broadcast_index: NDArray[np.int64] | None = None,
    on_error: Callable[[int, PacketError], None],
) -> Unpacked:
    """The payloads of K packets.

    Args:
        references, broadcast_index: as in ``pack_payloads``.
        problem: told of the row and the error of each packet that is not of this kind, round, spec and codec, or is
            damaged.
    """
    if not spec:
        empty = packets.lengths == 0
        for k in np.flatnonzero(~empty).tolist():
            what = f"Expected an empty {KIND_NAMES[kind]}, got {packets.lengths[k]} bytes"
            on_error(k, PacketError(f"{what}; both sides need the same algorithm."))
        rows = np.flatnonzero(empty)
        nothing = np.empty((len(rows), 0), np.float32)
        return Unpacked(rows, np.ones(len(rows)), nothing, np.full(len(rows), np.nan, np.float32))
    rows, num_examples, bodies = read_packets(packets, kind, spec.digest(codec), round, on_error)
    decoded, vectors = _decode(bodies, spec.size, codec, lambda k, e: on_error(int(rows[k]), _cannot_decode(kind, e)))
    rows, num_examples = rows[decoded], num_examples[decoded]
    if references and not codec.traits.lossless:
        vectors = vectors + _references(references, None if broadcast_index is None else broadcast_index[rows], spec)
    good = np.ones(len(rows), bool)
    if not np.isfinite(vectors).all():
        bad = (~np.isfinite(vectors)).sum(axis=1)
        for k in np.flatnonzero(bad).tolist():
            what = f"The {KIND_NAMES[kind]} holds {bad[k]} numbers that are not finite."
            on_error(int(rows[k]), PacketError(what, "values"))
        good = bad == 0
    if kind == UP:
        weighs = (num_examples > 0) & (num_examples < np.inf)
        for k in np.flatnonzero(good & ~weighs).tolist():
            rule = "An upload's number of examples is positive and finite"
            on_error(int(rows[k]), PacketError(f"{rule}, got {num_examples[k]}.", "weight"))
        good &= weighs
    losses = train_losses(packets.select(rows)) if kind == UP else np.full(len(rows), np.nan, np.float32)
    unpacked = Unpacked(rows, num_examples, vectors, losses)
    return unpacked if good.all() else unpacked.select(np.flatnonzero(good))


def unpack_payload(
    packet: bytes, spec: Spec, codec: Codec[Any], *, kind: int, round: int, reference: Payload | None = None
) -> tuple[Payload, float]:
    """The payload of one packet, and its number of examples.

    Raises:
        PacketError: the packet is not one of this kind, round, spec and codec, or is damaged.
    """
    references = [reference] if reference else ()
    unpacked = unpack_payloads(
        concat([packet]), spec, codec, kind=kind, round=round, references=references, on_error=_raise
    )
    payload = payload_of(unpacked.vectors.copy(), spec)
    return tree_map(lambda leaf: leaf[0], payload), float(unpacked.num_examples[0])


def payload_of(vectors: NDArray[np.float32], spec: Spec) -> dict[str, dict[str, Tensor]]:
    """Vectors [K, size] as arrays [K, …], which share their memory."""
    payload: dict[str, dict[str, Tensor]] = {record: {} for record in spec.empty}
    numbers, offset = torch.from_numpy(vectors), 0
    for entry in spec:
        count = math.prod(entry.shape)
        part = numbers[:, offset : offset + count].reshape(len(vectors), *entry.shape)
        payload.setdefault(entry.record, {})[entry.name] = part
        offset += count
    return payload


def _flatten(payload: Payload, spec: Spec, out: NDArray[np.float32]) -> None:
    offset = 0
    for entry in spec:
        values = payload[entry.record][entry.name].detach().cpu().numpy()
        count = math.prod(entry.shape)
        out[:, offset : offset + count] = values.reshape(len(out), count)
        offset += count


def reference_vectors(payloads: Sequence[Payload], spec: Spec) -> NDArray[np.float32]:
    """The numbers of some payloads in the order of ``spec``, 0 where they have no such name and shape. [M, size]"""
    found = np.zeros((len(payloads), spec.size), np.float32)
    for vector, payload in zip(found, payloads, strict=True):
        offset = 0
        for entry in spec:
            count = math.prod(entry.shape)
            value = payload.get(entry.record, {}).get(entry.name)
            if value is not None and tuple(value.shape) == entry.shape:
                vector[offset : offset + count] = value.detach().cpu().numpy().reshape(-1)
            offset += count
    return found


def _references(
    payloads: Sequence[Payload], broadcast_index: NDArray[np.int64] | None, spec: Spec
) -> NDArray[np.float32]:
    """The numbers that the receivers of ``spec`` hold already, [1 or K, size]."""
    found = reference_vectors(payloads, spec)
    return found if broadcast_index is None or len(found) == 1 else found[broadcast_index]


def _decode(
    bodies: Any, size: int, codec: Codec[Any], on_error: Callable[[int, ValueError], None]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows that can be decoded, and their vectors [P, size]."""
    rowwise: Any = codec
    if codec.traits.codes_rows and isinstance(bodies, np.ndarray):
        try:
            return np.arange(len(bodies)), rowwise.decode_rows(bodies, size)
        except ValueError:
            pass  # some row is at fault; one by one shows which
    rows, vectors = [], np.empty((len(bodies), size), np.float32)
    for k, body in enumerate(bodies):
        try:
            vector = np.asarray(codec.decode(bytes(body), size), dtype=np.float32)
            if vector.shape != (size,):
                raise ValueError(f"{codec!r} decoded {vector.shape} numbers where ({size},) were expected.")
        except ValueError as error:
            on_error(k, error)
        else:
            vectors[len(rows)] = vector
            rows.append(k)
    return np.array(rows, np.int64), vectors[: len(rows)]


def _cannot_decode(kind: int, error: ValueError) -> PacketError:
    return PacketError(f"The {KIND_NAMES[kind]} packet's body cannot be decoded: {error}")


def _raise(_: int, error: ValueError) -> None:
    raise error

"""Payloads <-> packets: the bytes that travel, in a simulation as on a device.

Names and shapes are not sent: both sides derive the same ``Spec`` from the experiment, and the packet's header has its
hash. The body is the codec's code of all arrays, flattened and joined in the order of the Spec to one float32 vector.
An empty payload is an empty packet. What is unpacked is checked before its numbers are used.

A node packs, and the server unpacks, the packets of a cohort at once, as a matrix with a row a client; one packet is
a cohort of one, so bytes are made in one way.
"""

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.core.trees import tree_leaves
from fedmtl.core.types import Payload
from fedmtl.protocol.header import make_packet, read_packets, train_losses, write_headers
from fedmtl.protocol.link import Link
from fedmtl.protocol.memories import Memories, as_tail, starting_memories
from fedmtl.protocol.packets import HEADER_BYTES, KIND_NAMES, UP, PacketError, Packets, concat, from_matrix


class Packed(NamedTuple):
    """The packets of the clients whose numbers the codec took."""

    rows: NDArray[np.int64]
    """Their rows among the K, [P], ascending."""
    packets: Packets
    """P packets."""
    states: Any
    """The codec's next states, a tree of arrays [P, …]."""
    vectors: NDArray[np.float32] | None = None
    """The vectors that the receiver will unpack, [P, size]; None where the codec is not lossless."""


class PacketBuffer:
    """Memory for K vectors, with space for a header before each and the link's tail behind it.

    A codec that codes numbers as they are then copies nothing, and neither does code that writes them there at once.
    """

    def __init__(self, count: int, link: Link) -> None:
        self._count = count
        self._link = link
        self._places: list[Tensor] = []

    @cached_property
    def array(self) -> NDArray[np.float32]:
        """[K, header + size + tail], taken when it is first asked for."""
        return np.empty((self._count, HEADER_BYTES // 4 + self._link.spec.size + self._link.tail), np.float32)

    @property
    def vectors(self) -> NDArray[np.float32]:
        """[K, size], in that memory."""
        return self.array[:, HEADER_BYTES // 4 :][:, : self._link.spec.size]

    def payload_views(self) -> list[Tensor]:
        """Return the memory of the arrays [K, …] of a payload, in the order of its leaves."""
        self._places = tree_leaves(self._link.arrays(torch.from_numpy(self.vectors)))
        return self._places

    def contains(self, payload: Payload) -> bool:
        """Return True where the payload's arrays are in this memory."""
        found = [payload[entry.record][entry.name] for entry in self._link.spec]
        return len(self._places) == len(found) and all(
            (one.data_ptr(), one.shape, one.stride()) == (place.data_ptr(), place.shape, place.stride())
            for one, place in zip(found, self._places, strict=True)
        )


def pack_payloads(
    payload: Payload,
    link: Link,
    states: Any,
    rng_for: Callable[[int], np.random.Generator],
    *,
    kind: int,
    round: int,
    num_examples: NDArray[np.float64],
    train_loss: NDArray[np.float32] | None = None,
    metrics: NDArray[np.float32] | None = None,
    bases: NDArray[np.int64] | None = None,
    references: Sequence[Payload] = (),
    broadcast_index: NDArray[np.int64] | None = None,
    buffer: PacketBuffer | None = None,
    finite: bool = False,
    on_error: Callable[[int, ValueError], None],
) -> Packed:
    """Pack the payloads of K clients.

    Args:
        payload: arrays [K, …], float32; ``check_payload`` has looked at one row.
        link: spec and codec of these payloads, as the other side has them.
        states: the codec's states, a tree of arrays [K, …]; they stay here.
        rng_for: row -> a new generator for that client.
        kind, round, num_examples, train_loss: of the header, the last two [K]; None: uploads hold no training loss.
        metrics: those that the link names, [K, M]; None where it names none.
        bases: versions of the memories that the states are, [K], where the link ``remembers``; None: they are first
            ones.
        references, broadcast_index: what both sides hold already, and [K] index of the one that a client has (the
            only one when None), see ``link``.
        buffer: memory in which the payload may be already; it becomes the packets.
        finite: True where the caller has checked that no number is NaN or infinite.
        on_error: called with the row and the error of each client whose numbers the codec refuses.
    """
    count = len(num_examples)
    losses = np.full(count, np.nan, np.float32) if train_loss is None else train_loss
    if not link.spec:
        return Packed(np.arange(count), concat([b""] * count), states)
    tail = np.zeros((count, 0), "<f4") if metrics is None else np.ascontiguousarray(metrics, "<f4")
    if tail.shape[1] != len(link.metrics):
        raise ValueError(f"Uploads hold the metrics {link.metrics}, got {tail.shape[1]} numbers of each client.")
    if link.remembers:
        tail = np.hstack([tail, as_tail(np.zeros(count, np.int64) if bases is None else bases)])
    if buffer is None or not buffer.contains(payload):
        buffer = PacketBuffer(count, link)
        flat = (
            payload[record][name].detach().cpu().numpy().reshape(count, math.prod(shape))
            for record, name, shape in link.spec
        )
        np.concatenate(list(flat), axis=1, out=buffer.vectors)
    space, vectors = buffer.array, buffer.vectors
    base = link.references(references, broadcast_index)
    rows, bodies, states = link.encode(vectors, states, rng_for, base, finite, on_error)
    if isinstance(bodies, np.ndarray):
        packets = space.view(np.uint8)
        if not np.may_share_memory(bodies, space):
            packets = np.empty((count, HEADER_BYTES + bodies.shape[1] + 4 * tail.shape[1]), np.uint8)
            packets[:, HEADER_BYTES : HEADER_BYTES + bodies.shape[1]] = bodies
        if tail.shape[1]:
            packets[:, -4 * tail.shape[1] :] = tail.view(np.uint8)
        write_headers(packets, kind, link.digest, round, num_examples, losses)
        return Packed(rows, from_matrix(packets), states, vectors if link.sends_values else None)
    numbers = zip(rows.tolist(), bodies, strict=True)
    packed = [
        make_packet(kind, link.digest, round, float(num_examples[k]), bytes(body) + tail[k].tobytes(), float(losses[k]))
        for k, body in numbers
    ]
    return Packed(rows, concat(packed), states)


class Unpacked(NamedTuple):
    """The contents of the packets that are good."""

    rows: NDArray[np.int64]
    """Their rows among the K packets, [P], ascending."""
    num_examples: NDArray[np.float64]
    """[P]."""
    vectors: NDArray[np.float32]
    """The payloads' numbers in the order of the Spec, [P, size]."""
    train_loss: NDArray[np.float32]
    """Training losses of uploads, [P], unchecked; NaN where there is none."""
    metrics: NDArray[np.float32]
    """The numbers that the link names, [P, M], unchecked."""
    memories: NDArray[np.float32] | None = None
    """The receiver's next memories, [P, size], where it has been given some."""

    def select(self, rows: NDArray[np.int64]) -> "Unpacked":
        """Select the contents of some packets."""
        memories = None if self.memories is None else self.memories[rows]
        vectors, losses = self.vectors[rows], self.train_loss[rows]
        return Unpacked(self.rows[rows], self.num_examples[rows], vectors, losses, self.metrics[rows], memories)


def unpack_payloads(
    packets: Packets,
    link: Link,
    *,
    kind: int,
    round: int,
    references: Sequence[Payload] = (),
    broadcast_index: NDArray[np.int64] | None = None,
    memories: Memories | None = None,
    on_error: Callable[[int, PacketError], None],
) -> Unpacked:
    """Unpack the payloads of K packets.

    Args:
        references, broadcast_index: as in ``pack_payloads``.
        memories: the receiver's of the K senders, where the link ``remembers``; None: each packet is a first one.
        on_error: called with the row and the error of each packet that is damaged, or of another kind, round, spec or
            codec.
    """
    if not link.spec:
        empty = packets.lengths == 0
        for k in np.flatnonzero(~empty).tolist():
            what = f"Expected an empty {KIND_NAMES[kind]}, got {packets.lengths[k]} bytes"
            on_error(k, PacketError(f"{what}; both sides need the same algorithm."))
        rows = np.flatnonzero(empty)
        nothing = np.empty((len(rows), 0), np.float32)
        return Unpacked(rows, np.ones(len(rows)), nothing, np.full(len(rows), np.nan, np.float32), nothing)
    rows, num_examples, bodies = read_packets(packets, kind, link.digest, round, on_error)
    bodies, metrics = _parted(bodies, link.tail)
    after = None
    if link.remembers:
        metrics, versions = metrics[:, :-1], metrics[:, -1]
        if memories is not None:
            of_rows = Memories(memories.versions[rows], memories.numbers[rows])
            known, after = starting_memories(versions, of_rows, lambda k, error, of=rows: on_error(int(of[k]), error))
            rows, num_examples, metrics = rows[known], num_examples[known], metrics[known]
            bodies = bodies[known] if isinstance(bodies, np.ndarray) else [bodies[k] for k in known.tolist()]
    index = None if broadcast_index is None else broadcast_index[rows]
    decoded, vectors = link.decode(
        bodies, references, index, lambda k, error: on_error(int(rows[k]), _cannot_decode(kind, error)), after
    )
    after = None if after is None else after[decoded]
    rows, num_examples, metrics = rows[decoded], num_examples[decoded], metrics[decoded]
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
    unpacked = Unpacked(rows, num_examples, vectors, losses, metrics, after)
    return unpacked if good.all() else unpacked.select(np.flatnonzero(good))


def _parted(bodies: Any, count: int) -> tuple[Any, NDArray[np.float32]]:
    """Return the bodies without the metrics behind them, and these, [P, count]; of a body too short for them, NaN."""
    if not count:
        return bodies, np.zeros((len(bodies), 0), np.float32)
    size = 4 * count
    if isinstance(bodies, np.ndarray) and bodies.shape[1] >= size:
        return bodies[:, :-size], np.ascontiguousarray(bodies[:, -size:]).view("<f4").astype(np.float32)
    found = [np.frombuffer(body, "<f4", count, len(body) - size) if len(body) >= size else [np.nan] for body in bodies]
    numbers = np.array([np.resize(one, count) for one in found], np.float32)
    return [body[:-size] for body in bodies], numbers.reshape(-1, count)


def _cannot_decode(kind: int, error: ValueError) -> PacketError:
    return PacketError(f"The {KIND_NAMES[kind]} packet's body cannot be decoded: {error}")


def raise_error(_: int, error: ValueError) -> None:
    """Raise the error of the first row that has one, where no row may have one."""
    raise error

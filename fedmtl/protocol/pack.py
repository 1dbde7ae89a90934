"""Payloads -> packets: the bytes that travel, in a simulation as on a device.

Names and shapes are not sent: both sides derive the same ``Spec`` from the experiment, and the packet's header has its
hash. The body is the codec's code of all arrays, flattened and joined in the order of the Spec to one float32 vector.
An empty payload is an empty packet.

A node packs, and the server unpacks, the packets of a cohort at once, as a matrix with a row a client; one packet is
a cohort of one, so bytes are made in one way.
"""

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.core.trees import tree_index, tree_leaves, tree_stack
from fedmtl.core.types import Payload
from fedmtl.protocol.header import make_packet, write_headers
from fedmtl.protocol.link import Link
from fedmtl.protocol.packets import HEADER_BYTES, Packets, concat, from_matrix
from fedmtl.protocol.spec import Spec, check_payload, flatten, payload_of


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
    """Memory for K vectors, with space for a header before each and metrics behind it.

    A codec that codes numbers as they are then copies nothing, and neither does code that writes them there at once.
    """

    def __init__(self, count: int, spec: Spec, metrics: int = 0) -> None:
        self._count = count
        self._metrics = metrics
        self._spec = spec
        self._places: list[Tensor] = []

    @cached_property
    def array(self) -> NDArray[np.float32]:
        """[K, header + size + metrics], taken when it is first asked for."""
        return np.empty((self._count, HEADER_BYTES // 4 + self._spec.size + self._metrics), np.float32)

    @property
    def vectors(self) -> NDArray[np.float32]:
        """[K, size], in that memory."""
        return self.array[:, HEADER_BYTES // 4 :][:, : self._spec.size]

    def payload_views(self) -> list[Tensor]:
        """Return the memory of the arrays [K, …] of a payload, in the order of its leaves."""
        self._places = tree_leaves(payload_of(self.vectors, self._spec))
        return self._places

    def contains(self, payload: Payload) -> bool:
        """Return True where the payload's arrays are in this memory."""
        found = [payload[entry.record][entry.name] for entry in self._spec]
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
        references, broadcast_index: what both sides hold already, and [K] index of the one that a client has (the
            only one when None), see ``link``.
        buffer: memory in which the payload may be already; it becomes the packets.
        finite: True where the caller has checked that no number is NaN or infinite.
        on_error: called with the row and the error of each client whose numbers the codec refuses.
    """
    count = len(num_examples)
    losses = np.full(count, np.nan, np.float32) if train_loss is None else train_loss
    spec = link.spec
    if not spec:
        return Packed(np.arange(count), concat([b""] * count), states)
    tail = np.zeros((count, 0), "<f4") if metrics is None else np.ascontiguousarray(metrics, "<f4")
    if tail.shape[1] != len(link.metrics):
        raise ValueError(f"Uploads hold the metrics {link.metrics}, got {tail.shape[1]} numbers of each client.")
    if buffer is None or not buffer.contains(payload):
        buffer = PacketBuffer(count, spec, tail.shape[1])
        flatten(payload, spec, buffer.vectors)
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


def pack_payload(
    payload: Payload,
    link: Link,
    state: Any,
    rng: np.random.Generator,
    *,
    kind: int,
    round: int,
    num_examples: float = 0.0,
    train_loss: float = math.nan,
    metrics: Sequence[float] = (),
    reference: Payload | None = None,
) -> tuple[bytes, Any]:
    """Pack one payload; return the packet and the codec's next state. A broadcast's number of examples is 0.

    Raises:
        ValueError: the payload is not what the spec says, or the codec refuses its numbers.
    """
    check_payload(payload, link.spec, kind)
    packed = pack_payloads(
        {record: {name: value[None] for name, value in params.items()} for record, params in payload.items()},
        link,
        tree_stack([state]),
        lambda _: rng,
        kind=kind,
        round=round,
        num_examples=np.array([num_examples]),
        train_loss=np.array([train_loss], np.float32),
        metrics=np.array([metrics], np.float32),
        references=[reference] if reference else (),
        on_error=_raise,
    )
    return packed.packets[0], tree_index(packed.states, 0)


def _raise(_: int, error: ValueError) -> None:
    raise error

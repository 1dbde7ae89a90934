"""One direction between server and clients with one set of tasks: spec, reference, codec and memory, on both sides.

The delta rule stands here alone: an upload is coded as its difference from the broadcast that its client received.
Where a broadcast has a record and name of the upload, with the same shape, the difference travels; elsewhere the value
itself. A lossless codec codes values: a difference would lose bits and save none.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.codecs.base import Codec
from fedmtl.codecs.stated import most_bytes
from fedmtl.core.trees import tree_index, tree_map, tree_stack
from fedmtl.core.types import Payload
from fedmtl.protocol.spec import Spec

Bodies = NDArray[np.uint8] | Sequence[Any]
"""Bodies of packets, [K, bytes] where one pass has coded them, else one by one."""


class Encoded(NamedTuple):
    """The bodies of the clients whose numbers the codec took."""

    rows: NDArray[np.int64]
    """Their rows among the K, [P], ascending."""
    bodies: Bodies
    """P bodies."""
    states: Any
    """The codec's next states, a tree of arrays [P, …]."""


class Link:
    """Delta, encode and decode of one direction. The sender keeps the memory: ``init`` makes it, ``encode`` the next.

    Args:
        spec: of the payloads.
        codec: of this direction.
        metrics: names of numbers that travel behind the body as they are, float32.

    Raises:
        ValueError: a codec that does not fit these names.
    """

    def __init__(self, spec: Spec, codec: Codec[Any], metrics: tuple[str, ...] = ()) -> None:
        self.spec = spec
        self.codec = codec
        by_name: Any = codec
        self._coder: Any = by_name.bind(spec.layout) if codec.traits.by_layout and spec else codec
        self.metrics = metrics
        self.remembers = codec.traits.receiver_memory and bool(spec)
        """True where the receiver has a memory of each sender, see ``memories``."""
        self.tail = len(metrics) + int(self.remembers)
        """Numbers of four bytes behind a body."""
        self.digest = spec.digest(codec, metrics)

    @property
    def sends_values(self) -> bool:
        """True where values are coded, and no differences, so that no number of them changes on the way."""
        return self.codec.traits.lossless

    def init(self) -> Any:
        """Return the memory before the first payload, a tree of arrays; None for payloads without a number."""
        return self._coder.init(self.spec.layout) if self.spec.size else None

    @property
    def max_bytes(self) -> int:
        """The most bytes of a body, with the numbers behind it."""
        return most_bytes(self._coder, self.spec.size) + 4 * self.tail if self.spec.size else 0

    @property
    def models_entropy(self) -> bool:
        """True where the codec declares the ideal bits of its packets."""
        return self.spec.size > 0 and self._coder.traits.ideal_bits

    def ideal_bits(self, bodies: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return those of K bodies of one length, [K, bytes], without metrics; of one that the codec refuses, 8 a byte.

        Only where ``models_entropy``.
        """
        try:
            return self._coder.ideal_bits(bodies, self.spec.size)
        except ValueError:
            if len(bodies) == 1:
                return np.full(1, 8.0 * bodies.shape[1])
        return np.concatenate([self.ideal_bits(bodies[k : k + 1]) for k in range(len(bodies))])

    def unmatched(self) -> set[str]:
        """Return the globs of the codec that match no name of the spec."""
        by_name: Any = self.codec
        return by_name.unmatched(self.spec.layout) if self.codec.traits.by_name else set()

    def references(
        self, payloads: Sequence[Payload], broadcast_index: NDArray[np.int64] | None
    ) -> NDArray[np.float32] | None:
        """Return the numbers that payloads are coded relative to, [1 or K, size]; None where values are coded.

        Args:
            payloads: the broadcasts that differ.
            broadcast_index: [K] index of each client's broadcast; None where there is one.
        """
        if not payloads or self.sends_values:
            return None
        found = self.vectors(payloads)
        return found if broadcast_index is None or len(found) == 1 else found[broadcast_index]

    def arrays(self, numbers: Any) -> dict[str, dict[str, Any]]:
        """View the last axis of a tensor or an array, [K, size] or [size], as the arrays of payloads: no copy."""
        found: dict[str, dict[str, Any]] = {record: {} for record in self.spec.empty}
        rows, offset = tuple(numbers.shape[:-1]), 0
        for entry in self.spec:
            count = math.prod(entry.shape)
            part = numbers[..., offset : offset + count].reshape((*rows, *entry.shape))
            found.setdefault(entry.record, {})[entry.name] = part
            offset += count
        return found

    def vectors(self, payloads: Sequence[Payload]) -> NDArray[np.float32]:
        """Return the numbers of payloads in the order of the spec, [M, size], 0 for a name or shape that one lacks."""
        found = np.zeros((len(payloads), self.spec.size), np.float32)
        for vector, payload in zip(found, payloads, strict=True):
            offset = 0
            for entry in self.spec:
                count = math.prod(entry.shape)
                value = payload.get(entry.record, {}).get(entry.name)
                if value is not None and tuple(value.shape) == entry.shape:
                    vector[offset : offset + count] = value.detach().cpu().numpy().reshape(-1)
                offset += count
        return found

    def encode(
        self,
        vectors: NDArray[np.float32],
        states: Any,
        rng_for: Callable[[int], np.random.Generator],
        references: NDArray[np.float32] | None,
        finite: bool,
        on_error: Callable[[int, ValueError], None],
    ) -> Encoded:
        """Code the vectors of K clients, which become differences in place where there are references.

        Args:
            vectors: [K, size]; bodies may share their memory.
            states: memories, a tree of arrays [K, …].
            rng_for: row -> a new generator for that client.
            references: see ``references``.
            finite: True where no number is NaN or infinite.
            on_error: called with the row and the error of each client whose numbers the codec refuses.
        """
        if references is not None:
            vectors -= references
            finite = False
        if self._coder.traits.codes_rows and (finite or np.isfinite(vectors).all()):
            try:
                return Encoded(np.arange(len(vectors)), *self._coder.encode_rows(vectors, states, rng_for))
            except ValueError:
                pass  # some row is at fault; one by one shows which
        rows, bodies, next_states = [], [], []
        for k in range(len(vectors)):
            try:
                data, state = self._coder.encode(vectors[k], tree_index(states, k), rng_for(k))
            except ValueError as error:
                on_error(k, error)
            else:
                rows.append(k)
                bodies.append(data)
                next_states.append(state)
        kept = tree_stack(next_states) if rows else tree_map(lambda leaf: leaf[:0], states)
        return Encoded(np.array(rows, np.int64), bodies, kept)

    def decode(
        self,
        bodies: Bodies,
        payloads: Sequence[Payload],
        broadcast_index: NDArray[np.int64] | None,
        on_error: Callable[[int, ValueError], None],
        memories: NDArray[np.float32] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the rows that can be decoded, and their vectors [P, size], of which differences are undone.

        Args:
            bodies: of K packets.
            payloads, broadcast_index: as in ``references``.
            on_error: called with the row and the error of each body that cannot be decoded.
            memories: the receiver's, [K, size], where the link ``remembers``; they become the next ones, in place.
        """
        size, found = self.spec.size, None
        if memories is None and self._coder.traits.codes_rows and isinstance(bodies, np.ndarray):
            with suppress(ValueError):  # some row is at fault; one by one shows which
                found = np.arange(len(bodies)), self._coder.decode_rows(bodies, size)
        rows, vectors = self._one_by_one(bodies, on_error, memories) if found is None else found
        base = self.references(payloads, None if broadcast_index is None else broadcast_index[rows])
        return rows, vectors if base is None else vectors + base

    def decode_one(self, body: bytes) -> NDArray[np.float32]:
        """Return the vector of one body, [size], with no memory beside that of its codec; no difference is undone.

        Raises:
            ValueError: a body that cannot be decoded.
        """
        return self._checked(self._coder.decode(body, self.spec.size))

    def _checked(self, decoded: Any) -> NDArray[np.float32]:
        vector, size = np.asarray(decoded, dtype=np.float32), self.spec.size
        if vector.shape != (size,):
            raise ValueError(f"{self.codec!r} decoded {vector.shape} numbers where ({size},) were expected.")
        return vector

    def _one_by_one(
        self,
        bodies: Bodies,
        on_error: Callable[[int, ValueError], None],
        memories: NDArray[np.float32] | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Decode bodies of different lengths, of which some are damaged, or that change a memory."""
        size = self.spec.size
        rows, vectors = [], np.empty((len(bodies), size), np.float32)
        for k, body in enumerate(bodies):
            try:
                if memories is None:
                    vector = self.decode_one(bytes(body))
                else:
                    decoded, memories[k] = self._coder.receive(bytes(body), memories[k])
                    vector = self._checked(decoded)
            except ValueError as error:
                on_error(k, error)
            else:
                vectors[len(rows)] = vector
                rows.append(k)
        return np.array(rows, np.int64), vectors[: len(rows)]

"""Partition: the codec of a vector whose parts have codecs of their own, each on one vector."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.codecs.base import check_vector, generators_once
from fedmtl.codecs.checks import check_decoded, check_length
from fedmtl.codecs.entropy import bits_of
from fedmtl.codecs.layout import Layout
from fedmtl.codecs.stated import most_bytes, stated_bytes
from fedmtl.codecs.traits import CodecTraits, all_of
from fedmtl.codecs.transforms.base import GeneratorFor

LENGTH = 4
"""Bytes of the length of a part, little-endian, where the codec does not fix it."""


class Part(NamedTuple):
    """The arrays of a vector that one codec codes."""

    codec: Any
    spans: tuple[tuple[int, int], ...]
    """Positions of their numbers, rising."""
    layout: Layout
    """Size of the vector that they are joined to."""

    def take(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Join the part of vectors [..., size]; a view where it is in one piece."""
        pieces = [x[..., start:end] for start, end in self.spans]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=-1)

    def put(self, values: NDArray[np.float32], x: NDArray[np.float32]) -> None:
        """Write the part into vectors [..., size]."""
        place = 0
        for start, end in self.spans:
            x[..., start:end] = values[..., place : place + end - start]
            place += end - start


@dataclass(frozen=True)
class Partition:
    """The codec that ``PerLayer.bind`` makes: the parts' bytes, one after the other."""

    owner: Any
    """``PerLayer``, for messages."""
    size: int
    parts: tuple[Part, ...]

    @property
    def traits(self) -> CodecTraits:
        each = [part.codec.traits for part in self.parts]
        fixed = all(traits.fixed_bytes for traits in each)
        rows = fixed and all(traits.codes_rows for traits in each)
        typical = not fixed and all(traits.fixed_bytes or traits.typical_bytes for traits in each)
        ideal = any(traits.ideal_bits for traits in each)
        more = {"typical_bytes": typical, "ideal_bits": ideal, "codes_rows": rows}
        return all_of(each, fixed_bytes=fixed, max_bytes=True, **more)

    def init(self, layout: Layout | int) -> Any:
        return tuple(part.codec.init(part.layout) for part in self.parts)

    def num_bytes(self, size: int) -> int:
        return sum(part.codec.num_bytes(part.layout.size) for part in self.parts)

    def max_bytes(self, size: int) -> int:
        return sum(most_bytes(part.codec, part.layout.size) + LENGTH for part in self.parts)

    def typical_bytes(self, size: int) -> float:
        lengths = LENGTH * sum(not part.codec.traits.fixed_bytes for part in self.parts[:-1])
        return lengths + sum(stated_bytes(part.codec, part.layout).typical for part in self.parts)

    def encode(self, x: NDArray[np.float32], state: Any, rng: np.random.Generator) -> tuple[bytes, Any]:
        check_vector(self.owner, x)
        coded, states = [], []
        for k, (part, own) in enumerate(zip(self.parts, state, strict=True)):
            data, after = part.codec.encode(part.take(x), own, rng)
            if not part.codec.traits.fixed_bytes and k < len(self.parts) - 1:
                coded.append(len(data).to_bytes(LENGTH, "little"))
            coded.append(data)
            states.append(after)
        return b"".join(coded), tuple(states)

    def encode_rows(self, x: NDArray[np.float32], states: Any, rng_for: GeneratorFor) -> tuple[NDArray[np.uint8], Any]:
        generators = generators_once(rng_for)
        each = zip(self.parts, states, strict=True)
        coded = [part.codec.encode_rows(part.take(x), own, generators) for part, own in each]
        bodies = [body for body, _ in coded]
        return bodies[0] if len(bodies) == 1 else np.concatenate(bodies, axis=1), tuple(after for _, after in coded)

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        self._check_size(size)
        if self.traits.fixed_bytes:
            check_length(self.owner, len(data), size, self.num_bytes(size))
        if len(self.parts) == 1:
            return self.parts[0].codec.decode(data, size)
        return self._joined(
            (), self._largest_first(self._split(data)), lambda part, piece: self._decoded(part, piece, data)
        )

    def decode_rows(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
        self._check_size(size)
        check_length(self.owner, data.shape[1], size, self.num_bytes(size))
        if len(self.parts) == 1:
            return self.parts[0].codec.decode_rows(data, size)
        ends = np.cumsum([part.codec.num_bytes(part.layout.size) for part in self.parts]).tolist()
        pieces = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]

        def decoded(part: Part, piece: slice) -> NDArray[np.float32]:
            return part.codec.decode_rows(np.ascontiguousarray(data[:, piece]), part.layout.size)

        return self._joined((len(data),), self._largest_first(pieces), decoded)

    def receive(self, data: bytes, memory: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self._check_size(memory.size)
        if self.traits.fixed_bytes:
            check_length(self.owner, len(data), self.size, self.num_bytes(self.size))
        if len(self.parts) == 1:
            return self._received(self.parts[0], slice(None), memory, data)
        x = after = np.empty(0, np.float32)
        for part, piece in self._largest_first(self._split(data)):
            values, own = self._received(part, piece, memory, data)
            x, after = (x, after) if after.size else (copied := memory.copy(), copied)
            if values is not own and x is after:
                x = after.copy()
            part.put(own, after)
            if x is not after:
                part.put(values, x)
            del values, own  # there is no such part then beside the next one
        return x, after

    def ideal_bits(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float64]:
        """Those of the parts; the lengths between them hold nothing that the parts do not."""
        self._check_size(size)
        found = np.zeros(len(data))
        if self.traits.fixed_bytes:
            check_length(self.owner, data.shape[1], size, self.num_bytes(size))
        for rows in [slice(None)] if self.traits.fixed_bytes else [slice(k, k + 1) for k in range(len(data))]:
            for part, piece in zip(self.parts, self._split(data[rows][0].data), strict=True):
                found[rows] += bits_of(part.codec, data[rows, piece], part.layout.size)
        return found

    def _largest_first(self, pieces: Sequence[slice]) -> list[tuple[Part, slice]]:
        """The parts with the spans of their bytes. Decoding the largest may take twice its memory, so it comes first:
        there is no vector then beside it."""
        return sorted(zip(self.parts, pieces, strict=True), key=lambda pair: -pair[0].layout.size)

    def _joined(
        self,
        rows: tuple[int, ...],
        pairs: Sequence[tuple[Part, slice]],
        decoded: Callable[[Part, slice], NDArray[np.float32]],
    ) -> NDArray[np.float32]:
        """The vectors, [..., size], of parts that are decoded one after the other."""
        values = decoded(*pairs[0])
        x = np.empty((*rows, self.size), np.float32)
        pairs[0][0].put(values, x)
        del values
        for part, piece in pairs[1:]:
            part.put(decoded(part, piece), x)
        return x

    def _received(
        self, part: Part, piece: slice, memory: NDArray[np.float32], data: bytes
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The numbers of a part, and its next memory, which is as it was where its codec has none."""
        if part.codec.traits.receiver_memory:
            return part.codec.receive(data[piece], part.take(memory))
        return self._decoded(part, piece, data), part.take(memory)

    def _decoded(self, part: Part, piece: slice, data: bytes) -> NDArray[np.float32]:
        """The numbers of a part, without a copy of its bytes where the codec codes rows."""
        if not part.codec.traits.codes_rows:
            return part.codec.decode(data[piece], part.layout.size)
        values = part.codec.decode_rows(np.frombuffer(data, np.uint8)[None, piece], part.layout.size)[0]
        check_decoded(part.codec, values)
        return values

    def _check_size(self, size: int) -> None:
        if size != self.size:
            raise ValueError(
                f"{self.owner!r} was bound to {self.size} numbers, got size={size}; bind it to the model's own layout."
            )

    def _split(self, data: bytes | memoryview) -> list[slice]:
        """The span of each part's bytes, by the lengths between them where they are not fixed."""
        pieces, start = [], 0
        for k, part in enumerate(self.parts):
            if k == len(self.parts) - 1:
                count = len(data) - start
            elif part.codec.traits.fixed_bytes:
                count = part.codec.num_bytes(part.layout.size)
            else:
                count = int.from_bytes(data[start : start + LENGTH], "little")
                start += LENGTH
            if count < 0 or start + count > len(data):
                raise ValueError(
                    f"{self.owner!r}: part {k + 1} of {len(self.parts)} ends at byte {start + count} of {len(data)}; "
                    "the packet is damaged or forged: reject the reply."
                )
            pieces.append(slice(start, start + count))
            start += count
        return pieces


def partition(owner: Any, layout: Layout, members: Sequence[tuple[Any, Sequence[int]]]) -> Partition:
    """Make the codec of a layout whose arrays, by index, have these codecs."""
    parts = []
    for codec, chosen in members:
        spans: list[tuple[int, int]] = []
        for place in (layout.places[k] for k in chosen):
            start, end = place.start, place.start + place.size
            if spans and spans[-1][1] == start:
                spans[-1] = (spans[-1][0], end)
            else:
                spans.append((start, end))
        own = layout.select(chosen)
        part = Part(codec.bind(own) if codec.traits.by_layout else codec, tuple(spans), own)
        if part.layout.size:
            parts.append(part)
    return Partition(owner, layout.size, tuple(parts))

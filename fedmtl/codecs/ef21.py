"""EF21: sender and receiver keep the same memory of a vector, and its difference from that is coded.

    Richtárik, Sokolov, Fatkhullin. EF21: a new, simpler, theoretically better, and practically faster error feedback.
    NeurIPS 2021, arXiv:2106.05203
    Fatkhullin, Sokolov, Gorbunov, Li, Richtárik. EF21 with bells & whistles: six algorithmic extensions of modern
    error feedback. 2021, arXiv:2110.03294; clients that take part in some rounds alone

What a round leaves out is in the next difference, and nothing is added twice.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.codecs.base import Codec, check_vector
from fedmtl.codecs.checks import check_codec, check_memory
from fedmtl.codecs.layout import Layout
from fedmtl.codecs.topk import TopK
from fedmtl.codecs.traits import CodecTraits, around


@dataclass(frozen=True)
class EF21:
    """A memory g on both sides around a contractive codec C, ‖v - C^-1(C(v))‖² ≤ (1 - δ) ‖v‖².

        c  = C(x - g)            bytes of the inner codec, nothing added                        (1)
        g' = g + C^-1(c)         on the sender and on the receiver, float32 [n], first 0        (2)

    The receiver takes g' for x, so ‖x - g'‖² ≤ (1 - δ) ‖x - g‖²: of an x that stands still it gets ever more, and of
    one that moves it lags behind, by about 1 / δ rounds; δ is k / n of ``TopK``. ``ErrorFeedback`` sends late what it
    left out, in full, and its receiver keeps nothing; here sums over rounds do not arrive, so a server that adds up
    changes (``Mocha``, ``Scaffold``) does not take it.

    As ``up_codec``, x is a client's update, and the server averages the g' of the cohort, weighted as updates are; the
    papers' server averages those of all clients, also of the ones that are not asked. Server and client agree on g by
    its version, four bytes of an upload (``protocol/memories.py``); broadcasts have a memory of their own. The server's
    memory is 4 n bytes of each client that has trained, in this process and in the run's folder, n those of its own
    upload where models are narrow (``HeteroFL``); the client keeps two g, as a reply may be lost. Bytes: those of C.
    """

    codec: Codec[Any] = field(default_factory=TopK, metadata={"component": ("codec",)})
    """C, contractive and without a memory of its own."""

    @property
    def traits(self) -> CodecTraits:
        return around(self.codec.traits, delta_only=True, keeps_errors=True, receiver_memory=True)

    def __post_init__(self) -> None:
        check_codec("EF21", self.codec)
        if self.codec.traits.keeps_errors:
            raise ValueError(f"EF21 keeps one memory, got {self.codec!r}, which has its own; use it bare.")
        if not self.codec.traits.contractive:
            raise ValueError(
                f"EF21 takes a contractive codec, whose error is never longer than the vector, got {self.codec!r}; its "
                "memory could grow without end. Use TopK, STC, GolombTopK or Sign inside it, or the codec bare."
            )

    def init(self, layout: Layout | int) -> tuple[NDArray[np.float32], Any]:
        return np.zeros(layout, np.float32), self.codec.init(layout)

    def bind(self, layout: Layout) -> "EF21":
        inner: Any = self.codec
        return EF21(inner.bind(layout))

    def unmatched(self, layout: Layout) -> set[str]:
        inner: Any = self.codec
        return inner.unmatched(layout)

    def num_bytes(self, size: int) -> int:
        inner: Any = self.codec
        return inner.num_bytes(size)

    def max_bytes(self, size: int) -> int:
        inner: Any = self.codec
        return inner.max_bytes(size)

    def typical_bytes(self, size: int) -> float:
        inner: Any = self.codec
        return inner.typical_bytes(size)

    def ideal_bits(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float64]:
        inner: Any = self.codec
        return inner.ideal_bits(data, size)

    def encode(
        self, x: NDArray[np.float32], state: tuple[NDArray[np.float32], Any], rng: np.random.Generator
    ) -> tuple[bytes, tuple[NDArray[np.float32], Any]]:
        """As in ``Codec``.

        Raises:
            ValueError: moreover, a memory of another size than x.
        """
        check_vector(self, x)
        memory, inner = state
        check_memory(self, memory, x)
        data, inner = self.codec.encode(x - memory, inner, rng)  # (1)
        return data, (self.receive(data, memory)[0], inner)

    def encode_rows(
        self, x: NDArray[np.float32], states: Any, rng_for: Callable[[int], np.random.Generator]
    ) -> tuple[NDArray[np.uint8], Any]:
        memory, states = states
        codec: Any = self.codec
        check_memory(self, memory, x)
        change = x - memory
        check_vector(self, change.reshape(-1))
        data, states = codec.encode_rows(change, states, rng_for)
        return data, (memory + codec.decode_rows(data, x.shape[1]), states)  # (2)

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        """As in ``Codec``: the change of g, which is g' of a first vector."""
        return self.codec.decode(data, size)

    def decode_rows(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
        codec: Any = self.codec
        return codec.decode_rows(data, size)

    def receive(self, data: bytes, memory: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        after = memory + self.codec.decode(data, memory.size)  # (2)
        return after, after

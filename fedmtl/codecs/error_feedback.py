"""ErrorFeedback: what a codec loses in one round is added to the next."""

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
class ErrorFeedback:
    """A memory around a biased codec C.

    Seide et al., Interspeech 2014; Karimireddy et al., ICML 2019, arXiv:1901.09847.

        p  = C(x + e)           bytes of the inner codec, nothing added      (1)
        e' = x + e - C^-1(p)    the memory, float32 [n], first 0             (2)

    Summed over rounds, Σ x = Σ C^-1(p) + e: nothing is lost, only late. In one round the codec is as biased
    as C. The state (e, state of C) stays with the client, also through rounds in which it is not sampled.

    An unbiased codec takes no error feedback: its errors are large at times and cancel by themselves, and a
    memory would feed each of them back. Bytes: those of C.
    """

    codec: Codec[Any] = field(default_factory=TopK, metadata={"component": ("codec",)})
    """C, biased and without a memory of its own."""

    @property
    def traits(self) -> CodecTraits:
        return around(self.codec.traits, delta_only=True, error_compensated=True, keeps_errors=True)

    def __post_init__(self) -> None:
        check_codec("ErrorFeedback", self.codec)
        if self.codec.traits.unbiased:
            raise ValueError(
                f"ErrorFeedback repairs biased codecs, got {self.codec!r}, which is unbiased; use it bare."
            )
        if self.codec.traits.keeps_errors:
            raise ValueError(
                f"ErrorFeedback keeps one memory, got {self.codec!r}, which would add the same loss twice; use it bare."
            )
        if self.codec.traits.adds_noise:
            raise ValueError(
                f"ErrorFeedback would take back in the next rounds the noise that {self.codec!r} adds; put the noise "
                "before it: Chain(ClipNorm(1.0), GaussianNoise(0.8), ErrorFeedback(TopK(0.05)))."
            )

    def init(self, layout: Layout | int) -> tuple[NDArray[np.float32], Any]:
        return np.zeros(layout, np.float32), self.codec.init(layout)

    def bind(self, layout: Layout) -> "ErrorFeedback":
        inner: Any = self.codec
        return ErrorFeedback(inner.bind(layout))

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
        total = x + memory
        data, inner = self.codec.encode(total, inner, rng)  # (1)
        return data, (total - self.codec.decode(data, x.size), inner)  # (2)

    def encode_rows(
        self, x: NDArray[np.float32], states: Any, rng_for: Callable[[int], np.random.Generator]
    ) -> tuple[NDArray[np.uint8], Any]:
        memory, states = states
        codec: Any = self.codec
        check_memory(self, memory, x)
        total = x + memory
        check_vector(self, total.reshape(-1))
        data, states = codec.encode_rows(total, states, rng_for)
        total -= codec.decode_rows(data, x.shape[1])
        return data, (total, states)

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        return self.codec.decode(data, size)

    def decode_rows(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
        codec: Any = self.codec
        return codec.decode_rows(data, size)

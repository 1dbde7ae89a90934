"""Chain: transforms from left to right, then a codec; undone from right to left.

    As chain does for gradients in Optax (DeepMind, 2020), with a way back.

What is done to an update before it is coded, such as clipping and noise, is then one file each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.codecs.base import check_vector, generators_once
from fedmtl.codecs.chain_order import check_order, is_codec
from fedmtl.codecs.dense import Dense
from fedmtl.codecs.layout import Layout
from fedmtl.codecs.traits import CodecTraits, around
from fedmtl.codecs.transforms.base import GeneratorFor


@dataclass(frozen=True, init=False, repr=False)
class Chain:
    """Transforms T_1, …, T_m and a codec C.

        bytes = C(T_m(… T_1(x)))                                    on the sender       (1)
        x'    = T_1⁻(… T_m⁻(C⁻¹(bytes)))                            on the receiver     (2)

    A transform's ``undo``, T⁻, may be the identity, as that of ``ClipNorm``. All randomness of a vector comes from one
    generator, in the order of (1). Bytes: those of C. A chain that ends in a transform goes on to ``Dense()``.

    Order counts where a bound is given: what would break one is refused (``chain_order.py``). In a preset a chain is a
    list, ``up_codec = ["ClipNorm(1.0)", "GaussianNoise(0.8)", "ErrorFeedback(TopK(0.05))"]``.
    """

    parts: tuple[Any, ...] = field(metadata={"component": ("transform", "codec"), "variadic": True})
    """Transforms, and the codec at the end; the parts of a chain inside it are its own."""

    def __init__(self, *parts: Any) -> None:
        flat = tuple(inner for part in parts for inner in (part.parts if isinstance(part, Chain) else (part,)))
        if not any(isinstance(part, str) for part in flat):  # texts are read by the registry, which makes it anew
            check_order(flat)
            flat = flat if is_codec(flat[-1]) else (*flat, Dense())
        object.__setattr__(self, "parts", flat)

    def __repr__(self) -> str:
        return f"Chain({', '.join(map(repr, self.parts))})"

    @property
    def transforms(self) -> Sequence[Any]:
        """T_1, …, T_m."""
        return self.parts[:-1]

    @property
    def codec(self) -> Any:
        """C."""
        return self.parts[-1]

    @property
    def traits(self) -> CodecTraits:
        """Those that all parts have, of what is promised; those that one has, of what is demanded."""
        inner, each = self.codec.traits, [part.traits for part in self.parts]
        lossless = all(transform.traits.lossless for transform in self.transforms)
        found = around(
            inner,
            unbiased=all(traits.unbiased for traits in each),
            lossless=lossless and inner.lossless,
            contractive=lossless and inner.contractive,
            delta_only=any(traits.delta_only for traits in each),
            error_compensated=lossless and inner.error_compensated,
            keeps_errors=inner.keeps_errors,
            receiver_memory=inner.receiver_memory,
            adds_noise=any(traits.adds_noise for traits in each),
            server_part=any(traits.server_part for traits in each),
        )
        return replace(found, bounds_norm=any(traits.bounds_norm for traits in each))

    def init(self, layout: Layout | int) -> Any:
        return self.codec.init(layout)

    def bind(self, layout: Layout) -> "Chain":
        return Chain(*self.transforms, self.codec.bind(layout))

    def unmatched(self, layout: Layout) -> set[str]:
        return self.codec.unmatched(layout)

    def num_bytes(self, size: int) -> int:
        return self.codec.num_bytes(size)

    def max_bytes(self, size: int) -> int:
        return self.codec.max_bytes(size)

    def typical_bytes(self, size: int) -> float:
        return self.codec.typical_bytes(size)

    def encode(self, x: NDArray[np.float32], state: Any, rng: np.random.Generator) -> tuple[bytes, Any]:
        check_vector(self, x)
        return self.codec.encode(self._apply(x[None], lambda _: rng)[0], state, rng)

    def encode_rows(self, x: NDArray[np.float32], states: Any, rng_for: GeneratorFor) -> tuple[NDArray[np.uint8], Any]:
        generators = generators_once(rng_for)
        return self.codec.encode_rows(self._apply(x, generators), states, generators)

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        return self._undo(self.codec.decode(data, size)[None])[0]

    def decode_rows(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
        return self._undo(self.codec.decode_rows(data, size))

    def receive(self, data: bytes, memory: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        x, after = self.codec.receive(data, memory)
        return self._undo(x[None])[0], after

    def ideal_bits(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float64]:
        return self.codec.ideal_bits(data, size)

    def on_sum(self, total: NDArray[np.float64], weight: float, rng: np.random.Generator) -> NDArray[np.float64]:
        for part in reversed(self.parts):
            if part.traits.server_part:
                total = part.on_sum(total, weight, rng)
        return total

    def _apply(self, x: NDArray[np.float32], rng_for: GeneratorFor) -> NDArray[np.float32]:
        for transform in self.transforms:
            x = transform.apply(x, rng_for)
        return x

    def _undo(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        for transform in reversed(self.transforms):
            x = transform.undo(x)
        return x

"""The protocol of transforms: what is done to vectors before a codec makes bytes of them, and undone afterwards."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.traits import known_traits

Rows = NDArray[np.float32]
"""Vectors of a cohort, [K, size]."""

GeneratorFor = Callable[[int], np.random.Generator]
"""Row -> the generator of that client, round and seed; the same one whenever it is asked for."""


@known_traits
@dataclass(frozen=True)
class TransformTraits:
    """Capabilities of a transform. The default declares none. A chain derives its own from those of its parts.

    >>> TransformTraits(bounds_norm=True).adds_noise
    False
    """

    unbiased: bool = False
    """The mean of ``undo(apply(x))`` over generators is x."""
    lossless: bool = False
    """``undo(apply(x))`` is x, bit for bit."""
    delta_only: bool = False
    """For updates, which are differences between models, and never for a model itself: for the uplink."""
    bounds_norm: bool = False
    """The norm of what it gives is bounded, and nothing before it in a chain may depend on the bound."""
    adds_noise: bool = False
    """Noise against what a receiver could learn; it counts only where the norm was bounded before."""
    server_part: bool = field(default=False, metadata={"methods": ("on_sum",)})
    """The server's part: it sees the sum of the uploads, and only where the algorithm needs no more than that:

        on_sum(total: float64 […], weight, rng) -> float64 […]

    ``total`` is Σ n_k w_k of one array over the clients that sent it, and ``weight`` their Σ n_k. The arrays come in
    the order of record and name, all with the one generator of (seed, round). Of a chain, the last transform's part is
    first."""


class Transform(Protocol):
    """Numbers to numbers, without a memory (what has one is a codec). Implementations are frozen dataclasses, final."""

    @property
    def traits(self) -> TransformTraits:
        """A class attribute, ``traits = TransformTraits(…)``, or a property that reads fields."""
        ...

    def apply(self, x: Rows, rng_for: GeneratorFor) -> Rows:
        """The client's part, on all clients of a cohort at once, each row as if alone; x is left as it was."""
        ...

    def undo(self, x: Rows) -> Rows:
        """The receiver's part, on what the codec decoded; x is left as it was, and may be what is returned."""
        ...


def check_number(what: Any, field: str, value: Any, least: str) -> None:
    """Refuse what is no finite number, or one below its bound.

    Args:
        what: the transform's name.
        field: of the transform.
        value: of the field.
        least: ``positive``, or ``at least 0``.

    Raises:
        ValueError: it names the value and the bound.
    """
    number = not isinstance(value, bool) and isinstance(value, int | float) and np.isfinite(value)
    if not number or value < 0 or (value == 0 and least == "positive"):
        raise ValueError(f"{what} takes a finite number, {least}, got {field}={value!r}.")

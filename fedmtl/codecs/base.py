"""The protocol of codecs: vectors become bytes, and bytes vectors."""

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedmtl.codecs.layout import Layout
from fedmtl.codecs.traits import CodecTraits
from fedmtl.core.trees import tree_index, tree_map

C = TypeVar("C")


class Codec(Protocol[C]):
    """Bytes for one flat float32 vector. Implementations are frozen dataclasses, final.

    ``traits`` declares what the rest of fedmtl may rely on, and which optional methods there are, see ``CodecTraits``.
    """

    @property
    def traits(self) -> CodecTraits:
        """A class attribute, ``traits = CodecTraits(…)``, or a property that reads fields."""
        ...

    def init(self, layout: Layout | int) -> C:
        """The state before the first vector: a tree of arrays, or None. It stays with the sender.

        ``layout`` has the names and shapes of the vector's arrays; most codecs need the size only, see ``Layout``.
        """
        ...

    def encode(self, x: NDArray[np.float32], state: C, rng: np.random.Generator) -> tuple[bytes, C]:
        """The bytes of x, float32 [size], and the next state. x and state are left as they were.

        Raises:
            ValueError: an empty vector, or one with NaN or infinity.
        """
        ...

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        """The vector that the bytes stand for, float32 [size].

        Raises:
            ValueError: bytes that this codec cannot have made for a vector of this size.
        """
        ...


def generators_once(rng_for: Callable[[int], np.random.Generator]) -> Callable[[int], np.random.Generator]:
    """Return a function that makes each row's generator once, so that parts of a codec draw one after the other."""
    return cache(rng_for)


def encode_one(codec: Any, x: NDArray[np.float32], state: Any, rng: np.random.Generator) -> tuple[bytes, Any]:
    """``encode`` of a codec that codes rows: a cohort of one.

    Raises:
        ValueError: as ``check_vector``.
    """
    check_vector(codec, x)
    data, states = codec.encode_rows(x[None], tree_map(lambda leaf: leaf[None], state), lambda _: rng)
    return data.tobytes(), tree_index(states, 0)


def check_vector(codec: Any, x: NDArray[np.float32]) -> None:
    """Refuse what no codec can code.

    Raises:
        ValueError: x is empty, not one-dimensional, or holds NaN or infinity.
    """
    if x.ndim != 1 or x.size == 0:
        raise ValueError(
            f"{codec!r} codes a flat vector of at least one number, got shape {x.shape}; send no packet instead."
        )
    if not np.isfinite(x).all():
        raise ValueError(
            f"{codec!r} codes finite numbers, got {int((~np.isfinite(x)).sum())} that are not among {x.size}; "
            "a diverged update must not be sent: lower the learning rate."
        )

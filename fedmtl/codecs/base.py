"""How a vector becomes bytes: the protocol that every codec fulfils."""

from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

C = TypeVar("C")


class Codec(Protocol[C]):
    """Bytes for one flat float32 vector. Implementations are frozen dataclasses, final.

    A codec without a state may also code a cohort's vectors in one pass, by two optional methods that give the same
    bytes and numbers as ``encode`` and ``decode`` row by row:

        encode_rows(x: float32 [K, size], rng_for: row -> Generator) -> uint8 [K, bytes]
        decode_rows(data: uint8 [K, bytes], size) -> float32 [K, size]

    They may share memory with what they are given, raise ValueError when one of the rows would, and leave it to the
    caller to look for NaN and infinity, before the one and after the other.

    Three optional class attributes say more, with False where they are absent:

    * ``exact``: ``decode(encode(x))`` is x, bit for bit. The wire then sends values instead of differences.
    * ``delta_only``: makes sense for differences between models only, never for a model itself, so it is
      refused for the downlink, where whole values travel.
    * ``late``: what is lost of one vector is added to the next ones, so that sums over rounds arrive whole.
    """

    unbiased: ClassVar[bool]
    """A claim: the mean of ``decode(encode(x))`` over generators is x. The contract test measures it."""

    def init(self, size: int) -> C:
        """The state before the first vector: a tree of arrays, or None. It stays with the sender."""
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

"""Noise of a context, derived apart from ``fedmtl.core.context``: in Python's whole numbers, one block after another.

Philox4x32-10 (Salmon et al. SC 2011): ten rounds of
    c <- (hi(M₁ c₂) ⊕ c₁ ⊕ k₀, lo(M₁ c₂), hi(M₀ c₀) ⊕ c₃ ⊕ k₁, lo(M₀ c₀))
with k₀ and k₁ growing by W₀ and W₁ between rounds.
"""

from hashlib import blake2b
from statistics import NormalDist

import numpy as np

from fedmtl.core.random import SERVER
from fedmtl.verify.quadratic import Array

WORD = 2**32


def philox(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """Return the four words of a block."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c0, WORD)
        high1, low1 = divmod(0xCD9E8D57 * c2, WORD)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % WORD, (k1 + 0xBB67AE85) % WORD
    return c0, c1, c2, c3


def _folded(purposes: tuple[str | int, ...]) -> int:
    """Return the hash of everything that was folded into a context, 64 bits."""
    path = 0
    for purpose in purposes:
        text = f"{path} {type(purpose).__name__} {purpose}"
        path = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
    return path


def _server_key(seed: int, round: int) -> tuple[int, ...]:
    """Return the two words of the server's key in a zero-based round."""
    return philox((round, SERVER, 0, 2), (seed % WORD, seed // WORD))[:2]


def server_normals(seed: int, purposes: tuple[str | int, ...], count: int) -> Array:
    """Return what the server's context of the first round draws for these purposes: quantiles, as float32."""
    high, low = divmod(_folded(purposes), WORD)
    key = _server_key(seed, 0)
    words = [word for block in range(-(-count // 4)) for word in philox((block, 0, low, high), key)]
    found = [NormalDist().inv_cdf((word + 0.5) / WORD) for word in words[:count]]
    return np.array(found, np.float32).astype(np.float64)


def server_generator(seed: int, round: int, purposes: tuple[str | int, ...]) -> np.random.Generator:
    """Return the generator of the server's context in a zero-based round, seeded with its key and the folded hash."""
    return np.random.default_rng([*_server_key(seed, round), _folded(purposes)])

"""Parts that the golden checks of codecs share: packets, decoded vectors, and vectors of several kinds."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.verify.check import CheckResult

_DRAW = np.random.default_rng(7)
VECTORS = {
    "Gaussian": _DRAW.standard_normal(2**16),
    "Laplace": _DRAW.laplace(size=2**16),
    "log-normal": _DRAW.lognormal(sigma=1.5, size=2**16),
    "sparse": _DRAW.standard_normal(2**16) * (_DRAW.random(2**16) < 0.02),
}


def packet(codec: Any, x: Any, seed: int = 0) -> bytes:
    """The bytes of a first vector."""
    x = np.asarray(x, np.float32)
    return codec.encode(x, codec.init(x.size), np.random.default_rng(seed))[0]


def coded(codec: Any, x: Any, seed: int = 0) -> NDArray[np.float64]:
    """Return the vector that is decoded of a first one."""
    return codec.decode(packet(codec, x, seed), np.size(x)).astype(np.float64)


def square(x: Any) -> float:
    """‖x‖² in float64."""
    return float(np.sum(np.asarray(x, np.float64) ** 2))


def lost(codec: Any, x: Any, seed: int = 0) -> float:
    """‖x' - x‖² / ‖x‖² of a first vector."""
    x = np.asarray(x, np.float32)
    return square(coded(codec, x, seed) - x) / square(x)


def refused(codec: Any, data: bytes, size: int) -> CheckResult:
    """A packet is refused, by a ValueError."""
    try:
        found = codec.decode(data, size)
    except ValueError:
        return CheckResult("an error", "an error", True)
    return CheckResult("an error", f"{found}", False)


_GAMMA, _MASK = 0x9E3779B97F4A7C15, 2**64 - 1


def splitmix(seed: int, count: int) -> list[int]:
    """Words of 64 bits of a seed, in plain whole numbers: mix(mix(seed + γ) + (i + 1) γ), with mix and γ of SplitMix64
    (Steele, Lea, Flood. OOPSLA 2014)."""

    def mix(z: int) -> int:
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & _MASK
        return z ^ z >> 31

    start = mix((seed + _GAMMA) & _MASK)
    return [mix((start + (i + 1) * _GAMMA) & _MASK) for i in range(count)]

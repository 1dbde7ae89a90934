"""PerLayer: bytes and values of each codec alone."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.codecs import FP16, ErrorFeedback, Int8, TopK
from fedmtl.codecs.layout import layout_of
from fedmtl.verify.check import CheckResult, close, every, same_bits

ARRAYS = [
    ("w/trunk.0.bias", (4,)),
    ("w/trunk.0.weight", (5, 4)),
    ("w/trunk.1.norm", (6,)),
    ("w/trunk.2.bias", (3,)),
    ("w/trunk.2.weight", (4, 8)),
]
LAYOUT = layout_of(ARRAYS)
FIRST, NORM, REST = slice(0, 24), slice(24, 30), slice(30, 65)
X = np.random.default_rng(5).standard_normal(65).astype(np.float32)
ROUNDS = 3


def _bound(cls: Callable[..., Any]) -> Any:
    codec = cls({"trunk.0.*": Int8(block=8), "*norm": FP16()}, default=ErrorFeedback(TopK(0.2)))
    return codec.bind(LAYOUT)


def bytes_are_those_of_the_parts_alone(cls: Callable[..., Any]) -> CheckResult:
    """24 numbers of Int8 in blocks of 8 are 24 + 3 · 4 bytes, 6 of FP16 2 · 6 + 1; of 35, TopK keeps 7 in 4 · 7, two
    bits each of an index in 2, and 7 + ⌊34/4⌋ = 15 bits in 2: 36 + 13 + 32, one after the other."""
    bound = _bound(cls)
    data, _ = bound.encode(X, bound.init(LAYOUT), np.random.default_rng(0))
    return close(len(data), 36 + 13 + 32, atol=0)


def values_are_those_of_the_parts_alone(cls: Callable[..., Any]) -> CheckResult:
    """Three rounds by hand: each codec on its own numbers, with the same generator in turn; the memory of the last one
    goes on. All numbers that are decoded are equal, bit for bit."""
    bound, alone = _bound(cls), ErrorFeedback(TopK(0.2))
    state, memory, results = bound.init(LAYOUT), alone.init(35), []
    for k in range(ROUNDS):
        data, state = bound.encode(X, state, np.random.default_rng(k))
        found, draw = bound.decode(data, 65), np.random.default_rng(k)
        first, _ = Int8(block=8).encode(X[FIRST], None, draw)
        norm, _ = FP16().encode(X[NORM], None, draw)
        rest, memory = alone.encode(X[REST], memory, draw)
        parts = (Int8(block=8).decode(first, 24), FP16().decode(norm, 6), alone.decode(rest, 35))
        results.append(same_bits(found, np.concatenate(parts)))
    return every(*results)


def a_memory_is_of_its_layer(cls: Callable[..., Any]) -> CheckResult:
    """Summed over rounds, what TopK's layer was given is what arrived and what its memory of 35 numbers holds: 3 x."""
    bound, total = _bound(cls), np.zeros(35)
    state = bound.init(LAYOUT)
    for k in range(ROUNDS):
        data, state = bound.encode(X, state, np.random.default_rng(k))
        total += bound.decode(data, 65)[REST]
    return close(total + state[-1][0], ROUNDS * X[REST].astype(np.float64), atol=1e-5)


CHECKS = (bytes_are_those_of_the_parts_alone, values_are_those_of_the_parts_alone, a_memory_is_of_its_layer)

"""``decode`` takes at most twice the vector's memory, on long vectors, where nothing is small beside it."""

import tracemalloc
from typing import Any

import numpy as np

from fedmtl.codecs import FP16, STC, Dense, GolombTopK, PerLayer, PowerSGD, RandK, TopK
from fedmtl.codecs.layout import layout_of
from tests.cases import case
from tests.codecs.test_fuzz import EACH

SIZE = 2**20
HALVES = layout_of([("w/a", (2**9, 2**10)), ("w/b", (2**9, 2**10))])
UNLIKE = layout_of([("w/a", (2**7, 2**10)), ("w/b", (7 * 2**7, 2**10))])


def test_decode_takes_at_most_twice_the_vector() -> None:
    """With sparse codecs that keep much, too, and by layer with parts of equal and of unlike size."""
    x = np.random.default_rng(0).standard_normal(SIZE, np.float32)
    more: list[Any] = [RandK(0.25), RandK(1.0), GolombTopK(0.1), GolombTopK(0.7), STC(0.7), TopK(0.7)]
    for layout in (HALVES, UNLIKE):
        more += [
            PerLayer({"a": one}, default=other).bind(layout)
            for one, other in ((GolombTopK(0.3), Dense()), (FP16(), RandK(0.25)), (STC(0.5), PowerSGD(rank=16)))
        ]
    for codec in [*EACH.values(), *more]:
        data, _ = codec.encode(x, codec.init(SIZE), np.random.default_rng(1))
        codec.decode(data, SIZE)  # tables that are made once
        tracemalloc.start()
        try:
            codec.decode(data, SIZE)
            peak = tracemalloc.get_traced_memory()[1] / (4 * SIZE)
        finally:
            tracemalloc.stop()
        with case(codec):
            assert peak <= 2

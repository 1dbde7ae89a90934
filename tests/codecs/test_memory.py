"""What receivers make takes at most twice its own memory, on long vectors, where nothing is small beside it."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from fedmtl.codecs import EDEN, EF21, FP16, STC, Dense, GolombTopK, Int4, PerLayer, PowerSGD, RandK, TopK
from fedmtl.codecs.layout import layout_of
from fedmtl.protocol.link import Link
from fedmtl.protocol.reference import Reference, ReferenceStep, encode_step, read_body, steps_body
from fedmtl.protocol.spec import spec_of
from tests.cases import case
from tests.codecs.test_fuzz import EACH

SIZE = 2**20
HALVES = layout_of([("w/a", (2**9, 2**10)), ("w/b", (2**9, 2**10))])
UNLIKE = layout_of([("w/a", (2**7, 2**10)), ("w/b", (7 * 2**7, 2**10))])


def peak_of(read: Callable[[], Any]) -> float:
    """The most memory that it takes, in vectors."""
    read()  # tables that are made once
    tracemalloc.start()
    try:
        read()
        return tracemalloc.get_traced_memory()[1] / (4 * SIZE)
    finally:
        tracemalloc.stop()


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
        with case(codec):
            assert peak_of(lambda codec=codec, data=data: codec.decode(data, SIZE)) <= 2


def test_cohorts_and_memories_take_at_most_twice_what_they_become() -> None:
    """Two clients' vectors by layer, in one pass: two vectors. A vector that is its client's next memory, as EF21's is,
    and one beside it: where another codec codes one of the parts."""
    x = np.random.default_rng(0).standard_normal((2, SIZE), np.float32)
    for codec in (PerLayer({"a": FP16()}, FP16()).bind(UNLIKE), PerLayer({"a": Dense()}, Int4()).bind(UNLIKE)):
        data, _ = codec.encode_rows(x, codec.init(UNLIKE), np.random.default_rng)
        with case(codec):
            assert peak_of(lambda codec=codec, data=data: codec.decode_rows(data, SIZE)) <= 2 * 2
    own = PerLayer({"a": EF21()}, EF21())
    for codec, made in (
        (own.bind(UNLIKE), 1),
        (own.bind(HALVES), 1),
        (PerLayer({"b": EF21()}, Int4()).bind(UNLIKE), 2),
    ):
        data, _ = codec.encode(x[0], codec.init(UNLIKE), np.random.default_rng(1))
        with case(codec):
            assert peak_of(lambda codec=codec, data=data: codec.receive(data, x[1])) <= 2 * made


def test_steps_of_a_reference_take_at_most_twice_both_models() -> None:
    """A client holds one model and makes the next: two vectors, of which one is there before. Two steps are decoded one
    after the other, beside the sum so far and the bytes of their packet."""
    x = np.random.default_rng(0).standard_normal(SIZE, np.float32)
    spec = spec_of({"w": {"a": torch.zeros(2**7, 2**10), "b": torch.zeros(7 * 2**7, 2**10)}})
    for codec in (STC(0.05), PerLayer({"a": STC(0.05)}, default=EDEN(2))):
        link = Link(spec, codec)
        code = encode_step(link, x, link.init(), np.random.default_rng(1))[0]
        body, held = steps_body(0, [ReferenceStep(version, code) for version in (1, 2)]), Reference(0, x)
        with case(codec):
            peak = peak_of(lambda link=link, body=body, held=held: read_body(link, body, held, 2))
            assert 1 + peak - len(body) / (4 * SIZE) <= 2 * 2

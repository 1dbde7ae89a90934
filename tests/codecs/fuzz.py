"""Packets that no sender made, for every codec: each is refused, or decoded to finite numbers of the declared shape.

    python -m tests.codecs.fuzz 20000

A packet is a good one with bits flipped, bytes replaced, cut out, put in or off the end; or random bytes, of the right
length or any. Vectors are of 1 to 2^18 numbers, most of them short, in three layers where a codec knows layers. What
reads a packet, ``decode``, or ``receive`` where the receiver has a memory, takes at most twice the memory of what it
makes: a vector, and the next memory.
"""

import json
import sys
import time
import tracemalloc
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from fedmtl.codecs import EF21, QSGD, STC, Chain, Codec, ErrorFeedback, Int8, PerLayer, PowerSGD, TopK
from fedmtl.codecs.layout import as_layout, layout_of
from fedmtl.codecs.transforms import ClipNorm, GaussianNoise
from tests.codecs.codec_list import ALL_CODECS

SIZES = (1, 2, 7, 8, 31, 255, 257, 1000, 4097, 20_000, 2**18)
SLACK = 2**19
"""Bytes beside twice the vector: pieces that are worked on at a time, whatever the size."""


LAYERED: tuple[Any, ...] = (
    PerLayer({"a": STC(0.05), "b": Int8()}, default=QSGD()),
    PerLayer({"a": EF21(TopK(0.1)), "b": EF21(STC(0.05))}, default=Int8()),
    ErrorFeedback(Chain(ClipNorm(1.0), PerLayer({"a": PowerSGD()}, default=STC(0.1)))),
    Chain(ClipNorm(1.0), GaussianNoise(0.1), EF21(PerLayer({"b": TopK(0.1)}, default=STC(0.1)))),
)
"""Codecs with others inside, as deep as they go."""


class Found(NamedTuple):
    packets: int
    refused: int
    most_memory: float
    """The largest ratio of the peak, less ``SLACK``, to the bytes of what is made."""
    slowest: float


def of_layers(codec: Any, size: int) -> Any:
    """The codec of vectors of three layers, as ``Link`` has it; of one that knows no names as it is."""
    if not codec.traits.by_name:
        return codec
    return codec.bind(
        layout_of([("w/a", (size // 8,)), ("w/b", (size // 2,)), ("w/c", (size - size // 8 - size // 2,))])
    )


def damaged(good: bytes, rng: np.random.Generator) -> bytes:
    """Return other bytes."""
    data, kind = bytearray(good), int(rng.integers(7))
    if kind == 0:
        return rng.bytes(len(good))
    if kind == 1:
        return rng.bytes(int(rng.integers(0, 2 * len(good) + 8)))
    if kind == 2:
        return good[: int(rng.integers(0, len(good)))]
    if kind == 3:
        at = int(rng.integers(0, len(good)))
        return good[:at] + rng.bytes(int(rng.integers(1, 9))) + good[at:]
    if kind == 4:
        at = int(rng.integers(0, len(good)))
        return good[:at] + good[at + int(rng.integers(1, 9)) :]
    for _ in range(int(rng.integers(1, 9))):
        at = int(rng.integers(0, min(len(data), 64 if rng.random() < 0.5 else len(data))))
        data[at] = int(rng.integers(256)) if kind == 5 else data[at] ^ 1 << int(rng.integers(8))
    return bytes(data)


def packets(codec: Codec[Any], count: int, seed: int, sizes: Sequence[int]) -> Iterator[tuple[bytes, int]]:
    rng, good = np.random.default_rng(seed), {}
    for size in sizes:
        x = (rng.standard_normal(size) * (rng.random(size) < 0.8)).astype(np.float32)
        one = of_layers(codec, size)
        good[size] = one.encode(x, one.init(as_layout(size)), rng)[0]
    for _ in range(count):
        size = sizes[int(len(sizes) * rng.random() ** 1.5)]
        yield damaged(good[size], rng), size


def fuzz(codec: Codec[Any], count: int, seed: int = 0, sizes: Sequence[int] = SIZES) -> Found:
    """Decode so many packets.

    Raises:
        AssertionError: a packet that ends otherwise, or takes more memory than twice what is made.
    """
    refused, memory, slowest, made = 0, 0.0, 0.0, 1 + codec.traits.receiver_memory
    each = {size: of_layers(codec, size) for size in sizes}
    held = {size: np.ones(size, np.float32) for size in sizes}
    tracemalloc.start()
    try:
        for data, size in packets(codec, count, seed, sizes):
            tracemalloc.reset_peak()
            before, start = tracemalloc.get_traced_memory()[0], time.perf_counter()
            try:
                made_of = each[size].receive(data, held[size]) if made == 2 else [each[size].decode(data, size)]
            except ValueError as error:
                refused += 1
                assert "\n" not in str(error) and len(str(error)) > 20, error
            else:
                for x in made_of:
                    assert x.shape == (size,) and x.dtype == np.float32 and np.isfinite(x).all(), (codec, data, size)
                del made_of
            peak = tracemalloc.get_traced_memory()[1] - before
            slowest, memory = max(slowest, time.perf_counter() - start), max(memory, (peak - SLACK) / (4 * size * made))
            assert memory <= 2, f"{codec!r} takes {peak} bytes for {size} numbers of a packet of {len(data)}"
    finally:
        tracemalloc.stop()
    return Found(count, refused, memory, slowest)


if __name__ == "__main__":
    warnings.simplefilter("error")
    for codec in [*(case.codec for case in ALL_CODECS), *LAYERED]:
        found = fuzz(codec, int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
        print(json.dumps({"codec": repr(codec), **found._asdict()}), flush=True)

"""EDEN: the error of the best levels of a Gaussian number, on vectors of any kind; the mean; the bytes."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.check import CheckResult, below, close, every, same_bits
from fedmtl.verify.ideal_bits import entropy

DRAW = np.random.default_rng(7)
VECTORS = {
    "Gaussian": DRAW.standard_normal(2**16),
    "Laplace": DRAW.laplace(size=2**16),
    "log-normal": DRAW.lognormal(sigma=1.5, size=2**16),
    "sparse": DRAW.standard_normal(2**16) * (DRAW.random(2**16) < 0.02),
}
TABLE = {1: math.pi / 2 - 1, 2: 0.1331, 3: 0.03578, 4: 0.00959}
"""D / (1 - D) with Max's distortions D of 2, 4, 8 and 16 levels (1960, table I): 1 - 2/π, .1175, .03454, .009497."""


def _coded(codec: Any, x: Any, seed: int = 0) -> Any:
    data, _ = codec.encode(x, codec.init(x.size), np.random.default_rng(seed))
    return codec.decode(data, x.size)


def _square(x: Any) -> float:
    return float(np.sum(np.asarray(x, np.float64) ** 2))


def the_error_is_that_of_the_best_levels(eden: Callable[..., Any]) -> CheckResult:
    """NMSE = D / (1 − D), whatever the numbers' distribution, to 6 %: eight blocks of 8,192 numbers, whose sampling
    error is some 1 %; and two, with a shorter and a padded one beside them."""
    results = []
    for bits, expected in TABLE.items():
        for x in VECTORS.values():
            for x32 in (x.astype(np.float32), x[: 16_384 + 3000].astype(np.float32)):
                found = _square(_coded(eden(bits=bits), x32) - x32) / _square(x32)
                results.append(close(found, expected, atol=0.0, rtol=0.06))
    return every(*results)


def what_is_decoded_has_the_right_part_along_the_vector(eden: Callable[..., Any]) -> CheckResult:
    """<x', x> = s <q, R x> = ‖x‖² by the scale s = ‖x‖² / <q, R x>, in every draw, of any size: 1e-30 to 1e30."""
    x = VECTORS["log-normal"][:5000].astype(np.float32)
    results = []
    for bits in TABLE:
        for size in (1e-30, 1.0, 1e30):
            scaled = x * np.float32(size)
            along = float(_coded(eden(bits=bits), scaled).astype(np.float64) @ scaled) / _square(scaled)
            results.append(close(along, 1.0, atol=1e-4))
    return every(*results)


def the_mean_over_rotations_is_the_vector(eden: Callable[..., Any]) -> CheckResult:
    """256 draws of one vector: the mean's squared error is a 256th of one draw's, .5708 with one bit; 1.25 of that
    allows for sampling. A bias of 2 % would be 1.18, which three of the vectors together do not have."""
    results = []
    for name in ("Gaussian", "Laplace", "log-normal"):
        rows = np.repeat(VECTORS[name][None, :1024].astype(np.float32), 256, axis=0)
        codec = eden(bits=1)
        decoded = codec.decode_rows(codec.encode_rows(rows, None, np.random.default_rng)[0], 1024).astype(np.float64)
        results.append(below(_square(decoded.mean(0) - rows[0]) / _square(rows[0]), 1.25 * TABLE[1] / 256))
    return every(*results)


def bytes_are_a_seed_a_scale_a_block_and_the_bits(eden: Callable[..., Any]) -> CheckResult:
    """49,536 = 6 · 8192 + 256 + 128: eight blocks, so 4 + 4 · 8 + bits · 49,536 / 8 bytes. 1,000 numbers are padded to
    1,024, one block: 4 + 4 + bits · 128."""
    x = VECTORS["Gaussian"].astype(np.float32)
    results = []
    for bits in TABLE:
        codec = eden(bits=bits)
        for n, expected in ((49_536, 36 + bits * 6192), (1000, 8 + bits * 128)):
            data, _ = codec.encode(x[:n], codec.init(n), np.random.default_rng(0))
            results.append(close([len(data), codec.num_bytes(n)], [expected, expected], atol=0))
    return every(*results)


def ideal_bits_are_those_of_the_packets_levels(eden: Callable[..., Any]) -> CheckResult:
    """Seed and scale, 64 bits, and N H of the levels, whose bits are planes of N / 8 bytes behind them; N = 256."""
    results = []
    for bits in TABLE:
        codec, x = eden(bits=bits), VECTORS["Gaussian"][:256].astype(np.float32)
        data = np.frombuffer(codec.encode(x, codec.init(256), np.random.default_rng(0))[0], np.uint8)
        levels = np.unpackbits(data[8:].reshape(bits, 32), axis=1).T @ (1 << np.arange(bits))
        results.append(close(codec.ideal_bits(data[None], 256), [64 + entropy(levels)], atol=0.0, rtol=1e-9))
    return every(*results)


def a_cohort_is_coded_as_one_by_one(eden: Callable[..., Any]) -> CheckResult:
    """Three rows with a generator each: the bits of each row are those of that vector alone; one is of zeros, which
    stay zeros."""
    rows = np.stack([VECTORS["Gaussian"][:3000], np.zeros(3000), VECTORS["sparse"][:3000]]).astype(np.float32)
    codec = eden(bits=2)
    found = codec.decode_rows(codec.encode_rows(rows, None, np.random.default_rng)[0], 3000)
    alone = [same_bits(found[k], _coded(codec, rows[k], seed=k)) for k in range(3)]
    return every(close(found[1], np.zeros(3000), atol=0), *alone)


def every_block_has_that_error(eden: Callable[..., Any]) -> CheckResult:
    """More numbers than are coded at a time: of seventeen blocks of 8,192 numbers and two shorter ones, each,
    and of the first and the second half of 1,200 clients' 128 numbers: .1331 with two bits, to 15 %."""
    x = np.concatenate([VECTORS[name] for name in ("Gaussian", "Laplace", "sparse")]).astype(np.float32)
    codec, edges = eden(bits=2), np.cumsum([0, *[8192] * 17, 4096, 2048])
    found = _coded(codec, x[: edges[-1]])
    some = [(found[start:stop], x[start:stop]) for start, stop in zip(edges[:-1], edges[1:], strict=True)]
    rows = x[: 1200 * 128].reshape(1200, 128)
    coded = codec.decode_rows(codec.encode_rows(rows, None, np.random.default_rng)[0], 128)
    some += [(coded[:600], rows[:600]), (coded[600:], rows[600:])]
    return every(*(close(_square(y - one) / _square(one), TABLE[2], atol=0.0, rtol=0.15) for y, one in some))


def the_largest_numbers_stay_finite(eden: Callable[..., Any]) -> CheckResult:
    """From 3e38 a scale, or a number that is decoded, may be beyond float32: it becomes the largest one. The part along
    the vector is then at most 1, and no less than .8 with 4 bits, whose error is 1 % of the vector."""
    x = np.where(VECTORS["Gaussian"][:5000] > 0, 3e38, -3e38).astype(np.float32)
    found = _coded(eden(bits=4), x).astype(np.float64)
    return every(below(float(np.abs(found).max()), 3.41e38), close(found @ x / _square(x), 0.97, atol=0.05))


CHECKS = (
    bytes_are_a_seed_a_scale_a_block_and_the_bits,
    a_cohort_is_coded_as_one_by_one,
    what_is_decoded_has_the_right_part_along_the_vector,
    the_largest_numbers_stay_finite,
    every_block_has_that_error,
    ideal_bits_are_those_of_the_packets_levels,
    the_mean_over_rotations_is_the_vector,
    the_error_is_that_of_the_best_levels,
)

"""CountSketch: tables and medians by the definition, in plain whole numbers, and the error that follows from it."""

import math
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from fedmtl.verify.check import CheckResult, below, close, every
from fedmtl.verify.coded import VECTORS, coded, packet, refused, splitmix, square


def _by_definition(x: list[float], seed: int, tables: int, buckets: int) -> tuple[list[float], list[float]]:
    """All sums, and the median of each number's."""
    n = len(x)
    blocks, whole = math.ceil(n / buckets), math.ceil(n / 64)
    words = splitmix(seed, tables * (blocks + whole))
    bits = [word >> bit & 1 for word in words[tables * blocks :] for byte in range(8) for bit in _of_byte(byte)]
    sums = [[0.0] * buckets for _ in range(tables)]

    def place(table: int, i: int) -> tuple[int, int]:
        shift = words[table * blocks + i // buckets] % buckets
        return (i + shift) % buckets, 1 - 2 * bits[64 * whole * table + i]

    for table in range(tables):
        for i, number in enumerate(x):
            bucket, sign = place(table, i)
            sums[table][bucket] += sign * number
    found = [[sums[table][place(table, i)[0]] * place(table, i)[1] for table in range(tables)] for i in range(n)]
    return [one for table in sums for one in table], [median(each) for each in found]


def _of_byte(byte: int) -> range:
    """The bits of one byte of a word, the highest first, as they are unpacked."""
    return range(8 * byte + 7, 8 * byte - 1, -1)


def tables_and_medians_by_the_definition(count_sketch: Callable[..., Any]) -> CheckResult:
    """Whole numbers, whose sums are exact, in 1, 3 and 5 tables; of 200 numbers with a fraction of .3 three tables have
    20 buckets each, and 60 of 61 numbers have 3 · 20, with a last block of one number. Rows have seeds of their own."""
    results = []
    for n, keep, tables, buckets in (
        (200, 0.3, 3, 20),
        (61, 0.98, 3, 20),
        (100, 0.1, 1, 10),
        (90, 0.25, 5, 5),
        (1, 0.05, 3, 1),
    ):
        codec, x = count_sketch(keep=keep, tables=tables), np.arange(1, n + 1, dtype=np.float32) ** 2
        data = packet(codec, x)
        sums, found = _by_definition(x.tolist(), int(np.frombuffer(data, "<u4", 1)[0]), tables, buckets)
        results.append(close([len(data), codec.num_bytes(n)], [4 + 4 * tables * buckets] * 2, atol=0))
        results.append(close(np.frombuffer(data, "<f4", offset=4), sums, atol=0))
        results.append(close(codec.decode(data, n), found, atol=0))
        rows, _ = codec.encode_rows(np.stack([-x, x]), None, lambda row: np.random.default_rng(1 - row))
        results.append(close(codec.decode_rows(rows, n)[1], found, atol=0))
    infinite = packet(count_sketch(), [1.0])[:-4] + np.array([np.nan], "<f4").tobytes()
    most = float(np.finfo(np.float32).max)
    for seed in range(6):  # the sum of two is 0, or beyond float32, with the sign of both
        large = coded(count_sketch(keep=0.5, tables=1), [most, most], seed)
        results.append(close(large / most, np.sign(np.abs(large)), atol=1e-6))
    return every(*results, refused(count_sketch(), infinite, 1))


def long_vectors(count_sketch: Callable[..., Any]) -> CheckResult:
    """100,000 numbers in one table of 50,000 buckets meet in pairs, one of either half: what is decoded of one is
    itself and the other, with a sign. One half is 0, so that the other arrives whole."""
    x = np.zeros(100_000, np.float32)
    x[:50_000] = np.arange(1, 50_001)
    found = coded(count_sketch(keep=0.5, tables=1), x)
    return every(close(found[:50_000], x[:50_000], atol=0), close(np.sort(np.abs(found[50_000:])), x[:50_000], atol=0))


def the_error_is_that_of_what_a_number_meets(count_sketch: Callable[..., Any]) -> CheckResult:
    """One table: Σ_j x_j² (n - |block of j|) / w, of any vector; 4,096 numbers in 512 buckets meet 7 others each, so
    NMSE = 7. The median of 3 or 5 normal numbers has 1 - √3 / π = .4487, or .2868, of the variance of one: with 3 · 512
    or 5 · 512 buckets 3.141 or 2.008 of Gaussian vectors. Over 60 draws, within 5 standard errors; the mean of them has
    a 60th of it."""
    results = []
    cases = [(1, name, 7.0) for name in VECTORS] + [
        (3, "Gaussian", 7 * (1 - 3**0.5 / math.pi)),
        (5, "Gaussian", 7 * 0.28683),
    ]
    for tables, name, expected in cases:
        x, codec = VECTORS[name][:4096].astype(np.float32), count_sketch(keep=tables / 8, tables=tables)
        found = np.stack([coded(codec, x, seed) for seed in range(60)])
        errors = [square(one - x) / square(x) for one in found]
        results.append(close(np.mean(errors), expected, atol=5 * float(np.std(errors)) / 60**0.5))
        results.append(below(square(found.mean(0) - x) / square(x), 2 * expected / 60))
    return every(*results)


def few_large_numbers_arrive_whole(count_sketch: Callable[..., Any]) -> CheckResult:
    """20 numbers of 4,096, the others 0, in three tables of 410 buckets: one is met in a table with probability 19 /
    410, so in two of the three with .6 %, and the median is then no longer itself. In 20 draws 400 · .0063 = 2.5 are
    expected not to be exact; 12 would be five standard deviations more."""
    x, rng, wrong = np.zeros(4096, np.float32), np.random.default_rng(5), 0
    for seed in range(20):
        x[:] = 0
        x[rng.permutation(4096)[:20]] = rng.standard_normal(20)
        found = coded(count_sketch(keep=0.3, tables=3), x, seed)
        wrong += int((found[x != 0] != x[x != 0]).sum())
    return below(wrong, 12)


CHECKS = (
    tables_and_medians_by_the_definition,
    long_vectors,
    few_large_numbers_arrive_whole,
    the_error_is_that_of_what_a_number_meets,
)

"""The codecs under contract: what each claims of its bytes and of its error.

The errors of Gaussian vectors come from closed forms, written here from the definitions and not from the code:

fp16    A number of the binade [2^e, 2^(e+1)) is off by a uniform part of ±2^(e-11): mean square 2^(2e-20) / 12.
top-k   What is dropped is E[x²; |x| < t] with P(|x| > t) = p. By parts, E[x²; |x| > t] = 2 t φ(t) + p.
int8    The variance is s²/6 with s = max/127, for all but the largest of a block, which is exact; and
        E[max²] = ∫ 2m P(max > m) dm with P(max <= m) = (2 Φ(m) - 1)^block.
blocks  The same, exactly: given the largest, m, the others are normal numbers within ±m, and a number of u steps of
        m / top is off by e(u)² steps: u's distance from a float of 8 bits, or f (1 - f) of a level rounded at random.
bf16    Three bits less than fp16: 4³ times its mean square.
sign    1 - (E|x|)² = 1 - 2/π.
qsgd    With s = √n the step is 1, and E[f (1 - f)] is over |x|.
sketch  A number meets one of each full block but its own, with probability (n - |block|) / w in all, and each adds its
        square; the median of three or five normal numbers has 1 - √3 / π or .28683 of the variance of one.
power   PowerSGD with a random Q of r columns: turn M [m, n] so that Q's are the first r axes. P then spans M's first r
        columns, which arrive whole, and of each of the others, which know nothing of P, r of m parts of the square
        arrive: (1 - r / m) (1 - r / n) is lost. Vectors of 2^12 numbers, as in the test, are 64 x 64.
eden    D / (1 - D) of the best levels, which are found here on a grid: each the mean of the numbers nearest to it.
stc     The mean square of what is left when the kept become ±μ: 1 - p μ² with p μ = E[|x|; |x| > t] = 2 φ(t).
"""

import math
from collections.abc import Callable
from functools import cache
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.codecs import (
    BF16,
    EDEN,
    EF21,
    FP8,
    FP16,
    QSGD,
    STC,
    Chain,
    Codec,
    CountSketch,
    Dense,
    ErrorFeedback,
    GolombTopK,
    Int4,
    Int8,
    PerLayer,
    PowerSGD,
    RandK,
    Sign,
    TernGrad,
    TopK,
)
from fedmtl.codecs.stated import stated_bytes
from fedmtl.registry.components import REGISTRY, make

NORMAL = NormalDist()


class Case(NamedTuple):
    codec: Codec[Any]
    num_bytes: Callable[[int], float]
    """n -> len(encode(x)), whatever x is; where bytes depend on it, the mean of Gaussian vectors."""
    worst: Callable[[NDArray[np.float32]], float]
    """x -> the largest ‖x' - x‖² that the codec may make of it, whatever the chance."""
    gaussian: float
    """E‖x' - x‖² / E‖x‖² of a long standard Gaussian vector."""
    by_size: bool = True
    """The error of a number depends on those near it; else on the whole vector, such as its norm or its largest."""
    keeps_zeros: bool = True
    """A number that is 0 arrives as 0, and a number alone arrives; else only a vector of zeros does."""

    @property
    def fixed(self) -> bool:
        """Whether bytes depend on the size alone."""
        return stated_bytes(self.codec, 1).exact


def gaussian_fp16() -> float:
    return sum(2.0 ** (2 * e - 20) / 12 * 2 * (NORMAL.cdf(2.0 ** (e + 1)) - NORMAL.cdf(2.0**e)) for e in range(-14, 4))


def gaussian_topk(p: float) -> float:
    t = NORMAL.inv_cdf(1 - p / 2)
    return 1 - p - 2 * t * NORMAL.pdf(t)


def gaussian_int8(block: int) -> float:
    m = np.linspace(0, 8, 8001)
    beyond = 1 - np.array([2 * NORMAL.cdf(v) - 1 for v in m]) ** block
    return (1 - 1 / block) * float(np.trapezoid(2 * m * beyond, m)) / (6 * 127**2)


def gaussian_blocks(block: int, top: int, square_error: Callable[[NDArray[Any]], NDArray[Any]]) -> float:
    """(block - 1) / block · ∫ dP(max <= m) E[e(u)² (m / top)² | |x| < m]: the largest itself is exact."""
    m = np.linspace(0.02, 7, 350)
    within = np.array([2 * NORMAL.cdf(v) - 1 for v in m])
    u = (np.arange(6_000) + 0.5) * (top / 6_000)
    error = square_error(u)
    density = np.exp(-((np.outer(m, u) / top) ** 2) / 2) * math.sqrt(2 / math.pi) / 6_000
    given = (density @ error) * m / within * (m / top) ** 2
    return (1 - 1 / block) * float(np.trapezoid(given, within**block))


def random_rounding(u: NDArray[Any]) -> NDArray[Any]:
    return u % 1 * (1 - u % 1)


def float_rounding(fraction: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Of normal numbers; those below them add nothing that counts."""

    def square_error(u: NDArray[Any]) -> NDArray[Any]:
        step = 2.0 ** (np.floor(np.log2(u)) - fraction)
        return (u - np.round(u / step) * step) ** 2

    return square_error


def gaussian_qsgd() -> float:
    x = (np.arange(80_000) + 0.5) / 10_000
    return float(random_rounding(x) @ np.exp(-x * x / 2)) * math.sqrt(2 / math.pi) / 10_000


@cache
def qsgd_bits() -> float:
    """Of a Gaussian number with a step of 1, which becomes k with chance E[(1 - | |x| - k |)+]. For those above 0: the
    gap to the one before, a sign, and k; a whole number v takes 2 floor(log2 v) + 1 bits."""
    x = (np.arange(80_000) + 0.5) / 10_000
    weight = np.exp(-x * x / 2) * math.sqrt(2 / math.pi) / 10_000
    chance = [float(weight @ np.maximum(0, 1 - np.abs(x - k))) for k in range(10)]
    p, gamma = 1 - chance[0], [2 * v.bit_length() - 1 for v in range(400)]
    gap = sum(p * chance[0] ** (v - 1) * gamma[v] for v in range(1, 400))
    return p * (gap + 1) + sum(chance[k] * gamma[k] for k in range(1, 10))


def qsgd_bytes(n: int) -> float:
    chunks = math.ceil(n / 2**14)  # each is filled up to a byte, by half of one on average
    return 8 + 8.5 * chunks + n * qsgd_bits() / 8


def float8_worst(block: int, top: int, fraction: int, least: int, x: NDArray[np.float32]) -> float:
    """Half a step of the number's own binade, and of that of 2^least scales below it."""
    scales = np.repeat([np.abs(x[i : i + block]).max() / top for i in range(0, x.size, block)], block)[: x.size]
    return square(np.maximum(2.0 ** -(fraction + 1) * np.abs(x), 2.0 ** (least - fraction - 1) * scales))


def levels_worst(block: int, top: int, x: NDArray[np.float32]) -> float:
    return square(np.repeat([np.abs(x[i : i + block]).max() / top for i in range(0, x.size, block)], block)[: x.size])


def gaussian_stc(p: float) -> float:
    t = NORMAL.inv_cdf(1 - p / 2)
    return 1 - 4 * NORMAL.pdf(t) ** 2 / p


def gaussian_eden(bits: int) -> float:
    z = (np.arange(9_000) + 0.5) / 1_000
    weight = np.exp(-z * z / 2)
    weight /= weight.sum()
    levels = np.linspace(0.3, 2.5, 2 ** (bits - 1))
    nearest = np.zeros(z.size, np.int64)
    for _ in range(400):
        nearest = np.searchsorted((levels[1:] + levels[:-1]) / 2, z)
        levels = np.bincount(nearest, weight * z) / np.bincount(nearest, weight)
    distortion = float(weight @ (z - levels[nearest]) ** 2)
    return distortion / (1 - distortion)


def eden_bytes(bits: int, n: int) -> int:
    """Blocks of 8192 and then of powers of two down to 128, the last padded: a scale of 4 bytes each, after a seed."""
    padded = math.ceil(n / 128) * 128
    return 4 + 4 * (padded // 8192 + (padded % 8192).bit_count()) + bits * padded // 8


def topk_bytes(keep: float, n: int) -> int:
    k = max(1, math.ceil(round(keep * n, 6)))
    low = math.floor(math.log2(n / k))
    return 4 * k + math.ceil(k * low / 8) + math.ceil((k + (n - 1) // 2**low) / 8)


def topk_worst(keep: float, x: NDArray[np.float32]) -> float:
    return max(0.0, 1 - keep) * square(x)


def randk(keep: float) -> Case:
    """Numbers are n / k - 1 times too large or lost: a mean square of (k / n) (n / k - 1)² + 1 - k / n = n / k - 1."""
    return Case(
        RandK(keep),
        lambda n: 4 + 4 * max(1, math.ceil(round(keep * n, 6))),
        lambda x: max(1.0, (1 / keep - 1) ** 2) * square(x),
        1 / keep - 1,
        False,
        False,
    )


def golomb_topk(keep: float, codec: Codec[Any]) -> Case:
    """The bytes of STC less its head of 8, with 31 more bits a number."""

    def num_bytes(n: int) -> float:
        k = max(1, math.ceil(round(keep * n, 6)))
        return stc_bytes(keep, n) - 8 - k / 8 + 4 * k

    return Case(codec, num_bytes, lambda x: topk_worst(keep, x), gaussian_topk(keep), False)


def stc_bytes(keep: float, n: int) -> float:
    """A sign, b bits and a run of zeros with its end: P(a gap is m or more) = (1 - p)^m, so 1 / (1 - (1 - p)^(2^b))."""
    k = max(1, math.ceil(round(keep * n, 6)))
    if k == n:
        return 8 + math.ceil(k / 8) + math.ceil(k / 8)
    p, b = k / n, math.floor(1 + math.log2(math.log(0.6180339887) / math.log(1 - k / n)))
    return 8 + k / 8 * (1 + b + 1 / (1 - (1 - p) ** 2**b)) + 0.5


def fp16_worst(x: NDArray[np.float32]) -> float:
    top = [np.abs(x[i : i + 256]).max() for i in range(0, x.size, 256)]
    return square(np.maximum(2.0**-11 * np.abs(x), 2.0**-39 * np.repeat(top, 256)[: x.size]))


def fp16_bytes(n: int) -> int:
    return 2 * n + math.ceil(n / 256)


def square(x: NDArray[Any]) -> float:
    """‖x‖² in float64."""
    return float(np.sum(x.astype(np.float64) ** 2))


def topk(keep: float, codec: Codec[Any]) -> Case:
    return Case(codec, lambda n: topk_bytes(keep, n), lambda x: topk_worst(keep, x), gaussian_topk(keep), False)


def eden(bits: int) -> Case:
    return Case(EDEN(bits), lambda n: eden_bytes(bits, n), lambda x: math.inf, gaussian_eden(bits), False, False)


def stc(keep: float, codec: Codec[Any]) -> Case:
    return Case(codec, lambda n: stc_bytes(keep, n), square, gaussian_stc(keep), False)


def int8(block: int, codec: Codec[Any]) -> Case:
    return Case(
        codec, lambda n: n + 4 * math.ceil(n / block), lambda x: levels_worst(block, 127, x), gaussian_int8(block)
    )


def levels(block: int, top: int, numbers_a_byte: int, codec: Codec[Any]) -> Case:
    return Case(
        codec,
        lambda n: math.ceil(n / numbers_a_byte) + 4 * math.ceil(n / block),
        lambda x: levels_worst(block, top, x),
        gaussian_blocks(block, top, random_rounding),
    )


def float8(block: int, top: int, fraction: int, least: int, codec: Codec[Any]) -> Case:
    return Case(
        codec,
        lambda n: n + 4 * math.ceil(n / block),
        lambda x: float8_worst(block, top, fraction, least, x),
        gaussian_blocks(block, top, float_rounding(fraction)),
    )


def sign(codec: Codec[Any]) -> Case:
    return Case(
        codec,
        lambda n: 4 + math.ceil(n / 8),
        lambda x: square(x) - float(np.abs(x).sum(dtype=np.float64)) ** 2 / x.size + 1e-6 * square(x),
        1 - 2 / math.pi,
        by_size=False,
        keeps_zeros=False,
    )


def as_declared(codec: Codec[Any]) -> Case:
    """A codec without closed forms here: bytes as stated, no error where it is lossless, else the error of one draw."""
    x = np.random.default_rng(99).standard_normal(2**14).astype(np.float32)
    data, _ = codec.encode(x, codec.init(x.size), np.random.default_rng(99))
    measured = square(codec.decode(data, x.size).astype(np.float64) - x) / square(x)
    worst = 0.0 if codec.traits.lossless else math.inf
    return Case(codec, lambda n: stated_bytes(codec, n).typical, lambda _: worst, measured)


MEDIAN = {1: 1.0, 3: 1 - math.sqrt(3) / math.pi, 5: 0.28683}
"""Tables -> the variance of the median of so many standard normal numbers."""


def sketch(keep: float, tables: int) -> Case:
    def buckets(n: int) -> int:
        return max(1, math.ceil(round(keep * n, 6) / tables))

    blocks = [min(buckets(2**12), 2**12 - start) for start in range(0, 2**12, buckets(2**12))]
    met = sum(block * (2**12 - block) for block in blocks) / 2**12 / buckets(2**12)
    codec = CountSketch(keep, tables)
    return Case(codec, lambda n: 4 + 4 * tables * buckets(n), lambda x: math.inf, MEDIAN[tables] * met, False, False)


def powersgd_bytes(rank: int, n: int) -> int:
    side = math.isqrt(n)
    columns = n // side
    sent = rank * (side + columns)
    return 4 * (min(sent, side * columns) + n - side * columns)


def powersgd(rank: int, codec: Codec[Any]) -> Case:
    return Case(codec, lambda n: powersgd_bytes(rank, n), square, (1 - rank / 64) ** 2, False, False)


CASES = [
    Case(Dense(), lambda n: 4 * n, lambda x: 0.0, 0.0),
    Case(FP16(), fp16_bytes, fp16_worst, gaussian_fp16()),
    topk(0.05, TopK()),
    topk(0.01, TopK(0.01)),
    topk(0.1, TopK(0.1)),
    topk(0.7, TopK(0.7)),
    int8(256, Int8()),
    int8(32, Int8(block=32)),
    levels(256, 7, 2, Int4()),
    levels(64, 7, 2, Int4(block=64)),
    levels(256, 1, 5, TernGrad()),
    levels(33, 1, 5, TernGrad(block=33)),
    float8(1024, 448, 3, -6, FP8()),
    float8(256, 57344, 2, -14, FP8("e5m2", block=256)),
    Case(BF16(), lambda n: 2 * n + 1, lambda x: square(2.0**-8 * x), 64 * gaussian_fp16()),
    sign(Sign()),
    sign(ErrorFeedback(Sign())),
    Case(QSGD(), qsgd_bytes, lambda x: x.size / max(1, round(x.size**0.5)) ** 2 * square(x), gaussian_qsgd(), False),
    golomb_topk(0.05, GolombTopK()),
    golomb_topk(0.1, ErrorFeedback(GolombTopK(0.1))),
    randk(0.1),
    randk(0.25),
    stc(0.01, STC()),
    stc(0.05, ErrorFeedback(STC(0.05))),
    *map(eden, (1, 2, 3, 4)),
    sketch(0.15, 3),
    sketch(0.25, 1),
    sketch(0.3, 5),
    powersgd(2, PowerSGD()),
    powersgd(4, ErrorFeedback(PowerSGD(rank=4))),
    topk(0.05, ErrorFeedback()),
    topk(0.05, EF21()),
    sign(EF21(Sign())),
    topk(0.1, ErrorFeedback(TopK(0.1))),
    Case(Chain(FP16()), fp16_bytes, fp16_worst, gaussian_fp16()),
    topk(0.2, Chain(ErrorFeedback(TopK(0.2)))),
    int8(64, PerLayer(default=Int8(block=64))),
    topk(0.3, PerLayer({"*": ErrorFeedback(TopK(0.3))})),
    topk(0.15, ErrorFeedback(Chain(PerLayer({"*": TopK(0.15)})))),
    Case(ErrorFeedback(FP16()), fp16_bytes, fp16_worst, gaussian_fp16()),
]

NAMED = {type(case.codec).__name__ for case in CASES}
ALL_CODECS = [*CASES, *(as_declared(make("codec", name)) for name in REGISTRY["codec"] if name not in NAMED)]
"""Every registered codec."""

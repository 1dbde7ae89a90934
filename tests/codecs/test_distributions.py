"""The squared error of codecs that quantise, on vectors that are not Gaussian, against the definition of each.

With x given, the mean error of stochastic rounding is Σ step² f (1 - f), where f is the part of a step above the level
below; that of a cast or a sign is what the definition says, number by number. Here both are in float64, from the
definitions. The mean of S measured errors is then within 5 of its standard errors.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from fedmtl.codecs import BF16, FP8, QSGD, Codec, Int4, Int8, Sign, TernGrad
from tests.codecs.codec_list import square

SIZE = 4096
DRAWS = 40


def update() -> NDArray[np.float32]:
    """What 20 steps change in a network of 4,096 weights and biases, with labels that a few inputs decide."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(256, 30, generator=generator)
    y = (x[:, 0] * x[:, 1] > 0).long() + 2 * (x[:, 2] > 0.5).long()
    model = nn.Sequential(nn.Linear(30, 117), nn.Tanh(), nn.Linear(117, 4))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2, generator=generator)
    before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    steps = torch.optim.SGD(model.parameters(), lr=0.3)
    for _ in range(20):
        steps.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        steps.step()
    return (nn.utils.parameters_to_vector(model.parameters()).detach() - before).numpy()


@cache
def vectors() -> dict[str, NDArray[np.float32]]:
    draw = np.random.default_rng(7)
    sparse = draw.standard_normal(SIZE) * (draw.random(SIZE) < 0.02)
    made = {
        "Gaussian": draw.standard_normal(SIZE),
        "Laplace": draw.laplace(size=SIZE),
        "log-normal": draw.lognormal(sigma=1.5, size=SIZE) * draw.choice([-1, 1], SIZE),
        "sparse": sparse,
        "update": update(),
    }
    return {name: x.astype(np.float32) for name, x in made.items()}


NAMES = ["Gaussian", "Laplace", "log-normal", "sparse", "update"]


def parts(x: NDArray[np.float32], block: int) -> list[NDArray[np.float64]]:
    return [x[i : i + block].astype(np.float64) for i in range(0, x.size, block)]


def rounded_at_random(x: NDArray[np.float64], step: float) -> float:
    f = np.abs(x) / step % 1 if step else np.zeros(1)
    return step**2 * float(f @ (1 - f))


def by_block(top: int, block: int = 256) -> Callable[[NDArray[np.float32]], float]:
    return lambda x: sum(rounded_at_random(part, float(np.abs(part).max()) / top) for part in parts(x, block))


def of_norm(x: NDArray[np.float32]) -> float:
    wide = x.astype(np.float64)
    return rounded_at_random(wide, float(np.linalg.norm(wide)) / round(math.sqrt(x.size)))


def of_sign(x: NDArray[np.float32]) -> float:
    return square(x) - float(np.abs(x).sum(dtype=np.float64)) ** 2 / x.size


def nearest(x: NDArray[np.float64], fraction: int, least: int) -> NDArray[np.float64]:
    """The nearest float of so many bits of fraction and normal numbers from 2^least, in magnitude."""
    step = 2.0 ** (np.maximum(np.floor(np.log2(np.maximum(x, 1e-300))), least) - fraction)
    return np.round(x / step) * step


def of_float8(top: int, fraction: int, least: int) -> Callable[[NDArray[np.float32]], float]:
    def error(x: NDArray[np.float32]) -> float:
        total = 0.0
        for part in parts(x, 1024):
            scale = float(np.float32(np.abs(part).max()) / np.float32(top)) or 1.0
            in_scales = np.abs(part / scale)
            total += square(scale * (nearest(in_scales, fraction, least) - in_scales))
        return total

    return error


def of_bfloat16(x: NDArray[np.float32]) -> float:
    wide = np.abs(x.astype(np.float64))
    return square(nearest(wide, 7, -126) - wide)


CODECS: list[tuple[Codec[Any], Callable[[NDArray[np.float32]], float]]] = [
    (Int8(), by_block(127)),
    (Int4(), by_block(7)),
    (TernGrad(), by_block(1)),
    (QSGD(), of_norm),
    (Sign(), of_sign),
    (FP8(), of_float8(448, 3, -6)),
    (FP8("e5m2"), of_float8(57344, 2, -14)),
    (BF16(), of_bfloat16),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("codec", "expected"), CODECS, ids=lambda value: repr(value) if hasattr(value, "init") else "")
def test_error_is_that_of_the_definition(codec: Codec[Any], expected: Any, name: str) -> None:
    x = vectors()[name]
    draws = DRAWS if codec.traits.unbiased else 1
    errors = []
    for seed in range(draws):
        data, _ = codec.encode(x, codec.init(x.size), np.random.default_rng([3, seed]))
        errors.append(square(codec.decode(data, x.size).astype(np.float64) - x))
    sampling = 5 * float(np.std(errors)) / math.sqrt(draws)
    assert abs(float(np.mean(errors)) - expected(x)) <= sampling + 1e-3 * expected(x)
    assert expected(x) > 0 and sampling <= 0.2 * expected(x)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("levels", [None, 1, 4, 400])
def test_qsgd_is_within_the_bounds_of_its_paper(name: str, levels: int | None) -> None:
    """Lemma 3.1: E‖x' - x‖² <= min(n / s², √n / s) ‖x‖², which the mean error given x is below."""
    x = vectors()[name]
    n, s = x.size, levels or round(math.sqrt(x.size))
    codec = QSGD(levels)
    errors = []
    for seed in range(DRAWS // 4):
        data, _ = codec.encode(x, None, np.random.default_rng([4, seed]))
        errors.append(square(codec.decode(data, n).astype(np.float64) - x) / square(x))
    wide = x.astype(np.float64)
    exact = rounded_at_random(wide, float(np.linalg.norm(wide)) / s) / square(x)
    assert abs(np.mean(errors) - exact) <= 5 * np.std(errors) / math.sqrt(len(errors)) + 1e-4 * exact
    assert exact <= min(n / s**2, math.sqrt(n) / s)

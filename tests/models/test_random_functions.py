"""Random numbers that a module draws in training: of the round's randomness, with torch's distributions."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from fedmtl import Experiment, FedPer, FromModule, Loop, MultiClass, VMap, from_arrays, run
from fedmtl.core.context import context_of
from fedmtl.models.forward import forward
from fedmtl.models.split import build

N = 20_000
DRAWS: dict[str, tuple[Callable[[Tensor], Tensor], float, float]] = {
    "rand": (lambda x: torch.rand(N), 1 / 2, 1 / 12),
    "rand of a size": (lambda x: torch.rand((N // 2, 2)), 1 / 2, 1 / 12),
    "randn": (lambda x: torch.randn(2, N // 2, dtype=torch.float64, device="cpu"), 0, 1),
    "rand of a named size": (lambda x: torch.rand(size=(N,)), 1 / 2, 1 / 12),
    "rand_like": (torch.rand_like, 1 / 2, 1 / 12),
    "rand_like of a type": (lambda x: torch.rand_like(x, dtype=torch.float64), 1 / 2, 1 / 12),
    "randn_like": (torch.randn_like, 0, 1),
    "bernoulli": (lambda x: torch.bernoulli(torch.full_like(x, 0.3)), 0.3, 0.21),
    "bernoulli of one": (lambda x: torch.bernoulli(x, p=0.3), 0.3, 0.21),
    "bernoulli_": (lambda x: torch.empty_like(x).bernoulli_(0.9), 0.9, 0.09),
    "bernoulli_ each": (lambda x: torch.empty_like(x).bernoulli_(torch.full_like(x, 0.9)), 0.9, 0.09),
    "uniform_": (lambda x: torch.empty_like(x).uniform_(-1, 3), 1, 16 / 12),
    "normal_": (lambda x: torch.empty_like(x).normal_(2, std=3), 2, 9),
    "exponential_": (lambda x: torch.empty_like(x).exponential_(2), 1 / 2, 1 / 4),
    "normal": (lambda x: torch.normal(torch.full_like(x, 2), 3), 2, 9),
    "a distribution": (lambda x: Normal(torch.full_like(x, 2), 3, validate_args=False).rsample(), 2, 9),
    "a hard gumbel": (lambda x: nn.functional.gumbel_softmax(x.reshape(2, -1), 2, True, dim=0)[0], 1 / 2, 1 / 4),
    "gumbel": (lambda x: nn.functional.gumbel_softmax(x.reshape(2, -1), dim=0)[0], 1 / 2, 1 / 12),
}
"""What draws, mean and variance; a Gumbel softmax of two equal logits is σ(g₁ − g₂), of a logistic, so uniform."""


class Function(nn.Module):
    """A function of the inputs in training, the inputs in measuring."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x) if self.training else x


@pytest.mark.parametrize("case", DRAWS)
def test_moments_and_randomness(case: str) -> None:
    """The mean within 5 standard errors; the variance within a tenth; the same numbers for the same context alone."""
    function, mean, variance = DRAWS[case]
    state = torch.get_rng_state()

    def drawn(**context: int) -> Tensor:
        return forward(Function(function), {}, torch.zeros(N), context_of(**context), None)[0]

    x = drawn()
    assert abs(float(x.mean()) - mean) < 5 * math.sqrt(variance / x.numel())
    assert float(x.var()) == pytest.approx(variance, rel=0.1)
    assert torch.equal(drawn(), x)
    assert not any(torch.equal(drawn(**{name: 1}), x) for name in ("seed", "round", "client"))
    assert torch.equal(torch.get_rng_state(), state)


class StochasticDepth(nn.Module):
    """Leaves a layer out for some examples (Huang et al. 2016), as torchvision and timm draw it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x + self.layer(x)
        noise = torch.empty([len(x)] + [1] * (x.ndim - 1), dtype=x.dtype, device=x.device)
        return x + self.layer(x) * noise.bernoulli_(0.5).div_(0.5)


def network(layer: nn.Module) -> FromModule:
    torch.manual_seed(0)
    return FromModule(nn.Sequential(nn.Linear(6, 8), layer), trunk=".")


def test_stochastic_depth_is_equal_in_both_engines() -> None:
    rng = np.random.default_rng(0)
    arrays = {
        f"{k}": (rng.standard_normal((5 + k, 6)).astype(np.float32), {"a": np.arange(5 + k) % 3}) for k in range(4)
    }
    data = from_arrays(arrays, {"a": MultiClass(3)})
    layer, plain = nn.Linear(8, 8), FedPer(lr=0.1, epochs=2)

    def state(model: Any, engine: Any) -> dict[str, Tensor]:
        return run(Experiment(data=data, model=model, algorithm=plain, rounds=3, batch_size=4, engine=engine)).state

    found, other = (state(network(StochasticDepth(layer)), engine) for engine in (Loop(), VMap()))
    whole = state(network(Function(lambda x: x + layer(x))), Loop())
    assert all(torch.allclose(other[name], value, atol=1e-6) for name, value in found.items())
    assert not torch.allclose(whole["trunk.0.weight"], found["trunk.0.weight"], atol=1e-3)


class InPlace(nn.Module):
    """Reads what it has drawn into, and not what was returned."""

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.ones_like(x)
        if self.training:
            noise.bernoulli_(0.5)
        return x * noise


def own_generator(x: Tensor) -> Tensor:
    return x + torch.randn(len(x), 1, generator=torch.Generator().manual_seed(1))


def test_numbers_that_are_not_of_the_seed_are_refused() -> None:
    tasks = {"a": MultiClass(3)}
    with pytest.raises(ValueError, match=r"NaN.*returned"):
        build(network(InPlace()), (6,), tasks, 0, False)
    build(network(Function(own_generator)), (6,), tasks, 0, False)  # the same numbers each time
    with pytest.raises(ValueError, match=r"draws random numbers .* if self.training, by dropout layers or torch's"):
        build(network(Function(lambda x: x * torch.randint(2, (len(x), 1)))), (6,), tasks, 0, False)

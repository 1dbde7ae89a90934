"""Models that are to learn different things must not begin alike."""

import torch

from fedmtl.algorithms.common.perturbed_copies import perturbed_copies
from fedmtl.core.context import context_of


def test_each_name_has_noise_of_its_own_scale() -> None:
    """10,000 numbers of 3, and as many of 0.02: s = 0.1 leaves differences with standard deviations 0.3 and 0.002."""
    w = {"trunk.a": torch.full((10_000,), 3.0), "trunk.b": torch.full((10_000,), 0.02)}
    first, second, third = perturbed_copies(w, 3, 0.1, context_of(0))
    assert all(torch.equal(first[name], value) for name, value in w.items())
    for model in (second, third):
        assert abs(float((model["trunk.a"] - 3).std()) - 0.3) < 0.01
        assert abs(float((model["trunk.b"] - 0.02).std()) - 0.002) < 0.0001
    assert not torch.equal(second["trunk.a"], third["trunk.a"])


def test_a_model_that_begins_at_zero_has_noise_too() -> None:
    """Of zeros, noise of their own scale is none: a linear model's clusters or components would stay one for ever."""
    _, second = perturbed_copies({"head.t.w": torch.zeros(10_000)}, 2, 0.1, context_of(0))
    assert abs(float(second["head.t.w"].std()) - 0.1) < 0.003

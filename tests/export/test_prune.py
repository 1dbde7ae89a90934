"""Magnitude pruning against cases worked by hand."""

import pytest
import torch

from fedmtl.export.prune import prune

A = torch.tensor([[1.0, -4.0], [2.0, 0.5]])
B = torch.tensor([[-3.0, 0.1]])
PARAMS = {"trunk.w": A, "trunk.b": torch.tensor([9.0, 0.001]), "head.w": B}


@pytest.mark.parametrize(
    ("keep", "a", "b"),
    [
        (0.5, [[0, -4], [2, 0]], [[-3, 0]]),  # k = 3: 4, 3, 2
        (0.4, [[0, -4], [2, 0]], [[-3, 0]]),  # 2.4 is rounded up
        (1 / 6, [[0, -4], [0, 0]], [[0, 0]]),  # k = 1: the head's weights all go, the threshold is the whole model's
        (5 / 6, [[1, -4], [2, 0.5]], [[-3, 0]]),
        (0.0, [[0, 0], [0, 0]], [[0, 0]]),
    ],
)
def test_the_largest_of_the_model_stay(keep: float, a: list[list[float]], b: list[list[float]]) -> None:
    """The six weights by size: 4, 3, 2, 1, 0.5, 0.1. The vector is no weight, and 0.001 stays."""
    pruned = prune(PARAMS, keep)
    assert list(pruned) == list(PARAMS)
    assert pruned["trunk.w"].tolist() == a and pruned["head.w"].tolist() == b
    assert torch.equal(pruned["trunk.b"], PARAMS["trunk.b"])


def test_everything_kept_is_the_model_to_the_bit() -> None:
    pruned = prune(PARAMS, 1.0)
    assert all(torch.equal(pruned[name], PARAMS[name]) for name in PARAMS)


def test_of_equals_the_first_stay() -> None:
    """k = 2 of four."""
    assert prune({"a": torch.tensor([[1.0, -1.0]]), "b": torch.tensor([[1.0, 1.0]])}, 0.5)["a"].tolist() == [[1, -1]]


def test_a_keep_that_binary_cannot_write_rounds_to_what_it_says() -> None:
    """0.07 · 100 is 7.000000000000001 in binary, and 7 stay."""
    assert int((prune({"w": torch.arange(1.0, 101).reshape(10, 10)}, 0.07)["w"] != 0).sum()) == 7


def test_half_zeros_lose_nothing_at_half() -> None:
    """300 weights of which 150 are exactly 0: the largest half is the other 150, whatever they are."""
    draw = torch.Generator().manual_seed(1)
    weights = torch.zeros(300)
    weights[torch.randperm(300, generator=draw)[:150]] = 1e-6 + torch.rand(150, generator=draw)
    params = {"trunk.w": weights[:180].reshape(6, 30), "head.w": weights[180:].reshape(3, 40)}
    pruned = prune(params, 0.5)
    assert all(torch.equal(pruned[name], params[name]) for name in params)


def test_a_model_of_vectors_has_nothing_to_prune() -> None:
    assert prune({"b": torch.ones(3)}, 0.0)["b"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("keep", [-0.1, 1.1, float("nan"), True])
def test_a_keep_that_is_no_fraction(keep: float) -> None:
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        prune(PARAMS, keep)

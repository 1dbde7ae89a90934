"""Each (seed, round, client, purpose) has its own stream, and it is the only thing that has a say."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from fedmtl.rng import SERVER, rng, torch_seed


def stream(*key: Any) -> tuple[int, ...]:
    return tuple(rng(*key).integers(2**63, size=4).tolist())


def test_the_same_arguments_give_the_same_stream() -> None:
    """Whatever was drawn before, from it or from the global generators."""
    first = stream(3, 1, 4, "batches")
    np.random.seed(0)
    rng(3, 1, 5, "batches").random(100)
    assert stream(3, 1, 4, "batches") == first


@pytest.mark.parametrize(
    "other",
    [(4, 1, 4, "batches"), (3, 2, 4, "batches"), (3, 1, 5, "batches"), (3, 1, 4, "batch"), (3, 1, SERVER, "batches")],
)
def test_every_argument_has_a_say(other: tuple[Any, ...]) -> None:
    """No number of the one stream is in the other, so it is not shifted either."""
    key = (3, 1, 4, "batches")
    a, b = rng(*key).integers(2**63, size=1000), rng(*other).integers(2**63, size=1000)
    assert not set(a.tolist()) & set(b.tolist())
    assert abs(np.corrcoef(rng(*key).standard_normal(10_000), rng(*other).standard_normal(10_000))[0, 1]) < 0.05


def test_no_two_keys_share_a_stream() -> None:
    """Places count: seed 1 of round 2 is not seed 2 of round 1."""
    keys = list(product(range(6), range(6), [*range(6), 2**31, SERVER], ["batches", "up", "down", "cohort", ""]))
    assert len({stream(*key) for key in keys}) == len(keys)


def test_across_clients_draws_are_independent() -> None:
    """4096 clients' first normal numbers: mean 0 and lag-1 correlation 0, variance 1, to 5 standard errors."""
    first = np.array([rng(0, 1, client, "up").standard_normal() for client in range(4096)])
    assert abs(first.mean()) < 5 / 64
    assert abs((first[1:] * first[:-1]).mean()) < 5 / 64
    assert abs(first.var() - 1) < 5 * np.sqrt(2) / 64


@pytest.mark.parametrize(
    ("key", "name"), [((-1, 0, 0), "seed=-1"), ((0, -2, 0), "round=-2"), ((0, 0, -3), "client=-3")]
)
def test_negative_numbers_are_named(key: tuple[int, int, int], name: str) -> None:
    with pytest.raises(ValueError, match=f"non-negative numbers, got {name};"):
        rng(*key, "batches")


def drawn(seed: int, purpose: str) -> list[float]:
    with torch_seed(seed, purpose):
        return torch.rand(4).tolist()


def test_torch_seed_is_of_seed_and_purpose() -> None:
    torch.manual_seed(1)
    first = drawn(5, "trunk")
    torch.manual_seed(2)
    assert drawn(5, "trunk") == first
    assert len({tuple(drawn(seed, purpose)) for seed, purpose in product((5, 6), ("trunk", "head.a"))}) == 4


def test_torch_seed_leaves_no_trace() -> None:
    """Not after an error either."""
    torch.manual_seed(7)
    expected = torch.rand(3).tolist()
    torch.manual_seed(7)
    drawn(0, "trunk")
    with pytest.raises(KeyError), torch_seed(0, "trunk"):
        torch.rand(10)
        raise KeyError
    assert torch.rand(3).tolist() == expected

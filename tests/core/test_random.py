"""Each (seed, round, client, purpose) has its own stream, and it is the only thing that has a say."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from fedmtl.core.random import SERVER, permutations, rng, torch_seed


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


def test_torch_seed_leaves_gpus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.manual_seed seeds them too, and nothing would put them back."""
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("a GPU's generator was seeded"))
    with torch_seed(1, "model"):
        assert torch.rand(1).item() > 0


def orders(seed: int, round: int, clients: list[int], purpose: str, sizes: list[int]) -> list[list[int]]:
    found = permutations(seed, round, np.array(clients), purpose, np.array(sizes))
    assert found.shape == (len(clients), max(sizes))
    return [row[:size] for row, size in zip(found.tolist(), sizes, strict=True)]


def test_permutations_of_a_client_do_not_depend_on_who_else_is_asked() -> None:
    together = orders(3, 1, [4, 9, 0], "batches", [5, 40, 1])
    for client, size, order in zip([4, 9, 0], [5, 40, 1], together, strict=True):
        assert sorted(order) == list(range(size))
        assert orders(3, 1, [client], "batches", [size]) == [order]


def test_every_argument_of_permutations_has_a_say() -> None:
    """A chance of 1/40! that two are equal."""
    key = (3, 1, 4, "batches")
    others = [(4, 1, 4, "batches"), (3, 2, 4, "batches"), (3, 1, 5, "batches"), (3, 1, 4, "test"), key]
    found = [orders(seed, round, [client], purpose, [40])[0] for seed, round, client, purpose in others]
    assert len({tuple(order) for order in found}) == 5


@pytest.mark.parametrize("clients", [np.arange(24_000), 2**20 * np.arange(24_000)], ids=["dense", "strided"])
def test_every_permutation_is_equally_likely(clients: np.ndarray) -> None:
    """24,000 clients, 4! = 24 orders: 1000 of each; χ² has 23 degrees of freedom, within 5 standard deviations √46."""
    found = permutations(0, 1, clients, "batches", np.full(24_000, 4))
    counts = np.bincount(found @ np.array([64, 16, 4, 1]))
    counts = counts[counts > 0]
    assert len(counts) == 24
    assert abs(((counts - 1000) ** 2 / 1000).sum() - 23) < 5 * np.sqrt(46)


def test_the_orders_of_neighbours_are_independent() -> None:
    """Where row 0 of 8 stands, in clients c and c + 1 and in rounds 1 and 2: correlation 0 to 5 standard errors."""
    place = [np.argmin(permutations(0, round, np.arange(10_000), "batches", np.full(10_000, 8)), 1) for round in (1, 2)]
    assert abs(np.corrcoef(place[0][1:], place[0][:-1])[0, 1]) < 0.05
    assert abs(np.corrcoef(place[0], place[1])[0, 1]) < 0.05

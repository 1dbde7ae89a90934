"""Who takes part."""

import math
from typing import Any

import numpy as np
import pytest

from fedmtl.server.sampling import cohort_size, sample


@pytest.mark.parametrize(
    ("cohort", "population", "size"),
    [
        (1, 10, 1),
        (10, 10, 10),
        (1.0, 10, 10),  # a fraction: everyone
        (0.3, 10, 3),
        (0.26, 10, 3),
        (0.24, 10, 2),
        (0.001, 10, 1),  # never nobody
        (1.0, 1, 1),
        (0.5, 10_000, 5_000),
    ],
)
def test_size(cohort: Any, population: int, size: int) -> None:
    assert cohort_size(cohort, population) == size


@pytest.mark.parametrize(
    ("cohort", "message"),
    [
        (11, "at most the federation's 10, got cohort=11; lower it"),
        (0, "at least 1 client, got cohort=0"),
        (-3, "got cohort=-3"),
        (0.0, r"in \(0, 1\], got cohort=0.0; a whole number counts clients"),
        (1.5, "got cohort=1.5"),
        (-0.1, "got cohort=-0.1"),
        (float("nan"), "got cohort=nan"),
        (True, "got True"),
        ("3", "got '3'"),
        (None, "got None"),
    ],
)
def test_refuses(cohort: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cohort_size(cohort, 10)


def test_is_drawn_without_replacement_in_ascending_order() -> None:
    clients = np.array([3, 8, 1, 100, 7, 42])
    for round in range(50):
        cohort = sample(0, round, clients, 4).tolist()
        assert len(set(cohort)) == 4 and set(cohort) <= set(clients.tolist()) and cohort == sorted(cohort)
    assert sample(0, 1, clients, 6).tolist() == sorted(clients)


def test_depends_on_seed_and_round_and_not_on_the_order_of_clients() -> None:
    clients = np.arange(0, 200, 2)
    first = sample(5, 9, clients, 10).tolist()
    shuffled = np.random.default_rng(0).permutation(clients)
    assert sample(5, 9, clients, 10).tolist() == first == sample(5, 9, shuffled, 10).tolist()
    # One of C(100, 10) = 1.7e13 cohorts: two draws that are equal are no accident.
    assert len({tuple(sample(seed, round, clients, 10)) for seed in range(5) for round in range(5)}) == 25


def test_is_uniform() -> None:
    """R draws of m from n: a client is in a draw with chance p = m/n, and being in excludes others, so the counts
    c_i have variance R p (1 − p) and covariances −R p (1 − p)/(n − 1). Hence

        Q = (n − 1)/n Σ (c_i − R p)² / (R p (1 − p))

    is chi-square with n − 1 = 49 degrees of freedom: mean 49, standard deviation √98 = 9.9. Favourites make it
    large, a rota small; 4 standard deviations on both sides are a chance of about 1 in 2000.
    """
    n, m, draws = 50, 10, 1000
    counts = np.zeros(n)
    for round in range(draws):
        counts[sample(1, round, np.arange(n), m)] += 1
    p = m / n
    q = (n - 1) / n * np.sum((counts - draws * p) ** 2) / (draws * p * (1 - p))
    assert counts.sum() == draws * m
    assert abs(q - (n - 1)) < 4 * math.sqrt(2 * (n - 1))


def test_rounds_are_independent() -> None:
    """A client of one round is in the next with chance m/n too: over R rounds, R m²/n = 2000 of them, ±4 √2000."""
    n, m, draws = 50, 10, 1000
    cohorts = [set(sample(1, round, np.arange(n), m)) for round in range(draws + 1)]
    again = sum(len(a & b) for a, b in zip(cohorts, cohorts[1:], strict=False))
    assert abs(again - draws * m * m / n) < 4 * math.sqrt(draws * m * m / n)

"""Sampling of the clients of a round, and sets of clients as ascending arrays."""

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.random import SERVER, rng
from fedmtl.data.roster import Roster


def cohort_size(cohort: int | float, population: int) -> int:
    """Return the number of clients of a round, given as a whole number or a fraction of the population (1.0: all).

    Raises:
        ValueError: more clients than there are, none, or a fraction outside (0, 1].
    """
    if isinstance(cohort, bool) or not isinstance(cohort, (int, float)):
        raise ValueError(f"cohort is a whole number of clients or a fraction in (0, 1], got {cohort!r}.")
    if isinstance(cohort, float):
        if not 0 < cohort <= 1:
            raise ValueError(f"A fraction of clients is in (0, 1], got cohort={cohort}; a whole number counts clients.")
        return max(1, round(cohort * population))
    if cohort < 1:
        raise ValueError(f"A cohort has at least 1 client, got cohort={cohort}.")
    if cohort > population:
        raise ValueError(
            f"A cohort has at least 1 client and at most the federation's {population}, got cohort={cohort}; "
            "lower it, or give the data more clients."
        )
    return cohort


def sample(seed: int, round: int, clients: NDArray[np.int64], size: int, purpose: str = "cohort") -> NDArray[np.int64]:
    """Sample ``size`` clients without replacement, ascending. The same clients in any order give the same cohort."""
    # Looking is cheap where sorting is not: 0.1 against 4 ms for 100,000, in every round.
    ordered = clients if bool((clients[1:] > clients[:-1]).all()) else np.sort(clients)
    if size == len(ordered):
        return ordered
    chosen = rng(seed, round, SERVER, purpose).choice(len(ordered), size=size, replace=False)
    return ordered[np.sort(chosen)]


def measured_clients(roster: Roster, count: int, seed: int) -> NDArray[np.int64]:
    """Return the clients whose models are measured, ascending: ``count``, the same in each round; 0: all."""
    return sample(seed, 0, roster.clients, min(count or len(roster), len(roster)), "evaluate")


def union(some: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the clients that are in either, ascending, without a copy where one holds the other."""
    if not len(others) or (len(some) >= len(others) and _holds(some, others)):
        return some
    return others if not len(some) else np.union1d(some, others)


def _holds(clients: NDArray[np.int64], some: NDArray[np.int64]) -> bool:
    place = np.minimum(np.searchsorted(clients, some), len(clients) - 1)
    return bool((clients[place] == some).all())


def among(clients: NDArray[np.int64], some: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return a mask of the clients, ascending, that are among some of them."""
    found = np.zeros(len(clients), bool)
    found[np.searchsorted(clients, some)] = True
    return found

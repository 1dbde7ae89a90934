"""Loads of workers are about equal in each known round, and each client is on one worker."""

from dataclasses import replace

import numpy as np
import pytest

from fedmtl.data import Synthetic
from fedmtl.runs.experiment import Experiment
from fedmtl.runtime.placement import balance, place_clients
from fedmtl.server.sampling import sample

DATA = Synthetic(clients=60, examples=4, test_examples=1, features=2, rank=1)


def experiment(**changes: object) -> Experiment:
    return Experiment(**{"data": DATA, "cohort": 10, "seed": 3, **changes})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
@pytest.mark.parametrize("cohort", [1, 10, 60, 0.5, 1.0])
def test_each_client_is_on_one_worker_and_no_worker_is_empty(cohort: float, parts: int) -> None:
    found = [some.tolist() for some in place_clients(experiment(cohort=cohort), DATA.load(3), parts)]
    assert sorted(client for some in found for client in some) == list(range(60))
    assert len(found) == parts and all(some and some == sorted(some) for some in found)


def test_the_placement_is_the_same_in_a_longer_run_and_another_with_another_seed() -> None:
    """A resumed run of more rounds finds private state where it was; cohorts follow from the seed."""
    data = DATA.load(3)
    first, longer = (place_clients(experiment(rounds=rounds), data, 2)[0].tolist() for rounds in (2, 500))
    assert first == longer
    first, other = (place_clients(experiment(seed=seed), data, 2)[0].tolist() for seed in (3, 4))
    assert first != other


def most(examples: np.ndarray, cohorts: list[np.ndarray], place: np.ndarray, parts: int) -> list[float]:
    """Return the load of the busiest worker in each round, in units of an equal share."""
    loads = [np.bincount(place[cohort], examples[cohort], parts) for cohort in cohorts]
    return [float(load.max() / load.sum() * parts) for load in loads]


@pytest.mark.parametrize(("parts", "bound"), [(2, 1.02), (4, 1.06)])
def test_known_rounds_are_balanced_better_than_at_random(parts: int, bound: float) -> None:
    """100 of 1,000 clients: at random the busier of two has 50 + 5 √(2/π) = 54, 8 % too many, in the mean."""
    clients, examples = np.arange(1000), np.full(1000, 32.0)
    cohorts = [sample(0, t, clients, 100) for t in range(1, 41)]
    assert np.mean(most(examples, cohorts, clients % parts, parts)) > 1.07
    assert np.mean(most(examples, cohorts, balance(examples, cohorts, parts), parts)) < bound


def test_clients_with_many_examples_are_weighed() -> None:
    """A hundredfold range of sizes: dealt out, the busier of two has 12 % too much."""
    clients = np.arange(1000)
    examples = np.round(np.random.default_rng(0).lognormal(3, 1, 1000)) + 1
    cohorts = [sample(0, t, clients, 100) for t in range(1, 41)]
    assert np.mean(most(examples, cohorts, clients % 2, 2)) > 1.1
    assert np.mean(most(examples, cohorts, balance(examples, cohorts, 2), 2)) < 1.02


def test_where_all_clients_train_the_largest_are_placed_first() -> None:
    """7, 5, 4, 3, 1 on two: 7 + 3 and 5 + 4 + 1, as a greedy choice by size does. In order it would be 12 and 8."""
    assert balance(np.array([7.0, 5, 4, 3, 1]), [], 2).tolist() == [0, 1, 1, 0, 1]


def test_more_rounds_than_are_considered_and_clients_of_none_of_these() -> None:
    many = replace(DATA, clients=3000)
    found = place_clients(experiment(data=many, cohort=2), many.load(3), 2)
    assert sum(map(len, found)) == 3000 and abs(len(found[0]) - 1500) < 10

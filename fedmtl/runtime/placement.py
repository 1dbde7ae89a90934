"""Placement of clients on workers, which gives all workers about the same load in each round.

A client stays on the worker with its data and private state, and a round lasts as long as its busiest worker. With
every other client on one of two workers, the busier one has on average 54 of a random cohort of 100, and the round
takes 8 % longer than necessary. But cohorts follow from the seed, so the first rounds are known beforehand:

    Φ = Σ_t Σ_p L_tp²,    L_tp the examples that worker p trains on in round t                        (1)

is least for equal loads. Clients are placed one after the other, the largest first, where (1) grows least, and then
moved, twice, to where it is least. One row of (1) is a round of all clients, as when all are measured.
"""

from functools import reduce

import numpy as np
from numpy.typing import NDArray

from fedmtl.data.base import Federation
from fedmtl.runs.experiment import Experiment
from fedmtl.server.sampling import cohort_size, sample

ROUNDS = 100
"""Most rounds that are considered; loads of later rounds are random."""

REQUESTS = 50_000
"""Most clients times rounds that are considered: half a second."""


def place_clients(experiment: Experiment, federation: Federation, parts: int) -> list[NDArray[np.int64]]:
    """Return the clients of each worker, ascending; a function of the data, the seed and the cohort alone."""
    clients = federation.ids()
    size = cohort_size(experiment.cohort, len(clients))
    rounds = 0 if size == len(clients) else min(ROUNDS, max(REQUESTS // size, 1))
    cohorts = [np.searchsorted(clients, sample(experiment.seed, t, clients, size)) for t in range(1, rounds + 1)]
    place = balance(federation.sizes[:, 0].astype(np.float64), cohorts, parts)
    return [clients[place == part] for part in range(parts)]


def balance(examples: NDArray[np.float64], cohorts: list[NDArray[np.int64]], parts: int) -> NDArray[np.int64]:
    """Return the worker of each of K clients, [K].

    Args:
        examples: of each client.
        cohorts: rows of the clients of each known round.
        parts: number of workers.
    """
    count, all_clients = len(examples), len(cohorts)
    largest_first = np.lexsort((np.arange(count), -examples))
    trains = np.zeros(count, bool)
    for cohort in cohorts:
        trains[cohort] = True
    known, idle = largest_first[trains[largest_first]], largest_first[~trains[largest_first]]
    if not cohorts and (examples != examples[:1]).any():
        known, idle = idle, known
    place = np.zeros(count, np.int64)
    place[idle] = np.arange(len(idle)) % parts  # clients of later rounds, if any: dealt out
    load = np.zeros((all_clients + 1, parts))
    load[all_clients] = np.bincount(place[idle], examples[idle], minlength=parts)
    rounds = {k: [load[all_clients]] for k in known.tolist()}  # rows of load, found once and changed in place
    for t, cohort in enumerate(cohorts):
        for k in cohort.tolist():
            rounds[k].append(load[t])
    for moved in (False, True, True) if cohorts else (False,):
        for k, n in zip(known.tolist(), examples[known].tolist(), strict=True):
            if moved:
                for line in rounds[k]:
                    line[place[k]] -= n
            best = reduce(np.add, rounds[k]).argmin()  # there (1) grows by 2 n_k Σ_t L_tp, and a constant
            for line in rounds[k]:
                line[best] += n
            place[k] = best
    return place

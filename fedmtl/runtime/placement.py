"""Which worker hosts which client, so that in each round all workers have about as much to do.

A client stays where its data and private state are, and a round lasts as long as the worker that has most to do. With
every other client on one of two workers, of a cohort of 100 drawn at random one has 54 in the mean, and the round takes
8 % longer than it need. But who trains when follows from the seed, so the first rounds are known beforehand:

    Φ = Σ_t Σ_p L_tp²,    L_tp the examples that worker p trains on in round t                        (1)

is least where loads are equal. Clients are placed one after the other, the largest first, where (1) grows least, and
then moved, twice, to where it is least. One row of (1) is a round of everybody, as when all are measured.
"""

from functools import reduce

import numpy as np
from numpy.typing import NDArray

from fedmtl.data.base import Federation
from fedmtl.runs.experiment import Experiment
from fedmtl.server.sampling import cohort_size, sample

ROUNDS = 100
"""Rounds that are looked at, at most; later cohorts meet clients in another mix, and chance."""

VISITS = 50_000
"""Clients times rounds that are looked at: half a second."""


def homes(experiment: Experiment, federation: Federation, parts: int) -> list[NDArray[np.int64]]:
    """The clients of each worker, ascending. It depends on the data, the seed and the cohort, and on no run so far."""
    clients = federation.ids()
    size = cohort_size(experiment.cohort, len(clients))
    rounds = 0 if size == len(clients) else min(ROUNDS, max(VISITS // size, 1))
    cohorts = [np.searchsorted(clients, sample(experiment.seed, t, clients, size)) for t in range(1, rounds + 1)]
    place = places(federation.sizes[:, 0].astype(np.float64), cohorts, parts)
    return [clients[place == part] for part in range(parts)]


def places(examples: NDArray[np.float64], cohorts: list[NDArray[np.int64]], parts: int) -> NDArray[np.int64]:
    """The worker of each of K clients, [K].

    Args:
        examples: of each client.
        cohorts: rows of the clients of each round that is known.
        parts: how many workers.
    """
    count, everybody = len(examples), len(cohorts)
    largest_first = np.lexsort((np.arange(count), -examples))
    trains = np.zeros(count, bool)
    for cohort in cohorts:
        trains[cohort] = True
    known, idle = largest_first[trains[largest_first]], largest_first[~trains[largest_first]]
    if not cohorts and (examples != examples[:1]).any():
        known, idle = idle, known
    place = np.zeros(count, np.int64)
    place[idle] = np.arange(len(idle)) % parts  # who trains later, if at all: dealt out
    load = np.zeros((everybody + 1, parts))
    load[everybody] = np.bincount(place[idle], examples[idle], minlength=parts)
    rounds = {k: [load[everybody]] for k in known.tolist()}  # rows of load: looked up once, and changed in place
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

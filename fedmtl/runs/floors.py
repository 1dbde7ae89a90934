"""The floor of each task: the best constant prediction from all clients' training labels, on their test examples."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from fedmtl.data.base import Federation
from fedmtl.data.joined import Joined
from fedmtl.metrics.constant import constant_sums

LabelArrays = Iterator[NDArray[np.float32]]


def floors(federation: Federation, measured: NDArray[np.int64]) -> dict[str, dict[str, float]]:
    """Task -> value and score of its floor; without tasks that have none.

    Args:
        federation: all clients.
        measured: those whose test examples count, ascending.
    """
    found = {}
    for name, task in federation.tasks.items():
        train, test = (list(labels(federation, name)) for labels in (_all_train, _test_of(measured)))
        if not train or not test:
            continue
        sums = constant_sums(task, np.concatenate(train), np.concatenate(test))
        if sums is not None and sums[0] > 0:
            found[name] = {"value": float(task.metric(sums)), "score": float(task.score(sums))}
    return found


def _all_train(federation: Federation, task: str) -> LabelArrays:
    if isinstance(federation.clients, Joined):
        for table in federation.clients.tables:
            if task in table.owned:
                yield table.train.y[task][table.train.numbers()]
    else:
        yield from (data.train.y[task] for data in federation.clients.values() if task in data.train.y)


def _test_of(measured: NDArray[np.int64]) -> Callable[[Federation, str], LabelArrays]:
    def labels(federation: Federation, task: str) -> LabelArrays:
        if isinstance(federation.clients, Joined):
            for table in federation.clients.tables:
                if task in table.owned:
                    rows = table.test.select(np.isin(table.clients, measured))
                    yield rows.y[task][rows.numbers()]
        else:
            for client in measured.tolist():
                data = federation.clients[client]
                if task in data.test.y:
                    yield data.test.y[task]

    return labels

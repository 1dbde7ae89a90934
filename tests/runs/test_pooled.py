"""A run of Pooled: the data lie at the server, so clients send them once, never train, and are measured as ever."""

from collections import Counter
from typing import Any

import numpy as np

from fedmtl.algorithms import FedAvg, Pooled
from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.run_experiment import run
from fedmtl.runs.result import Result
from tests.toys import ALIKE, experiment

CLIENTS, ROUNDS = ALIKE.clients, 3


def pooled(**changes: Any) -> Result:
    return run(experiment(**{"algorithm": Pooled(lr=0.05, epochs=1), "batch_size": 0, "data": ALIKE, **changes}))


def test_raw_data_is_sent_once_and_nothing_else_for_training() -> None:
    """A packet holds its client's numbers and, for three arrays at most, 300 bytes each of names and checksums."""
    federation, result = ALIKE.load(0), pooled(cohort=2, up_codec="TopK(keep=0.5)")
    raw = [row for row in result.ledger if row["purpose"] == "raw_data"]
    assert [(row["round"], row["client"], row["direction"]) for row in raw] == [(1, k, "up") for k in range(CLIENTS)]
    for row in raw:
        train = federation.clients[row["client"]].train
        held = train.x.nbytes + sum(labels.nbytes for labels in train.y.values())
        assert held < row["packet_bytes"] < held + 32 + 3 * 300
    assert Counter(row["purpose"] for row in result.ledger) == {
        "raw_data": CLIENTS,
        "evaluate": 2 * CLIENTS * (ROUNDS + 1),  # down and up, of each version
    }
    total = sum(row["packet_bytes"] for row in raw)
    assert result.summary["bytes"]["train"] == {"up": total, "down": 0, "total": total}


def test_each_client_is_measured_on_its_own_tasks() -> None:
    federation, result = ALIKE.load(0), pooled()
    found = sorted((row["round"], row["client"], row["task"]) for row in result.rows if row["client"] is not None)
    tasks = {client: sorted(data.tasks) for client, data in federation.clients.items()}
    assert found == [(r, k, task) for r in range(ROUNDS + 1) for k in range(CLIENTS) for task in tasks[k]]


def test_cohort_codec_and_place_have_no_effect() -> None:
    """No client trains and no upload is coded; nodes send packets, whatever their number."""
    expected = pooled().summary["digests"]
    assert pooled(cohort=2).summary["digests"] == expected
    assert pooled(up_codec="TopK(keep=0.5)").summary["digests"] == expected
    nodes = experiment(algorithm=Pooled(lr=0.05, epochs=1), batch_size=0, data=ALIKE, runtime="Ray(workers=3)")
    assert run(nodes, in_process=True).summary["digests"] == expected


def test_it_is_one_client_with_the_union() -> None:
    """Full batches, so that the order of examples, which each draws for itself, changes rounding only."""
    federation = ALIKE.load(0)
    parts = [federation.clients[k].train for k in range(CLIENTS)]
    labels = {
        name: np.concatenate([part.y.get(name, np.full(len(part.x), np.nan, np.float32)) for part in parts])
        for name in federation.tasks
    }
    union = Split(np.concatenate([part.x for part in parts]), labels)
    one = Federation(federation.tasks, federation.input_shape, {0: ClientData(union, union)})
    algorithm = FedAvg(lr=0.05, epochs=1)
    alone = run(experiment(algorithm=algorithm, batch_size=0, data=ALIKE), federation=one).state
    found, begun = pooled().state, experiment().make_plan(federation).initial
    assert found.keys() == alone.keys()
    assert max(float((found[name] - alone[name]).abs().max()) for name in found) < 1e-6
    assert max(float((found[name] - begun[name]).abs().max()) for name in found) > 1e-3

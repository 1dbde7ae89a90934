"""Every algorithm over every engine, on Ray: 12 clients, four kinds of task, two head sizes."""

from typing import Any

import pytest

from fedmtl.algorithms import Algorithm
from fedmtl.core.trees import tree_leaves
from fedmtl.run_experiment import run
from fedmtl.runs.result import Result
from tests.conftest import ALL_ALGORITHMS
from tests.runtime.every import experiment

CLIENTS = 12
"""Three clients of each kind of task."""


def scores(result: Result) -> list[float]:
    """Return the scores of every client and task at the end, in order."""
    rows = [row for row in result.rows if row["round"] == 2]
    return [row["score"] for row in sorted(rows, key=lambda row: (row["task"], row["client"] is None, row["client"]))]


@pytest.mark.parametrize("algorithm", ALL_ALGORITHMS, ids=repr)
def test_ray_and_both_engines_agree(algorithm: Algorithm[Any, Any]) -> None:
    """The loop on Ray has the local loop's bits; stacked clients are within 1e-4 of them; ledgers are equal."""
    short: Any = {
        "clients": CLIENTS,
        "cohort": 6,
        "batch_size": 6,
        "evaluate_every": 2,
    }  # one batch, measured at both ends
    local = run(experiment(algorithm, **short))
    assert len({row["task"] for row in local.rows}) == 4 and len({row["client"] for row in local.rows}) == CLIENTS + 1
    ray = run(experiment(algorithm, **short, runtime="Ray(workers=2)"))
    assert ray.summary["digests"] == local.summary["digests"]
    stacked = run(experiment(algorithm, **short, runtime="Ray(workers=2)", engine="vmap"))
    assert stacked.summary["digests"]["ledger"] == local.summary["digests"]["ledger"]
    for one, other in zip(tree_leaves(stacked.state), tree_leaves(local.state), strict=True):
        assert one.sub(other).abs().max() < 1e-4
    assert scores(stacked) == pytest.approx(scores(local), abs=0.3, nan_ok=True)  # one example of four may tip over

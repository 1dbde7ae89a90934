"""Every algorithm over every engine, on Ray, and over every codec: 50 clients, four kinds of task, two head sizes."""

from dataclasses import replace
from typing import Any

import pytest

from fedmtl.algorithms import Algorithm, Mocha
from fedmtl.codecs import FP16, Codec, Dense, ErrorFeedback, Int8, TopK
from fedmtl.core.trees import tree_leaves
from fedmtl.data import Synthetic
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.result import Result
from tests.conftest import ALL_ALGORITHMS, tiny_model

DATA = Synthetic(clients=50, examples=6, test_examples=4, features=4, rank=2, classes=3, kind="mixed", tasks=4)
"""Client c owns the task c mod 4 of multiclass (3 outputs), binary (1), regression (1) and multilabel."""

each_algorithm = pytest.mark.parametrize("algorithm", ALL_ALGORITHMS, ids=repr)


BINARY = replace(DATA, kind="binary")


def experiment(algorithm: Algorithm[Any, Any], **settings: Any) -> Experiment:
    model = tiny_model(algorithm)  # MOCHA has a linear model, for yes or no; FedBN one with norm layers
    values: dict[str, Any] = {
        "name": "every",
        "data": BINARY if isinstance(algorithm, Mocha) else DATA,
        "model": model,
        "algorithm": algorithm,
        "rounds": 2,
        "cohort": 20,
        "batch_size": 4,
        "engine": "loop",
        "runtime": "local",
        **settings,
    }
    return Experiment(**values)


def scores(result: Result) -> list[float]:
    """Of every client and task at the end, in order."""
    rows = [row for row in result.rows if row["round"] == 2]
    return [row["score"] for row in sorted(rows, key=lambda row: (row["task"], row["client"] is None, row["client"]))]


@each_algorithm
def test_ray_and_both_engines_agree(algorithm: Algorithm[Any, Any]) -> None:
    """The loop on Ray has the local loop's bits; stacked clients are within 1e-4 of them; ledgers are equal."""
    local = run(experiment(algorithm))
    assert len({row["task"] for row in local.rows}) == 4 and len({row["client"] for row in local.rows}) == 51
    ray = run(experiment(algorithm, runtime="ray", workers=2))
    assert ray.summary["digests"] == local.summary["digests"]
    stacked = run(experiment(algorithm, runtime="ray", workers=2, engine="vmap"))
    assert stacked.summary["digests"]["ledger"] == local.summary["digests"]["ledger"]
    for one, other in zip(tree_leaves(stacked.state), tree_leaves(local.state), strict=True):
        assert one.sub(other).abs().max() < 1e-4
    assert scores(stacked) == pytest.approx(scores(local), abs=0.3, nan_ok=True)  # one example of four may tip over


@each_algorithm
@pytest.mark.parametrize(
    "codec", [FP16(), Int8(), TopK(keep=0.3), ErrorFeedback(codec=TopK(keep=0.3)), Dense()], ids=repr
)
def test_it_composes_with_every_codec(algorithm: Algorithm[Any, Any], codec: Codec[Any]) -> None:
    """Up and down where the codec may go down; a pair that cannot be is refused before the run, with the reason."""
    try:
        result = run(experiment(algorithm, up_codec=codec))
    except ValueError as error:
        assert type(algorithm).__name__ in str(error) or "codec" in str(error)
        assert "use" in str(error) or "give" in str(error)
        return
    assert result.summary["bytes"]["train"]["total"] >= 0
    assert all(row["value"] is not None for row in result.rows if row["examples"])

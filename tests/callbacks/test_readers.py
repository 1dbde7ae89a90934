"""What dashboards hold, read back with their own readers, is what the run measured and sent: every task and client."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmtl.analysis.log import log_runs
from fedmtl.callbacks.mlflow import MLflow
from fedmtl.callbacks.tensorboard import TensorBoard
from fedmtl.run_experiment import run
from fedmtl.runs.result import Result
from tests.callbacks.tiny import Stop, byte_curves, curves, experiment, measure_curves, stop_after, training_curves

Curves = dict[str, list[tuple[int, float]]]


@pytest.fixture(autouse=True)
def _no_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of MLflow with its tables, which take it a second to make, and nothing else."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    in_mlflow(f"sqlite:///{path}", number=0)
    return path


def copied(empty: Path, folder: Path) -> str:
    """The address of a store of one's own."""
    shutil.copy(empty, folder / "mlflow.db")
    return f"sqlite:///{folder}/mlflow.db"


def in_tensorboard(folder: Path) -> Curves:
    """By TensorBoard's reader, in float32; more than 10,000 points of a curve would be sampled."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (file,) = folder.rglob("events.out.tfevents.*")
    events = accumulator.EventAccumulator(str(file.parent)).Reload()
    return {tag: [(each.step, each.value) for each in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def in_mlflow(uri: str, number: int = 1) -> list[tuple[Any, Curves]]:
    """By MLflow's client: each run of its store, and its curves."""
    client = pytest.importorskip("mlflow.tracking").MlflowClient(uri)
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    assert len(runs) == number
    found = []
    for each in runs:
        keys = each.data.metrics
        history = {key: client.get_metric_history(each.info.run_id, key) for key in keys}
        found.append((each, {key: sorted((one.step, one.value) for one in some) for key, some in history.items()}))
    return found


def check(found: Curves, result: Result, kind: Any = float) -> None:
    """All curves of the rows and of the ledger are there, with these steps and values, and no other."""
    wanted = curves(result.rows) | byte_curves(result.ledger) | measure_curves(result.measures)
    wanted |= training_curves(result.training)
    assert len([tag for tag in wanted if tag.endswith("/accuracy")]) == 3
    measured = {
        tag: points for tag, points in found.items() if not tag.startswith(("final/", "seconds/", "mean_score"))
    }
    assert measured == {tag: [(step, float(kind(value))) for step, value in points] for tag, points in wanted.items()}


def test_tensorboard_live(tmp_path: Path) -> None:
    result = run(experiment(), tmp_path / "run", callbacks=["TensorBoard"])
    found = in_tensorboard(tmp_path / "run")
    check(found, result, np.float32)
    assert [step for step, _ in found["mean_score"]] == [0, 1, 2, 3]
    assert found["final/mean_score"] == [(3, float(np.float32(result.summary["mean_score"])))]
    spent = [row for row in result.rows if row["client"] is None and row["seconds"] is not None]
    assert [step for step, _ in found["seconds/train"]] == sorted({row["round"] for row in spent})


def test_tensorboard_after_the_fact(tmp_path: Path) -> None:
    """With a folder of its own for each run where one is given."""
    result = run(experiment(), tmp_path / "run")
    for _ in range(2):
        assert list(log_runs([tmp_path], [TensorBoard(logdir=str(tmp_path / "events"))])) == [tmp_path / "run"]
    check(in_tensorboard(tmp_path / "events"), result, np.float32)


def test_tensorboard_of_a_run_in_memory(tmp_path: Path) -> None:
    result = run(experiment(), callbacks=[TensorBoard(logdir=str(tmp_path))])
    check(in_tensorboard(tmp_path), result, np.float32)


def test_mlflow_live_and_again(tmp_path: Path) -> None:
    """In a store that is made with the first run."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    result = run(experiment(), tmp_path / "run", callbacks=[MLflow(uri)])
    (entry, found), *_ = in_mlflow(uri)
    check(found, result)
    assert entry.info.status == "FINISHED" and entry.info.run_name == "run"
    assert entry.data.params["algorithm.name"] == "FedPer" and entry.data.params["rounds"] == "3"
    assert entry.data.tags["fedmtl.digest.rows"] == result.summary["digests"]["rows"]
    list(log_runs([tmp_path / "run"], [MLflow(uri)]))
    assert [some for _, some in in_mlflow(uri)] == [found]


def test_mlflow_after_the_fact(tmp_path: Path, empty: Path) -> None:
    uri = copied(empty, tmp_path)
    results = [run(experiment(f"seed={seed}"), tmp_path / "runs" / str(seed)) for seed in (0, 1)]
    list(log_runs([tmp_path / "runs"], [MLflow(uri, experiment="both")]))
    for entry, found in in_mlflow(uri, number=2):
        check(found, results[int(entry.data.params["seed"])])


@pytest.mark.parametrize("before", [True, False], ids=["logged from the start", "logged since the resume"])
def test_resume_writes_no_row_twice(tmp_path: Path, empty: Path, before: bool) -> None:
    uri = copied(empty, tmp_path)
    both = [MLflow(uri), "TensorBoard"]
    with pytest.raises(Stop):
        run(experiment(), tmp_path / "run", on_round=stop_after(2), callbacks=both if before else [])
    if before:
        ((entry, _),) = in_mlflow(uri)
        assert entry.info.status == "KILLED"
    result = run(experiment(), tmp_path / "run", resume=True, callbacks=both)
    check(in_tensorboard(tmp_path / "run"), result, np.float32)
    ((entry, found),) = in_mlflow(uri)
    check(found, result)
    assert entry.info.status == "FINISHED"


def test_what_diverged_is_not_a_number() -> None:
    """A client's row without a labelled example has no point."""
    from fedmtl.callbacks.scalars import scalars

    row = {"round": 1, "client": None, "task": "a", "metric": "mse", "value": None, "score": None, "examples": 3}
    row |= {"higher_is_better": False, "seconds": None, "part": "test"}
    tags = {each.tag: each.value for each in scalars("rounds", [row, {**row, "client": 0, "examples": 0}])}
    assert list(tags) == ["a/mse", "mean_score"] and all(map(math.isnan, tags.values()))

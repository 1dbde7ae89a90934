"""What a run brings: rows, ledger, summary, files; each recomputed here from what lies below it."""

import hashlib
import json
import math
import platform
import struct
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fedmtl.algorithms import FedAvg, FedPer, FedRep, Local, Pooled
from fedmtl.codecs import FP16, ErrorFeedback, Int8, TopK
from fedmtl.core.file_format import FORMAT
from fedmtl.data import ClientData, Federation, Split, Synthetic
from fedmtl.models import MLP
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment, from_dict
from fedmtl.runs.progress import Progress
from fedmtl.runs.result import Result
from fedmtl.tasks.regression import Regression
from tests import toys
from tests.toys import mixed

DATA = mixed(clients=80, test_examples=5, classes=3, tasks_per_client=1, noise=0.5, ragged=True)
"""Client c owns the task c mod 4 of multiclass_0, binary_1, regression_2, multilabel_3: 20 clients a task."""

TASKS = ["multiclass_0", "binary_1", "regression_2", "multilabel_3"]
KEYS = ["round", "client", "task", "metric", "value", "score", "higher_is_better", "examples", "seconds", "part"]
METRICS = {
    "multiclass_0": ("accuracy", True),
    "binary_1": ("accuracy", True),
    "regression_2": ("rmse", False),
    "multilabel_3": ("f1", True),
}
SIGMA = math.hypot(1.0, 0.5)
"""Standard deviation of regression labels: signal 1, noise 0.5."""


def experiment(**changes: Any) -> Experiment:
    values: dict[str, Any] = {
        "name": "small",
        "data": DATA,
        "algorithm": FedPer(lr=0.05, epochs=1),
        "cohort": 0.5,
        "evaluate_every": 2,
        "engine": "VMap",
    }
    return toys.experiment(**{**values, **changes})


def strict(text: str) -> dict[str, Any]:
    """JSON that any reader takes: no NaN and no Infinity."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def lines(path: Path) -> list[dict[str, Any]]:
    """Rows of a file of lines of JSON, whose last field is the file format."""
    rows = [strict(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [(list(row)[-1], row.pop("format")) for row in rows] == [("format", FORMAT)] * len(rows)
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs") / "deep" / "one"


@pytest.fixture(scope="module")
def progress() -> list[Progress]:
    return []


@pytest.fixture(scope="module")
def result(folder: Path, progress: list[Progress]) -> Result:
    """Four calls: rounds 1 to 3 and the last measurement. The models after 0, 2 and 3 rounds are measured."""
    return run(experiment(), folder, on_round=progress.append)


def cohort(result: Result, round: int) -> set[int]:
    return {r["client"] for r in result.ledger if (r["round"], r["purpose"], r["direction"]) == (round, "train", "up")}


def test_a_result_is_a_line_without_its_tensors(result: Result) -> None:
    text, total = repr(result), sum(row["packet_bytes"] for row in result.ledger)
    assert text.startswith(f"Result({result.summary['label']!r}, {{") and f" {total:,} bytes, folder=" in text
    assert all(f"{task}': '{METRICS[task][0]} " in text for task in TASKS) and len(text) < 400
    assert "tensor" not in text and "\n" not in text


# Rows


def test_there_is_one_row_for_each_round_client_and_task_and_one_over_all_clients(result: Result) -> None:
    expected = [(round, client, TASKS[client % 4]) for round in (0, 2, 3) for client in range(80)]
    expected += [(round, None, task) for round in (0, 2, 3) for task in TASKS]
    found = [(row["round"], row["client"], row["task"]) for row in result.rows]
    assert len(found) == len(set(found)) and set(found) == set(expected)
    assert [row["round"] for row in result.rows] == sorted(row["round"] for row in result.rows)


def test_rows_have_these_keys_and_plain_values(result: Result) -> None:
    for row in result.rows:
        assert list(row) == KEYS
        assert (row["metric"], row["higher_is_better"]) == METRICS[row["task"]]
        assert type(row["round"]) is int and type(row["examples"]) is int
        assert type(row["value"]) is float and type(row["score"]) is float
        assert row["examples"] == (100 if row["client"] is None else 5)


def by_task(rows: list[dict[str, Any]], round: int, task: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of the clients, and the one over all of them."""
    found = [row for row in rows if (row["round"], row["task"]) == (round, task)]
    (pooled,) = [row for row in found if row["client"] is None]
    return [row for row in found if row["client"] is not None], pooled


@pytest.mark.parametrize("round", [0, 2, 3])
def test_the_row_over_all_clients_is_over_all_examples(result: Result, round: int) -> None:
    """Accuracy: Σ n a / Σ n. RMSE: √(Σ n r² / Σ n), and score 1 − (rmse/σ)². F1 does not follow from the clients'."""
    for task in ("multiclass_0", "binary_1"):
        rows, pooled = by_task(result.rows, round, task)
        n = sum(row["examples"] for row in rows)
        assert pooled["value"] == pytest.approx(sum(row["examples"] * row["value"] for row in rows) / n, rel=1e-12)
        assert all(row["score"] == row["value"] for row in [*rows, pooled])
    rows, pooled = by_task(result.rows, round, "regression_2")
    n = sum(row["examples"] for row in rows)
    assert pooled["value"] == pytest.approx(
        math.sqrt(sum(r["examples"] * r["value"] ** 2 for r in rows) / n), rel=1e-12
    )
    for row in [*rows, pooled]:
        assert row["score"] == pytest.approx(1 - (row["value"] / SIGMA) ** 2, rel=1e-9)
    rows, pooled = by_task(result.rows, round, "multilabel_3")
    assert min(row["value"] for row in rows) < pooled["value"] < max(row["value"] for row in rows)


def test_seconds_are_those_of_the_round_that_made_the_model(result: Result) -> None:
    for round in (0, 2, 3):
        rows = [row for row in result.rows if row["round"] == round and row["client"] is not None]
        timed = {row["client"] for row in rows if row["seconds"] is not None}
        assert timed == (cohort(result, round) if round else set())
        total = sum(row["seconds"] for row in rows if row["seconds"] is not None)
        for pooled in (row for row in result.rows if row["round"] == round and row["client"] is None):
            assert pooled["seconds"] == (pytest.approx(total, rel=1e-9) if round else None)


# Ledger


def full_bytes(client: int) -> int:
    """What all metrics add to a report: numbers of 8 bytes, the sum of counts in 4, and 2 bytes an event, as there are
    from 257 to 65,536 cells: for each example its cell of 3 · 4 and one of 1026 for each of three classes; for each
    entry its cell of 6 and one of 1026. A regression has three numbers and no cell."""
    test = DATA.load(0).clients[client].test
    (task, y), *_ = test.y.items()
    labelled = int((~np.isnan(y)).sum())
    events = {"multiclass_0": 4, "binary_1": 2, "regression_2": 0, "multilabel_3": 2}[task] * labelled
    return (8 * 3 if task == "regression_2" else 8) + 4 + 2 * events


def test_the_ledger_of_the_run_written_out(result: Result) -> None:
    """A trunk is 4·3 + 3 = 15 numbers; a report two sums, or four for multilabel. Half of 80 clients train."""
    dense = 32 + 4 * 15
    expected = []
    for t in (1, 2, 3):
        chosen = cohort(result, t)
        assert len(chosen) == 40
        expected += [(t, client, "down", "train", dense) for client in chosen]
        expected += [(t, client, "up", "train", dense) for client in chosen]
    for measured in (0, 2, 3):
        next_cohort = cohort(result, measured + 1)
        expected += [(measured, c, "down", "evaluate", dense) for c in range(80) if c not in next_cohort]
        primary = [32 + 8 * (4 if c % 4 == 3 else 2) for c in range(80)]
        more = [full_bytes(c) if measured == 3 else 0 for c in range(80)]
        expected += [(measured, c, "up", "evaluate", primary[c] + more[c]) for c in range(80)]
    assert sorted(tuple(row.values()) for row in result.ledger) == sorted(expected)
    assert all(list(row) == ["round", "client", "direction", "purpose", "packet_bytes"] for row in result.ledger)


# Summary


def test_the_summary_follows_from_rows_and_ledger(result: Result) -> None:
    summary = result.summary
    for task in TASKS:
        rows, pooled = by_task(result.rows, 3, task)
        values = np.array([row["value"] for row in rows])
        bad_first = np.sort(values) if METRICS[task][1] else np.sort(values)[::-1]
        got = summary["tasks"][task]
        assert (got["metric"], got["higher_is_better"]) == METRICS[task]
        assert (got["value"], got["score"], got["clients"]) == (pooled["value"], pooled["score"], 20)
        assert got["client_mean"] == pytest.approx(values.mean(), rel=1e-12)
        assert got["worst_tenth"] == pytest.approx(bad_first[:2].mean(), rel=1e-12)  # a tenth of 20
    scores = [by_task(result.rows, 3, task)[1]["score"] for task in TASKS]
    assert summary["mean_score"] == pytest.approx(np.mean(scores), rel=1e-12)

    def total(direction: str | None, purposes: set[str]) -> int:
        chosen = [r for r in result.ledger if r["purpose"] in purposes and direction in (None, r["direction"])]
        return sum(row["packet_bytes"] for row in chosen)

    for part, purposes in (
        (summary["bytes"], {"train", "raw_data", "evaluate"}),
        (summary["bytes"]["train"], {"train"}),
    ):
        assert (part["up"], part["down"]) == (total("up", purposes), total("down", purposes))
        assert part["total"] == part["up"] + part["down"] == total(None, purposes)
    assert summary["bytes"]["evaluate"]["total"] == total(None, {"evaluate"}) > 0


def test_the_summary_names_the_run(result: Result) -> None:
    assert {key: result.summary[key] for key in ("name", "seed", "rounds", "clients", "up_codec", "down_codec")} == {
        "name": "small",
        "seed": 0,
        "rounds": 3,
        "clients": 80,
        "up_codec": "Dense()",
        "down_codec": "Dense()",
    }
    assert result.summary["algorithm"] == "FedPer(lr=0.05, epochs=1, optimizer=SGD())"
    assert result.summary["label"] == experiment().label
    seconds = dict(result.summary["seconds"])
    total = seconds.pop("total")
    assert {"start", "driver", "transfer", "train", "aggregate", "write"} <= set(seconds) and min(seconds.values()) >= 0
    assert total == pytest.approx(sum(seconds.values()), rel=1e-12)


def test_the_digest_of_rows_is_of_what_is_in_them_but_seconds() -> None:
    """Where everything is counted, rows say what was measured: n examples, of which n · accuracy were right.

    A model's digest is of the digest before it, its round, and its task: name, 0, number of clients, clients, and
    each client's [n, right ones].
    """
    small = Synthetic(clients=5, examples=6, test_examples=7, features=4, rank=2, classes=3, kind="multiclass", tasks=1)
    result = run(experiment(data=small))
    (task,) = result.summary["tasks"]
    digest = b""
    for measured in (0, 2, 3):
        rows, _ = by_task(result.rows, measured, task)
        counts = [number for row in rows for number in (row["examples"], round(row["examples"] * row["value"]))]
        head = (
            struct.pack("<q", measured)
            + task.encode()
            + b"\0"
            + struct.pack("<6q", 5, *(row["client"] for row in rows))
        )
        digest = hashlib.sha256(digest + head + struct.pack("<10d", *counts)).digest()
    assert result.summary["digests"]["rows"] == digest.hex()


# Progress


def test_whoever_watches_is_told_after_each_round(result: Result, progress: list[Progress]) -> None:
    assert [(p.round, p.rounds) for p in progress] == [(1, 3), (2, 3), (3, 3), (4, 3)]
    for seen in progress:
        for direction, told in (("up", seen.bytes_up), ("down", seen.bytes_down)):
            rows = [row for row in result.ledger if row["round"] <= seen.round and row["purpose"] == "train"]
            assert told == sum(row["packet_bytes"] for row in rows if row["direction"] == direction)
        measured = {1: 0, 2: 0, 3: 2, 4: 3}[seen.round]  # the model after round 2 is measured in round 3
        scores = [by_task(result.rows, measured, task)[1]["score"] for task in TASKS]
        assert seen.mean_score == pytest.approx(np.mean(scores), rel=1e-12)
        assert seen.problems == {}


# Files


def test_the_folder_holds_what_the_result_holds(result: Result, folder: Path) -> None:
    assert result.folder == folder
    assert lines(folder / "rounds.jsonl") == result.rows
    assert lines(folder / "ledger.jsonl") == result.ledger
    written = strict((folder / "summary.json").read_text())
    assert len(written.pop("checksum")) == 32
    assert written == result.summary
    assert from_dict(tomllib.loads((folder / "experiment.toml").read_text())) == experiment()
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["python"] == platform.python_version()
    assert environment["packages"]["numpy"] == np.__version__
    model = load_file(folder / "model.safetensors")
    assert set(model) == {"trunk.1.weight", "trunk.1.bias"}  # a trunk, and nobody's head
    assert all(torch.equal(model[name], result.state[name]) for name in model)


def test_the_folder_holds_nothing_else(result: Result, folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        "fedmtl.manifest",
        "experiment.toml",
        "environment.json",
        "schema.json",
        "rounds.columns",
        "ledger.columns",
        "measures.columns",
        "confusion.columns",
        "training.columns",
        "rounds.jsonl",
        "ledger.jsonl",
        "measures.jsonl",
        "confusion.jsonl",
        "training.jsonl",
        "checkpoint",
        "model.safetensors",
        "summary.json",
    }
    assert [path for path in folder.rglob(".*")] == []  # nothing half-written


def test_an_algorithm_without_a_server_state_leaves_no_model(tmp_path: Path) -> None:
    run(experiment(algorithm=Local(epochs=1), rounds=1), tmp_path)
    assert not (tmp_path / "model.safetensors").exists() and (tmp_path / "summary.json").exists()


# The same bits


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"algorithm": FedRep(head_epochs=1), "up_codec": ErrorFeedback(TopK(0.25)), "engine": "loop"},
        {"algorithm": FedAvg(epochs=1), "up_codec": Int8(block=8), "down_codec": FP16()},
        {"algorithm": Pooled(epochs=1)},
        {"algorithm": Local(epochs=1)},
    ],
    ids=lambda changes: repr(changes.get("algorithm", "FedPer")),
)
def test_two_runs_end_in_the_same_bits_with_or_without_a_folder(changes: dict[str, Any], tmp_path: Path) -> None:
    small = mixed(clients=8)
    one = run(experiment(data=small, **changes))
    other = run(experiment(data=small, **changes), tmp_path / "run")
    assert one.summary["digests"] == other.summary["digests"]
    assert one.ledger == other.ledger
    assert one.folder is None and other.folder is not None


def test_another_seed_ends_elsewhere() -> None:
    one, other = (run(experiment(seed=seed)).summary["digests"] for seed in (0, 1))
    assert all(one[key] != other[key] for key in ("server_state", "rows", "ledger"))


def test_engines_count_the_same_bytes_and_end_close_by() -> None:
    one, other = (run(experiment(engine=engine, up_codec=FP16())) for engine in ("loop", "vmap"))
    assert one.summary["digests"]["ledger"] == other.summary["digests"]["ledger"]
    for name, value in one.state.items():
        assert torch.allclose(value, other.state[name], atol=1e-3)  # FP16 may round a close call to the other side


# Numbers that are none


class Blown:
    """One task, two clients; what client 1 is tested on is so large that a layer's sums are not finite."""

    def load(self, seed: int) -> Federation:
        draw = np.random.default_rng(0)
        clients = {}
        for client in (0, 1):
            x = draw.standard_normal((6, 4)).astype(np.float32)
            y = {"age": x[:, 0].copy()}
            clients[client] = ClientData(Split(x, y), Split(np.sign(x) * np.float32(3e38) if client else x, y))
        return Federation({"age": Regression()}, (4,), clients)


def test_a_metric_that_is_not_a_number_is_null_in_every_file(tmp_path: Path) -> None:
    seen: list[Progress] = []
    changes: dict[str, Any] = {"data": Blown(), "model": MLP((64,)), "evaluate_every": 1, "cohort": 1.0}
    result = run(experiment(**changes), tmp_path, on_round=seen.append)
    rows = lines(tmp_path / "rounds.jsonl")
    assert rows == result.rows
    assert {row["value"] for row in rows if row["client"] == 1} == {None}
    assert all(row["value"] is not None for row in rows if row["client"] == 0)
    summary = strict((tmp_path / "summary.json").read_text())
    assert summary["mean_score"] is None and math.isnan(seen[-1].mean_score)
    age = summary["tasks"]["age"]
    assert age["value"] is None and (age["clients"], age["diverged"]) == (1, 1)
    assert age["client_mean"] is None and age["worst_tenth"] is None

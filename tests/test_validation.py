"""Runs with validation parts: measured on these, stopped early, the best round tested once and kept."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from fedmtl.algorithms import FedPer, FedRep, Pooled
from fedmtl.analysis import read_run
from fedmtl.client.state.base import StateError
from fedmtl.codecs import ErrorFeedback, Int8, TopK
from fedmtl.core.trees import sha256
from fedmtl.data import ClientData, Federation, Split
from fedmtl.data.validation import valid_sizes
from fedmtl.export.client_models import for_each_client_model
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.progress import Progress
from fedmtl.runtime import Ray
from fedmtl.runtime.ray.grid import RayGrid
from tests.test_resume import DATA, Killed, after, assert_same_run, contents, copying, kill_after
from tests.test_resume import experiment as plain

METHODS: dict[str, dict[str, Any]] = {
    "FedPer, Int8": {"algorithm": FedPer(lr=0.4, epochs=1), "up_codec": Int8(block=8), "engine": "loop"},
    "FedRep, ErrorFeedback": {"algorithm": FedRep(lr=1.0, head_epochs=1), "up_codec": ErrorFeedback(TopK(0.25))},
    "Pooled": {"algorithm": Pooled(lr=0.1, epochs=1)},
}


def experiment(**changes: Any) -> Experiment:
    return plain(**{"rounds": 20, "evaluate_every": 1, "valid_fraction": 0.25, "patience": 3, **changes})


def values(rows: list[dict[str, Any]], part: str, round: int) -> list[Any]:
    return [(row["client"], row["task"], row["value"]) for row in rows if (row["part"], row["round"]) == (part, round)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Runs that nobody disturbed, by method."""
    done: dict[str, Any] = {}

    def get(method: str) -> Any:
        if method not in done:
            folder = tmp_path_factory.mktemp("whole") / "run"
            on_round = copying(folder, after(folder, 0).parent)
            done[method] = run(experiment(**METHODS[method]), folder, on_round=on_round), folder
        return done[method]

    return get


def test_the_ledger_of_a_run_in_memory_is_that_of_a_folder(tmp_path: Path) -> None:
    """Also where the best round is the last: its test is an exchange of its own, after the one that measured it."""
    improving = experiment(rounds=1, patience=0, algorithm=FedPer(lr=0.05, epochs=1))
    one, other = run(improving), run(improving, tmp_path)
    assert one.summary["stopped"]["best_round"] == 1
    assert one.summary["digests"] == other.summary["digests"] and one.ledger == other.ledger


@pytest.mark.parametrize("method", METHODS)
def test_what_is_tested_and_kept_is_the_best_round_s_model(method: str, tmp_path: Path, whole: Any) -> None:
    """A run of as many rounds as the best has the same model at its end, where nothing needs to be kept.

    Clients trained on after the best round, so their private states, and the codec's, are other ones by then.
    """
    result, folder = whole(method)
    stopped = result.summary["stopped"]
    best, last = stopped["best_round"], stopped["round"]
    assert 0 < best and last == best + 3 < 20
    assert stopped["reason"] == "patience: 3 measured rounds without a better score"
    scores = read_run(folder).mean_score_curve().values
    assert len(scores) == last + 1 and int(np.argmax(scores)) == best
    assert result.summary["valid_score"] == pytest.approx(scores[best], rel=1e-12)
    short = run(experiment(**METHODS[method], rounds=best), tmp_path)
    assert short.summary["stopped"] == {"round": best, "best_round": best, "reason": "all rounds are done"}
    assert short.summary["tasks"] == result.summary["tasks"]
    assert short.summary["mean_score"] == result.summary["mean_score"]
    assert sha256(short.state) == sha256(result.state)
    assert values(result.rows, "test", best) == values(short.rows, "test", best)
    assert {(row["round"], row["part"]) for row in result.rows} == {
        *((round, "valid") for round in range(last + 1)),
        (best, "test"),
    }
    one, other = (load_file(place / "model.safetensors") for place in (folder, tmp_path))
    assert one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)
    ran = read_run(folder)
    assert ran.finished and ran.score() == pytest.approx(result.summary["mean_score"], rel=1e-12)
    assert (ran.final_round, ran.last_round) == (best, last)


def test_progress_says_which_part_is_measured() -> None:
    parts: list[tuple[str, bool]] = []
    run(experiment(rounds=1, patience=0), on_round=lambda progress: parts.append((progress.part, progress.tests)))
    assert set(parts) == {("valid", False), ("test", True)}


def test_test_examples_change_no_choice(whole: Any) -> None:
    """Other test labels: the same rounds, the same best, the same model, and other scores at the end alone."""

    class Other:
        def load(self, seed: int) -> Federation:
            found = DATA.load(seed)
            clients = {
                client: ClientData(data.train, Split(data.test.x, {task: y[::-1] for task, y in data.test.y.items()}))
                for client, data in found.clients.items()
            }
            return Federation(found.tasks, found.input_shape, clients)

    method = METHODS["FedPer, Int8"]
    result, other = whole("FedPer, Int8")[0], run(experiment(**method, data=Other()))
    assert other.summary["stopped"] == result.summary["stopped"]
    assert sha256(other.state) == sha256(result.state)
    rows = [[row for row in one.rows if row["part"] == "valid"] for one in (result, other)]
    assert [row["value"] for row in rows[0]] == [row["value"] for row in rows[1]]
    assert result.summary["mean_score"] != other.summary["mean_score"]


def test_the_numbers_of_a_validation_part_written_out(tmp_path: Path) -> None:
    """Each client measures as many examples as it holds out, and trains on the others: n − round(n / 4)."""
    result = run(experiment(patience=0, rounds=1, cohort=1.0))
    train = {client: len(data.train.x) for client, data in DATA.load(0).clients.items()}
    for client, size in train.items():
        held = int(valid_sizes(np.array([size]), 0.25)[0])
        rows = [row for row in result.rows if row["client"] == client]
        assert {row["examples"] for row in rows if row["part"] == "valid"} == {held}
        assert {row["examples"] for row in rows if row["part"] == "test"} == {len(DATA.load(0).clients[client].test.x)}


@pytest.mark.parametrize("method", ["FedPer, Int8", "FedRep, ErrorFeedback", "Pooled"])
def test_killed_after_any_round_and_resumed_it_is_the_same_run(method: str, tmp_path: Path, whole: Any) -> None:
    """Killed after the first round, the best, the one that stops it, and the test: the whole run's folder at that
    time, after the first one also that of a process that raised."""
    result, folder = whole(method)
    best, last = (result.summary["stopped"][key] for key in ("best_round", "round"))
    with pytest.raises(Killed):
        run(experiment(**METHODS[method]), tmp_path / "raised", on_round=kill_after(1))
    for round in (1, best + 1, best + 2, last + 1):
        shutil.copytree(after(folder, round), tmp_path / f"{round}")
    for here in tmp_path.iterdir():
        assert_same_run((run(experiment(**METHODS[method]), here, resume=True), here), (result, folder))
    here = Path(shutil.copytree(after(folder, "test"), tmp_path / "tested"))
    assert not (here / "summary.json").exists()
    seen: list[Progress] = []
    resumed = run(experiment(**METHODS[method]), here, resume=True, on_round=seen.append)
    assert seen == []  # nothing is tested twice
    assert_same_run((resumed, here), (result, folder))


def test_a_run_that_stopped_early_is_finished(tmp_path: Path, whole: Any) -> None:
    result, folder = whole("FedPer, Int8")
    before, seen = contents(folder), []
    again = run(experiment(**METHODS["FedPer, Int8"]), folder, resume=True, on_round=seen.append)
    assert seen == [] and contents(folder) == before
    assert again.summary["digests"] == result.summary["digests"]
    assert sha256(again.state) == sha256(result.state)
    assert not list(folder.glob("checkpoint/best-*"))


def test_personal_models_are_those_of_the_best_round(tmp_path: Path, whole: Any) -> None:
    """Rebuilt from the folder and measured on the test part, they give the numbers that the run's summary has."""
    result, folder = whole("FedPer, Int8")
    measured: dict[int, Any] = {}

    def look(personal: Any) -> Any:
        measured[personal.client] = personal.measure(personal.params)
        return measured[personal.client]

    looked = for_each_client_model(folder, look)
    best = result.summary["stopped"]["best_round"]
    assert looked.rounds == best and not looked.absent
    by_client = {
        (client, task): value for client, task, value in values(result.rows, "test", best) if client is not None
    }
    for client, sums in measured.items():
        for task, numbers in sums.items():
            metric = looked.tasks[task].metric(numbers.double().numpy())
            assert metric == pytest.approx(by_client[client, task], rel=1e-5)


@pytest.mark.parametrize("state_dir", [False, True])
def test_workers_and_devices_stores_hold_the_same_parts_and_states(
    state_dir: bool, tmp_path: Path, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two Ray workers, one of which is killed when it has been told of the best round and has trained on."""
    result, _ = whole("FedPer, Int8")
    best = result.summary["stopped"]["best_round"]
    exchange = RayGrid.send_and_receive
    calls = {"count": 0}

    def killing(self: Any, messages: Any, *, timeout: Any = None) -> Any:
        calls["count"] += 1
        if calls["count"] in (best + 2, best + 3):
            os.kill(self.pids[0], signal.SIGKILL)
        return exchange(self, messages, timeout=timeout)

    monkeypatch.setattr(RayGrid, "send_and_receive", killing)
    runtime = Ray(workers=2, state_dir=str(tmp_path / "state") if state_dir else "")
    changes = METHODS["FedPer, Int8"] | {"runtime": runtime}
    found = run(experiment(**changes), tmp_path / "run")
    assert calls["count"] >= best + 4
    assert found.summary["digests"] == result.summary["digests"]
    assert found.summary["tasks"] == result.summary["tasks"]


def test_a_checkpoint_without_its_best_round_says_so(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(experiment(), tmp_path, on_round=kill_after(3))
    (file,) = tmp_path.glob("checkpoint/best-*.state")
    file.unlink()
    with pytest.raises(StateError, match=rf"{file.name}.*of the best round so far: is gone.*another folder"):
        run(experiment(), tmp_path, resume=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"valid_fraction": 1.0}, r"valid_fraction is a part .* in \[0, 1\), got 1.0; 0.2 holds out a fifth"),
        ({"valid_fraction": -0.1}, r"got -0.1"),
        ({"valid_fraction": float("nan")}, r"got nan"),
        ({"valid_fraction": 0.0, "patience": 2}, r"patience=2 stops .* set valid_fraction=0.2, or patience=0"),
        ({"patience": -1}, r"patience"),
    ],
)
def test_numbers_that_are_none(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        experiment(**changes)

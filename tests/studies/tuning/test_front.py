"""Several objectives: the front of a problem in closed form, the same trials after a kill, and no test label in it."""

import csv
import math
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedmtl.analysis import read_run
from fedmtl.analysis.simulated import spent_at_end
from fedmtl.run_experiment import run
from fedmtl.runs.presets import load_experiment
from fedmtl.studies.tuning import Range, Trial, Tuned, Tuning, tune
from fedmtl.studies.tuning.alike import tune_alike
from fedmtl.studies.tuning.tune import SEED
from tests.forks import start
from tests.pictures import undrawn
from tests.studies.tuning.planted import FRONT_SETTINGS, FRONT_SPACE, SPACE, Means, experiment

pytest.importorskip("optuna")

ANCHORS = {"score": (1.0, 1.0), "bytes": (3.0, 1.0), "seconds": (1.0, 3.0)}
"""Objective -> the point where it is best. Each is the squared distance from its point, minus that for the score.

The gradient of a weighted sum of squared distances is 0 at the weighted mean of the points, so that what no setting
dominates is their convex hull: of score and bytes the segment from (1, 1) to (3, 1), of all three the triangle.
"""

Stub = Callable[[Mapping[str, Any]], None]


def distance(values: Mapping[str, float], objective: str) -> float:
    x, y = ANCHORS[objective]
    return (values["algorithm.lr"] - x) ** 2 + (values["algorithm.lam"] - y) ** 2


@pytest.fixture
def hull(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials are not trained: their score and costs are those of ``ANCHORS``; rates above 9 diverge."""

    def run_trial(number: int, values: dict[str, Any], *rest: Any) -> Trial:
        hot = values["algorithm.lr"] > 9
        score = math.nan if hot else -distance(values, "score")
        nothing = {"up": 0, "down": 0, "evaluation": 0}
        return Trial(number, values, "diverged" if hot else "complete", 6, 6, score, 0, nothing)

    def measure(trial: Trial, folder: Path, costs: tuple[str, ...]) -> dict[str, float]:
        return {} if trial.state == "diverged" else {cost: distance(trial.values, cost) for cost in costs}

    for own in (run_trial, measure):  # the module has the function's name
        monkeypatch.setitem(tune.__globals__, own.__name__, own)


@pytest.mark.usefixtures("hull", "no_pictures")
@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        (("bytes",), [(3, 1), (2, 1), (1, 1)]),
        (("bytes", "seconds"), [(3, 1), (2, 1), (2, 2), (1, 1), (1, 2), (1, 3)]),
    ],
)
def test_the_front_of_a_grid_is_the_hull(costs: Any, expected: list[tuple[int, int]], tmp_path: Path) -> None:
    """Of a grid's points those in the hull, by their bytes; a rate that diverges and repetitions are none of them."""
    space = {"algorithm.lr": (0.5, 1.0, 2.0, 3.0, 10.0), "algorithm.lam": (0.5, 1.0, 2.0, 3.0)}
    timed = experiment(link="Constant(down_mbps=8, up_mbps=8)")
    tuned = tune(timed, tmp_path, space, Tuning(trials=23, sampler="grid", objective=("score", *costs)))
    found = [tuple(trial.values.values()) for trial in tuned.front]
    assert found == expected
    assert tuple(tuned.best.values.values()) == (1, 1) and tuned.best.score == 0
    rows = list(csv.DictReader((tmp_path / "trials.csv").read_text().splitlines()))
    marked = {(float(row["algorithm.lr"]), float(row["algorithm.lam"])) for row in rows if row["front"] == "1"}
    assert marked == set(expected) and len(rows) == 23
    presets = sorted((tmp_path / "front").iterdir())
    loaded = [load_experiment(path, allow=["tests"]) for path in presets]
    made = {(one.algorithm.lr, one.algorithm.lam) for one in loaded}
    assert made == set(expected) and len(presets) == len(expected)
    table = (tmp_path / "front.md").read_text()
    assert f"{len(expected)} of 23 trials" in table and table.count("\n| ") == 1 + len(expected)
    assert len(list(csv.reader((tmp_path / "front.csv").read_text().splitlines()))) == 1 + len(expected)
    assert "tabular" in (tmp_path / "front.tex").read_text()


@pytest.mark.usefixtures("hull", "no_pictures")
def test_optuna_comes_near_the_hull(tmp_path: Path) -> None:
    """Beyond the first 8, which fill the space: 40 of Optuna's trials are nearer to the segment, on average, than 40
    that fill the space are; and presets of trials that later ones dominate are deleted."""
    space = {"algorithm.lr": Range(0.01, 8.0), "algorithm.lam": Range(0.01, 8.0)}
    one = experiment(algorithm=experiment().algorithm)

    def away(trial: Trial) -> float:
        x, y = trial.values.values()
        return math.hypot(x - min(max(x, 1), 3), y - 1)

    found = {}
    for sampler in ("random", "tpe"):
        settings = Tuning(trials=24, sampler=sampler, objective=("score", "bytes"))
        few = tune(one, tmp_path / sampler, space, settings)
        more = tune(one, tmp_path / sampler, space, replace(settings, trials=48))
        assert more.trials[:24] == few.trials
        names = {path.name for path in (tmp_path / sampler / "front").iterdir()}
        assert names == {f"trial-{trial.number:03d}.toml" for trial in more.front}
        found[sampler] = sum(map(away, more.trials[8:])) / 40
    assert found["tpe"] < 0.6 * found["random"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tuned, Path]:
    """A search that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    with undrawn():
        return tune(experiment(), folder, FRONT_SPACE, FRONT_SETTINGS), folder


def test_bytes_are_those_of_the_run_that_a_preset_of_the_front_makes(whole: tuple[Tuned, Path]) -> None:
    """Half of the bytes with half of the clients, so that several cohorts are on the front; and a preset, run to its
    end on the seed of the trials, sends the bytes that the trial counted."""
    tuned, folder = whole
    assert 2 <= len(tuned.front) < len(tuned.trials)
    for trial in tuned.trials:
        sent = trial.bytes["up"] + trial.bytes["down"]
        twin = tuned.trials[trial.number if trial.same_as is None else trial.same_as]
        assert trial.costs == {"bytes": twin.bytes["up"] + twin.bytes["down"]} and sent in (0, trial.costs["bytes"])
    costs = {trial.values["cohort"]: trial.costs["bytes"] for trial in tuned.trials}
    assert costs[0.5] == 2 * costs[0.25] and costs[1.0] == 2 * costs[0.5]
    cheapest = tuned.front[0]
    preset = load_experiment(folder / "front" / f"trial-{cheapest.number:03d}.toml", allow=["tests"])
    result = run(replace(preset, seed=SEED))
    assert result.summary["bytes"]["train"]["total"] == cheapest.costs["bytes"]
    assert result.summary["valid_score"] == pytest.approx(cheapest.score, rel=1e-12)


def test_killed_and_resumed_it_ends_with_the_same_front(whole: tuple[Tuned, Path], tmp_path: Path) -> None:
    """Killed where Optuna has proposed a trial already."""
    call = f"from tests.studies.tuning.planted import main; main({str(tmp_path / 'killed')!r}, '', 'front')"
    process = start(code=call, cwd=Path(__file__).parents[3], start_new_session=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "killed" / "trials" / "009" / "checkpoint" / "server.state").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "trials.csv").exists()
    with undrawn():
        tune(experiment(), tmp_path / "killed", FRONT_SPACE, FRONT_SETTINGS)
    _, undisturbed = whole
    same = [path for path in undisturbed.rglob("*") if path.is_file() and "trials" not in path.parts]
    assert len(same) >= 10
    for path in same:
        assert (tmp_path / "killed" / path.relative_to(undisturbed)).read_bytes() == path.read_bytes(), path.name


def test_test_labels_change_no_trial(whole: tuple[Tuned, Path], tmp_path: Path) -> None:
    """Permuted over all clients: trials, front and picture's numbers to the last digit."""
    with undrawn():
        tune(experiment(data=Means(test_labels=7)), tmp_path, FRONT_SPACE, FRONT_SETTINGS)
    for name in ("trials.csv", "front.csv", "front.md", "tradeoff.csv"):
        assert (tmp_path / name).read_bytes() == (whole[1] / name).read_bytes()


@pytest.mark.usefixtures("no_pictures")
def test_seconds_and_joules_are_those_of_the_clock(tmp_path: Path) -> None:
    """At 8 Mbps a byte takes a microsecond: with 60 clients that send alike at once, training takes the 60th part of
    its bytes in microseconds. Seconds and joules are also those of the rows of a run that is not a trial."""
    timed = experiment(link="Constant(down_mbps=8, up_mbps=8, radio=WiFi())", rounds=2)
    settings = Tuning(trials=2, sampler="random", objective=("score", "joules", "seconds", "bytes"))
    tuned = tune(timed, tmp_path, SPACE, settings)
    for trial in tuned.trials:
        assert list(trial.costs) == ["joules", "seconds", "bytes"]
        assert trial.costs["seconds"] == pytest.approx(trial.costs["bytes"] / 60 * 1e-6, rel=1e-9)
    own = tuned.trials[1]
    folder = tmp_path / "alone"
    run(replace(tuned.experiment, algorithm=experiment().algorithm, seed=SEED), folder)
    spent = spent_at_end(read_run(folder))
    assert spent is not None and spent.joules > 0
    assert (own.costs["seconds"], own.costs["joules"]) == (spent.seconds, spent.joules)
    head = (tmp_path / "trials.csv").read_text().splitlines()[0]
    assert "score,simulated_joules,simulated_seconds,train_bytes,front,bytes_up" in head


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"objective": ("score", "byte")},
            r"objective is one of score, score-bytes, bytes, seconds, joules, got 'byte'",
        ),
        ({"objective": ("bytes", "seconds")}, r"score and one or more of bytes, seconds, joules .* got bytes, seconds"),
        ({"objective": "bytes"}, r"without the score, the cheapest run is one that learns nothing"),
        ({"objective": ()}, r"got none"),
        ({"objective": ("score", "score-bytes")}, r"score-bytes has a price of bytes in it already"),
        ({"objective": ("score", "bytes", "bytes")}, r"bytes stands twice"),
        ({"objective": ("score", "bytes"), "halving": True}, r"halving ends trials by one number .* leave halving out"),
        (
            {"objective": ("score", "seconds")},
            r"seconds are those of the simulated clock, and link=Unlimited\(radio=NoRadio\(\)\)",
        ),
        ({"objective": ("score", "joules")}, r'set link, such as --set "link=LogNormal.* or leave joules out'),
    ],
)
def test_objectives_that_are_none(settings: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        tune(experiment(), tmp_path, SPACE, Tuning(**settings))
    assert list(tmp_path.iterdir()) == []


def test_one_objective_in_a_list_is_that_objective_and_a_comparison_takes_no_front(tmp_path: Path) -> None:
    assert Tuning(objective=["score"]) == Tuning() and Tuning(objective=["score", "bytes"]).costs == ("bytes",)
    with pytest.raises(ValueError, match="one setting of each method, got the objectives score, bytes; take one"):
        tune_alike([], tmp_path, FRONT_SETTINGS)

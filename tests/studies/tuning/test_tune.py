"""Tuning finds what was planted, goes on where it was killed, and sees no test label."""

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmtl.algorithms import MRMTL, Ensemble, FedAvg, Mocha
from fedmtl.analysis import read_run
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.presets import load_experiment
from fedmtl.studies.comparison import compare
from fedmtl.studies.tuning import Range, Tuned, Tuning, tune
from fedmtl.studies.tuning.alike import free_seed, methods_of, tune_alike
from fedmtl.studies.tuning.tune import SEED
from tests.forks import start
from tests.studies.tuning.planted import ROUNDS, SPACE, Means, experiment, surface

pytest.importorskip("optuna")

TRIALS = 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tuned, Path]:
    """A tuning that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    return tune(experiment(), folder, SPACE, Tuning(trials=TRIALS)), folder


def test_a_planted_learning_rate_and_strength_are_found_in_20_trials(whole: tuple[Tuned, Path]) -> None:
    """Against the problem written out in numpy, on a grid of 100 × 100: within .005 of its highest score.

    Fewer than one in twenty of the grid's points are as good, and its scores span more than ten times as much. What is
    chosen is also near the one that is best: λ/(2 + λ), the part of the way to the mean of all, within .15.
    """
    lr, lam = (np.geomspace(values.low, values.high, 100) for values in SPACE.values())
    grid = surface(lr, lam)
    top = float(np.nanmax(grid))
    tuned, _ = whole
    chosen = tuned.best.values
    own = surface(np.array([chosen["algorithm.lr"]]), np.array([chosen["algorithm.lam"]]))[0, 0]
    assert tuned.best.score == pytest.approx(own, abs=1e-4)  # the trial measured what the problem says
    assert tuned.best.score > top - 0.005
    assert (grid > top - 0.005).mean() < 0.1 and top - np.nanmin(np.where(np.isfinite(grid), grid, np.nan)) > 0.05
    best = lam[np.unravel_index(np.nanargmax(grid), grid.shape)[1]]
    assert chosen["algorithm.lam"] / (2 + chosen["algorithm.lam"]) == pytest.approx(best / (2 + best), abs=0.15)
    assert tuned.edges == {}
    assert len(tuned.trials) == TRIALS and tuned.trials[0].values == {"algorithm.lr": 0.02, "algorithm.lam": 0.02}


@pytest.mark.parametrize("how", ["all", "halving"])
def test_killed_and_resumed_it_ends_with_the_same_trials(how: str, tmp_path: Path, whole: tuple[Tuned, Path]) -> None:
    """A process that is killed, twice, wherever it is: its successor's record and table are the undisturbed one's."""
    trials, counts = (TRIALS, (4, 13)) if how == "all" else (9, (3, 7))
    if how == "all":
        _, undisturbed = whole
    else:
        undisturbed = tmp_path / "undisturbed"
        tune(experiment(), undisturbed, SPACE, Tuning(trials=trials, halving=True))
    here = tmp_path / "killed"
    call = f"from tests.studies.tuning.planted import main; main({str(here)!r}, '{trials}', {how!r})"
    for count in counts:
        process = start(code=call, cwd=Path(__file__).parents[3], start_new_session=True)
        deadline = time.monotonic() + 120
        while not (here / "trials" / f"{count:03d}" / "checkpoint" / "server.state").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not (here / "trials.csv").exists()
    tune(experiment(), here, SPACE, Tuning(trials=trials, halving=how == "halving"))
    for name in ("trials.csv", "tuned.toml", "tuning.json"):
        assert (here / name).read_bytes() == (undisturbed / name).read_bytes()


def test_test_labels_change_no_trial(tmp_path: Path, whole: tuple[Tuned, Path]) -> None:
    """Permuted over all clients: the same trials to the last digit, and other numbers of the reported run alone.

    Of eight trials that fill the space and four that Optuna proposes; a tuning of more trials begins with them.
    """
    tuned, folder = whole
    other = tune(experiment(data=Means(test_labels=7)), tmp_path, SPACE, Tuning(trials=12))
    lines = (tmp_path / "trials.csv").read_bytes().splitlines()
    assert len(lines) == 1 + 12 and lines == (folder / "trials.csv").read_bytes().splitlines()[:13]
    assert other.best == max(tuned.trials[:12], key=lambda trial: trial.score)
    reported = run(replace(other.experiment, data=Means())).summary
    assert run(other.experiment).summary["mean_score"] != reported["mean_score"]


def test_no_trial_measures_a_test_part(whole: tuple[Tuned, Path]) -> None:
    _, folder = whole
    found = read_run(folder / "trials" / "000")
    assert {row["part"] for row in found.rows} == {"valid"} and not found.finished


def test_what_is_chosen_is_a_preset_and_bytes_are_counted(whole: tuple[Tuned, Path]) -> None:
    """A trial's bytes are those of its ledger, and its score is the highest of its curve."""
    tuned, folder = whole
    total = 0
    for trial in tuned.trials:
        if trial.same_as is None:
            found = read_run(folder / "trials" / f"{trial.number:03d}")
            assert trial.bytes == {
                "up": found.training_bytes("up"),
                "down": found.training_bytes("down"),
                "evaluation": found.evaluation_bytes(),
            }
            curve = found.mean_score_curve()
            assert trial.score == pytest.approx(max(curve.values), rel=1e-12)
            assert trial.to_best == curve.bytes[curve.rounds.index(trial.best_round)]
        total += sum(trial.bytes.values())
    assert tuned.sent == total == json.loads((folder / "tuning.json").read_text())["best"]["bytes"]
    text = (folder / "tuned.toml").read_text()
    assert f"on seed {SEED}" in text
    assert tuned.experiment == replace(experiment(), algorithm=tuned.experiment.algorithm)
    assert tuned.experiment.seed == 0 and tuned.experiment.algorithm.lr == tuned.best.values["algorithm.lr"]


def test_halving_runs_a_ninth_a_third_and_all(tmp_path: Path) -> None:
    """9 trials of 9 rounds: 9 for 1 round, 3 for 3, 1 for 9; each goes on where it was, to the bits of one that never
    stopped."""
    tuned = tune(experiment(rounds=9), tmp_path, SPACE, Tuning(trials=9, halving=True, sampler="random"))
    assert sorted(trial.rounds for trial in tuned.trials) == [1] * 6 + [3] * 2 + [9]
    by_rung = {trial.number: trial.objectives for trial in tuned.trials}
    for rung, count in (("1", 3), ("3", 1)):
        ranked = sorted((-values[rung], number) for number, values in by_rung.items() if rung in values)
        after = f"{3 * int(rung)}"
        assert {number for _, number in ranked[:count]} == {n for n, values in by_rung.items() if after in values}
    best = tuned.best
    whole = run(replace(tuned.experiment, seed=SEED))
    assert whole.summary["valid_score"] == pytest.approx(best.score, rel=1e-12)
    assert whole.summary["stopped"]["best_round"] == best.best_round


def test_bytes_have_their_price(tmp_path: Path) -> None:
    """score − c log10(bytes to the best round): with a high price the choice is a model that cost none, round 0's."""
    settings = Tuning(trials=4, sampler="random", objective="score-bytes", price=0.1)
    tuned = tune(experiment(), tmp_path, SPACE, settings)
    for trial in tuned.trials:
        worth = trial.score - 0.1 * np.log10(max(1, trial.to_best))
        assert trial.objectives[f"{ROUNDS}"] == pytest.approx(worth, rel=1e-12)
    assert tuned.best.objectives == max((t.objectives for t in tuned.trials), key=lambda o: o[f"{ROUNDS}"])


def test_methods_of_a_comparison_are_tuned_alike(tmp_path: Path) -> None:
    """Two algorithms, two seeds each: as many trials each, on a seed of neither, and their own fields."""
    some = [
        replace(experiment(), algorithm=algorithm, seed=seed)
        for algorithm in (FedAvg(epochs=1), experiment().algorithm)
        for seed in (0, SEED)
    ]
    settings = Tuning(trials=3, sampler="random", seed=free_seed(some))
    assert settings.seed == SEED + 1
    methods = methods_of(some, SPACE)
    assert [sorted(method.space) for method in methods] == [["algorithm.lr"], ["algorithm.lam", "algorithm.lr"]]
    found, tuned = tune_alike(methods, tmp_path, settings)
    assert [len(one.trials) for one in tuned.values()] == [3, 3]
    assert {trial.rounds for one in tuned.values() for trial in one.trials} == {ROUNDS}
    assert [(type(one.algorithm).__name__, one.seed) for one in found] == [
        (name, seed) for name in ("FedAvg", "MRMTL") for seed in (0, SEED)
    ]
    assert [one.algorithm.lr for one in found[:2]] == [next(iter(tuned.values())).best.values["algorithm.lr"]] * 2


def test_a_grid_is_all_combinations_and_the_best_of_them(tmp_path: Path) -> None:
    """Against the problem written out in numpy; trials beyond the grid repeat its first ones at no cost."""
    rates, strengths = (0.3, 0.03), (0.1, 1.0, 30.0)
    tuned = tune(
        experiment(), tmp_path, {"algorithm.lr": rates, "algorithm.lam": strengths}, Tuning(trials=8, sampler="grid")
    )
    pairs = [tuple(trial.values.values()) for trial in tuned.trials]
    assert pairs == [(lr, lam) for lr in rates for lam in strengths] + [(0.3, 0.1), (0.3, 1.0)]
    assert [trial.same_as for trial in tuned.trials] == [None] * 6 + [0, 1]
    best = np.unravel_index(surface(np.array(rates), np.array(strengths)).argmax(), (2, 3))
    assert tuple(tuned.best.values.values()) == (rates[best[0]], strengths[best[1]])


def test_a_comparison_is_tuned_on_a_grid_that_is_the_same_for_all(tmp_path: Path, no_pictures: None) -> None:
    """The rate 1e30 diverges, so .3 is run, on the seeds of the experiments, with validation parts."""
    some = [replace(experiment(), algorithm=FedAvg(epochs=1, lr=0.5), seed=seed) for seed in (0, SEED)]
    some += [experiment(algorithm=MRMTL(epochs=1), rounds=2)]
    found = compare(some, tmp_path, grid={"algorithm.lr": [1e30, 0.3]})
    assert [(run.experiment["algorithm"]["lr"], run.seed) for run in found.runs] == [(0.3, 0), (0.3, SEED), (0.3, 0)]
    assert {run.curve_part for run in found.runs} == {"valid"} and not found.failures
    page = (tmp_path / "tuning.md").read_text()
    assert f"Tuned alike: 2 trials each (grid) on seed {SEED + 1}" in page and page.count("| lr=0.3 |") == 2
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("summary.json")}
    compare(some, tmp_path, grid={"algorithm.lr": [1e30, 0.3]})
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("summary.json")} == times


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"algorithm.lam": [1.0]}, r"grid: FedAvg\(.*\) has no 'algorithm.lam', and a grid is the same for all"),
        ({"algorithm.lr": []}, r"'algorithm.lr' is a range, .* or a list of values, got \[\]"),
        ({"algorithm.lr": Range(0.1, 1.0)}, "A grid takes lists of values"),
    ],
)
def test_what_is_no_grid_of_a_comparison(grid: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        compare([experiment(), experiment(algorithm=FedAvg())], tmp_path, grid=grid)
    assert list(tmp_path.iterdir()) == []


def test_a_trial_that_diverges_is_never_chosen(tmp_path: Path) -> None:
    """Of the rates 1e30 and .3 the first ends with no finite number, the second trains."""
    one = experiment(algorithm=FedAvg(lr=0.1, epochs=3))
    tuned = tune(one, tmp_path, {"algorithm.lr": (1e30, 0.3)}, Tuning(trials=4))
    states = {trial.values["algorithm.lr"]: trial.state for trial in tuned.trials}
    assert states[1e30] == "diverged" and tuned.best.values == {"algorithm.lr": 0.3}
    assert any(trial.same_as is not None and sum(trial.bytes.values()) == 0 for trial in tuned.trials)
    with pytest.raises(ValueError, match="None of 2 trials has a score: all diverged; lower .* algorithm.lr"):
        tune(experiment(), tmp_path / "all", {"algorithm.lr": (1e30, 1e31)}, Tuning(trials=2))


@pytest.mark.parametrize(
    ("space", "settings", "message"),
    [
        ({"algorithm.beta": Range(0.1, 1.0)}, {}, r"MRMTL.* has no field 'beta'; its fields are lr, epochs, lam"),
        ({"algoritm.lr": Range(0.1, 1.0)}, {}, r"an experiment has no field 'algoritm'"),
        ({"algorithm.lr": Range(-1.0, 1.0)}, {}, r"lr"),
        ({"algorithm.epochs": Range(0.5, 1.0)}, {}, r"tune: algorithm.epochs is a whole number, got 0.5"),
        ({"rounds": Range(1, 9)}, {}, r"rounds is the same in all trials.*leave it out"),
        ({}, {}, r"no field with a range of its own to tune; name fields in a \[tune\] table"),
        (SPACE, {"seed": 0}, r"Trials have a seed of their own, and 0 is that of the experiment; take another"),
        (SPACE, {"trials": 0}, r"trials"),
        (SPACE, {"sampler": "sobol"}, r"sampler is one of tpe, random, grid, got 'sobol'"),
        (SPACE, {"sampler": "grid"}, r"takes lists of values, got a range from .* for 'algorithm\.lr'"),
        ({"batch_size": (2, 4, 8)}, {"sampler": "grid", "trials": 2}, "grid has 3 settings, got trials=2; give 3"),
    ],
)
def test_what_cannot_be_tuned(space: Any, settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        tune(experiment(), tmp_path, space, Tuning(**settings))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_goes_on_with_its_own_tuning_alone(tmp_path: Path) -> None:
    settings = Tuning(trials=2, sampler="random")
    first = tune(experiment(), tmp_path, SPACE, settings)
    more = tune(experiment(), tmp_path, SPACE, replace(settings, trials=3))
    assert more.trials[:2] == first.trials and len(more.trials) == 3
    with pytest.raises(ValueError, match="holds a tuning with sampler = 'random', got 'tpe'.*another folder"):
        tune(experiment(), tmp_path, SPACE, Tuning(trials=2))
    (tmp_path / "tuning.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tuning.json' is damaged.*another folder"):
        tune(experiment(), tmp_path, SPACE, settings)


def test_every_algorithm_has_a_space_of_its_own_or_says_so() -> None:
    from fedmtl.registry.components import REGISTRY, make
    from fedmtl.studies.tuning import default_space
    from fedmtl.studies.tuning.spaces import with_values

    for name in REGISTRY["algorithm"]:
        one = Experiment(algorithm=make("algorithm", name))
        space = default_space(one)
        assert space, name
        for end in ("low", "high"):
            changed = with_values(one, {path: getattr(values, end) for path, values in space.items()})
            assert type(changed.algorithm) is type(one.algorithm)
    assert set(default_space(Experiment(algorithm=Mocha()))) == {"algorithm.lam"}
    assert set(default_space(Experiment(algorithm=Ensemble()))) == {"algorithm.lr"}
    assert load_experiment("digits").valid_fraction == 0

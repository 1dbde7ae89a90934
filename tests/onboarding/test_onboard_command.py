"""``fedmtl onboard``, and every method: new clients are taken in, or refused with the reason."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from fedmtl import hold_out, onboard, run
from fedmtl.algorithms import Local, Mocha
from fedmtl.cli import app
from fedmtl.registry.components import REGISTRY, find
from fedmtl.runs.experiment import Experiment
from tests.conftest import ALIKE, in_one_epoch, tiny, tiny_model


def sites(names: str, seed: int) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    rows = 30 * len(names)
    age = draw.integers(20, 70, rows)
    return pd.DataFrame(
        {
            "site": np.repeat(list(names), 30),
            "age": age,
            "plan": np.array(["free", "pro"])[draw.integers(0, 2, rows)],
            "churn": np.where(age + draw.normal(0, 5, rows) > 45, "yes", "no"),
            "stay": age * 2.0 + draw.normal(0, 1, rows),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a table of three sites with the task "churn", beside files of new ones."""
    out = tmp_path_factory.mktemp("onboard")
    sites("abc", 0).drop(columns="stay").to_csv(out / "sites.csv", index=False)
    sites("xy", 1).drop(columns="stay").to_csv(out / "new.csv", index=False)
    sites("ab", 2).to_csv(out / "known.csv", index=False)
    settings = ["rounds=2", "runtime=InProcess", "engine=Loop", "model.hidden=[4]"]
    options = ["--data", str(out / "sites.csv"), "--client", "site", "--task", "churn", "--out", str(out / "run")]
    found = CliRunner().invoke(app, ["run", *options, *(word for one in settings for word in ("--set", one))])
    assert found.exit_code == 0, found.output
    (out / "sites.csv").unlink()  # a run folder is enough
    return out


def called(*arguments: str | Path) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["onboard", "--steps", "3", *map(str, arguments)])
    return found.exit_code, found.output


def test_rows_of_new_clients_are_read_by_the_recipe(folder: Path, tmp_path: Path) -> None:
    """A table for the terminal, and all scores in a file; columns are found by name."""
    code, output = called(
        folder / "run", "--data", folder / "new.csv", "--labels", "2,all", "--out", tmp_path / "s.csv"
    )
    assert code == 0, output
    assert "churn (accuracy)" in output and "from scratch" in output and "12 scores: " in output
    rows = list(csv.DictReader(open(tmp_path / "s.csv")))
    assert {row["client_name"] for row in rows} == {"", "x", "y"} and {row["labels"] for row in rows} == {"2", "all"}
    shuffled = pd.read_csv(folder / "new.csv")[["churn", "plan", "site", "age"]]
    found = onboard(folder / "run", shuffled, labels=[2, None], head_steps=3, scratch_steps=3)
    assert [f"{one.value:.6f}" for one in found.scores] == [f"{float(row['value']):.6f}" for row in rows]
    assert len(found.predict("x", shuffled.drop(columns="churn").head(3))["churn"].values) == 3


def test_a_new_column_is_a_new_task(folder: Path) -> None:
    """Of the run's own sites; its kind is inferred, or given."""
    for task in ("stay", "stay=Regression(mean=90, std=25)"):
        code, output = called(
            folder / "run", "--data", folder / "known.csv", "--task", task, "--known", "--labels", "3"
        )
        assert code == 0 and "stay (rmse)" in output, output
    code, output = called(folder / "run", "--data", folder / "new.csv", "--known", "--labels", "3")
    assert code == 2 and "The run has no client 'x'; its 3 are a, b, c." in output


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("age", None, "no column 'age'"),
        ("churn", "maybe", "label 'maybe' is none of its classes no, yes"),
        ("site", None, "has no column 'site'"),
    ],
)
def test_a_file_that_does_not_fit(folder: Path, tmp_path: Path, column: str, value: str | None, message: str) -> None:
    table = pd.read_csv(folder / "new.csv")
    table = table.drop(columns=column) if value is None else table.assign(**{column: [value, *table[column][1:]]})
    table.to_csv(tmp_path / "bad.csv", index=False)
    code, output = called(folder / "run", "--data", tmp_path / "bad.csv", "--labels", "2")
    assert code == 2 and output.startswith("error: ") and message in output.replace("\n", " "), output


def test_words_of_the_command_that_do_not_fit(folder: Path, tmp_path: Path) -> None:
    code, output = called(folder / "run", "--data", folder / "new.csv", "--labels", "some")
    assert code == 2 and "labels is a whole number from 1" in output
    code, output = called(folder / "run")
    assert code == 2 and "holds no client and no task out" in output
    code, output = called(tmp_path, "--data", folder / "new.csv")
    assert code == 2 and "is not a finished run" in output
    code, output = called(folder / "run", "--out", tmp_path / "no" / "s.csv")
    assert code == 2 and "No such folder" in output


@pytest.mark.parametrize("name", REGISTRY["algorithm"])
def test_every_method_takes_new_clients_in(name: str) -> None:
    """But Local, which says why not. What it downloads is counted, and what is measured is finite."""
    algorithm = in_one_epoch(find("algorithm", name))
    whole = tiny(ALIKE, binary=isinstance(algorithm, Mocha))
    rest, new = hold_out(whole, clients=[9])

    class Data:
        def load(self, seed: int) -> Any:
            return rest

    settings = {"rounds": 1, "batch_size": 4, "runtime": "InProcess", "engine": "Loop"}
    result = run(Experiment(data=Data(), model=tiny_model(algorithm), algorithm=algorithm, **settings))
    few: dict[str, Any] = {"labels": None, "head_steps": 2, "scratch_steps": 1}
    if isinstance(algorithm, Local):
        with pytest.raises(ValueError, match="nothing to download"):
            onboard(result, new, **few)
        return
    found = onboard(result, new, **few)
    assert all(np.isfinite(one.value) for one in found.scores)
    assert {one.bytes_down > 32 for one in found.scores if one.way != "from scratch"} == {True}
    assert ("head" in {one.way for one in found.scores}) != algorithm.traits.mixture

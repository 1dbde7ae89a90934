"""``fedmtl run --data``: a table from the shell to each client's metrics, and on after a stop."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedmtl import load_result
from fedmtl.cli import app
from fedmtl.models import GRU, BagOfEmbeddings
from fedmtl.runs.presets import load_experiment
from tests.data.test_frame import reviews, table

TABLE = ["run", "--data", "sites.csv", "--client", "site", "--task", "churn"]
QUICK = ["--set", "rounds=2", "--runtime", "InProcess", "--set", "evaluate_every=2", "--engine", "Loop"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    table().to_csv("sites.csv", index=False)
    return tmp_path


def called(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*words])
    return result.exit_code, result.output


def test_a_table_is_run_and_its_sites_are_named(here: Path) -> None:
    code, output = called(*TABLE, "--task", "ltv=Regression(mean=50000,std=20000)", *QUICK, "--out", "runs/sites")
    assert code == 0, output
    lines = [line for line in output.splitlines() if line.strip().split("  ")[0] in ("east", "north", "south")]
    assert len(lines) == 3 and all("churn: accuracy" in line and "macro F1" in line for line in lines)
    assert ["ltv: " in line for line in lines] == [False, True, True]
    experiment = load_experiment("runs/sites/experiment.toml")
    assert experiment.name == "sites" and experiment.data.client == "site" and len(experiment.data.sha256) == 64
    assert (here / "runs" / "sites" / "recipe.json").is_file()


def test_new_rows_are_predicted_by_name(here: Path) -> None:
    """Columns in any order and others beside; the same as in Python. Rows that do not fit are one error."""
    assert called(*TABLE, "--features", "age,member,plan", *QUICK, "--out", "runs/a")[0] == 0
    new = table().iloc[:7][["plan", "site", "age", "member", "ltv"]]
    new.to_csv("new.csv", index=False)
    code, output = called("predict", "runs/a", "--client", "south", "new.csv")
    assert code == 0, output
    lines = output.splitlines()
    wanted = load_result("runs/a").predict("south", new)["churn"].values
    assert lines[0] == "churn,churn_probability" and [line.split(",")[0] for line in lines[1:]] == list(wanted)
    for column, message in (("plan", "has no column 'plan'"), ("age", "Column 'age' holds numbers, and the text 'x'")):
        (new.drop(columns="plan") if column == "plan" else new.assign(age="x")).to_csv("bad.csv", index=False)
        code, output = called("predict", "runs/a", "--client", "south", "bad.csv")
        assert code == 2 and output.startswith("error: bad.csv: ") and message in output, output


def test_it_goes_on_with_the_same_file_alone(here: Path) -> None:
    words = [*TABLE, "--features", "age,plan", *QUICK, "--out", "runs/a"]
    assert called(*words)[0] == 0
    assert called(*words, "--resume")[0] == 0
    table(age=7).to_csv("sites.csv", index=False)
    code, output = called(*words, "--resume")
    assert code == 2 and "error: sites.csv: the file has changed: its SHA-256 was" in output


def test_texts_have_a_model_of_texts(here: Path) -> None:
    reviews().to_csv("reviews.csv", index=False)
    words = ["run", "--data", "reviews.csv", "--client", "shop", "--task", "mood", "--text", "review", *QUICK]
    code, output = called(*words, "--out", "runs/texts")
    assert code == 0 and "shop-0" in output, output
    # A good thing, pleasant, and, bad, broken, that, failed; padding and unknown: words that are there once are none.
    assert load_experiment("runs/texts/experiment.toml").model == BagOfEmbeddings(vocabulary=9 + 2)
    code, output = called(*words, "--set", "model=GRU", "--out", "runs/gru")
    assert code == 0, output
    assert load_experiment("runs/gru/experiment.toml").model == GRU(vocabulary=9 + 2)
    code, output = called(*words, "--set", "model.vocabulary=5")
    assert code == 2 and "error: --set model.vocabulary=5: " in output and "inputs from 0 to 10" in output, output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--client", "site"], "error: --client is about a table: add --data FILE.csv"),
        (["run", "--data", "sites.csv"], "error: --data sites.csv needs --client COLUMN"),
        (TABLE[:5], "error: --data sites.csv needs --task COLUMN"),
        ([*TABLE[:2], "none.csv", *TABLE[3:]], "none.csv"),
        ([*TABLE, "--features", "agee"], "error: sites.csv: The table has no column 'agee'"),
        ([*TABLE, "--task", "lvt"], "error: sites.csv: The table has no column 'lvt'"),
        ([*TABLE, "--task", "ltv=Regresion"], "error: sites.csv: Unknown task 'Regresion'"),
        ([*TABLE, "--set", "data.scale=minmax"], "error: --set data.scale=minmax: scale is one of pooled"),
    ],
)
def test_one_clear_error_and_nothing_written(here: Path, words: list[str], message: str) -> None:
    code, output = called(*words, *QUICK, "--out", "runs/bad")
    errors = [line for line in output.splitlines() if message in line]
    assert code == 2 and output.splitlines()[-1:] == errors, output
    assert not (here / "runs").exists()

"""``fedmtl run --data`` and ``compare --data``: a table from the shell to each client's metrics and a verdict, and on
after a stop."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fedmtl import Local, load_result
from fedmtl.cli import app
from fedmtl.cli.clients import verdict
from fedmtl.models import GRU, BagOfEmbeddings
from fedmtl.runs.presets import load_experiment
from tests.data.test_frame import reviews, table

TABLE = ["run", "--data", "sites.csv", "--client", "site", "--task", "churn"]
QUICK = ["--set", "rounds=2", "--runtime", "InProcess", "--set", "evaluate_every=2", "--engine", "Loop"]
ALONE = [*QUICK, "--no-baseline"]


pytestmark = pytest.mark.usefixtures("no_pictures")


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
    lines = lines[:3]  # a matrix follows
    assert all("churn: accuracy" in line and "macro F1" in line for line in lines)
    assert ["ltv: " in line for line in lines] == [False, True, True]
    assert all(line.count("(alone ") >= 2 for line in lines)
    verdicts = [line for line in output.splitlines() if line.strip().startswith("verdict  ")]
    assert len(verdicts) == 1 and "mean score against learning alone" in verdicts[0] and "over 3 clients" in verdicts[0]
    assert (here / "runs" / "sites" / "report.md").is_file() and "report.md)" in output
    assert load_experiment("runs/sites/baseline/experiment.toml").algorithm == Local(lr=0.05, epochs=5)
    experiment = load_experiment("runs/sites/experiment.toml")
    assert experiment.name == "sites" and experiment.data.client == "site" and len(experiment.data.sha256) == 64
    assert (here / "runs" / "sites" / "recipe.json").is_file()


def test_new_rows_are_predicted_by_name(here: Path) -> None:
    """Columns in any order and others beside; the same as in Python. Rows that do not fit are one error."""
    assert called(*TABLE, "--features", "age,member,plan", *ALONE, "--out", "runs/a")[0] == 0
    new = table().iloc[:7][["plan", "site", "age", "member", "ltv"]]
    new.to_csv("new.csv", index=False)
    code, output = called("predict", "runs/a", "--client", "south", "new.csv")
    assert code == 0, output
    lines = output.splitlines()
    wanted = load_result("runs/a").predict("south", new)["churn"].values
    assert lines[0] == "churn,churn_probability" and [line.split(",")[0] for line in lines[1:]] == list(wanted)
    for column, message in (("plan", "has no column 'plan'"), ("age", "Column 'age' holds numbers, and the text 'x'")):
        # A file with one bad cell reads as texts: that cell is named, not the number of the first row.
        bad = new.drop(columns="plan") if column == "plan" else new.assign(age=[*new.age.astype(str)[:-1], "x"])
        bad.to_csv("bad.csv", index=False)
        code, output = called("predict", "runs/a", "--client", "south", "bad.csv")
        assert code == 2 and output.startswith("error: bad.csv: ") and message in output, output


def test_two_commands_from_a_file_to_confusion_and_predictions(here: Path) -> None:
    """The rows that are tested on are named, so that each matrix follows from the models' predictions for them. Class
    names that look like numbers stay names, and each new row is predicted by the client that it names."""
    part = np.where(np.arange(90) % 4 == 0, "test", "train")
    frame = table(part=part, churn=np.where(table().age > 50, "10", "2"), site=table().site.replace("east", "7 east"))
    frame.drop(columns="ltv").to_parquet("sites.parquet")
    words = [
        "run",
        "--data",
        "sites.parquet",
        "--client",
        "site",
        "--task",
        "churn",
        *ALONE,
        "--set",
        "data.split=part",
    ]
    code, output = called(*words, "--out", "runs/a")
    assert code == 0, output
    new = frame[part == "test"]
    new.to_csv("new.csv", index=False)
    code, predicted = called("predict", "runs/a", "new.csv")
    assert code == 0, predicted
    lines = predicted.splitlines()
    assert lines[0] == "site,churn,churn_probability" and [line.split(",")[0] for line in lines[1:]] == list(new.site)
    result, found = load_result("runs/a"), [line.split(",")[1] for line in lines[1:]]
    matrix = {name: np.zeros((2, 2), int) for name in ("all clients", *frame.site.unique())}
    for site, truth, prediction in zip(new.site, new.churn, found, strict=True):
        for name in ("all clients", site):
            matrix[name][("10", "2").index(truth), ("10", "2").index(prediction)] += 1
    start = next(k for k, line in enumerate(output.splitlines()) if line.startswith("confusion of churn"))
    head, *rows = output.splitlines()[start + 1 : start + 10]
    assert head.split() == ["client", "churn", "10", "2"]
    for place, name in enumerate(("all clients", *sorted(frame.site.unique()))):
        own = rows[2 * place : 2 * place + 2]
        assert own[0].startswith(name)
        assert [[int(cell) for cell in line.split()[-2:]] for line in own] == matrix[name].tolist(), name
    own = [row for row in result.confusion if row["client_name"] == "7 east"]
    assert sum(row["count"] for row in own) == int((new.site == "7 east").sum())
    for frame, message in (
        (new.assign(site="west"), "The run has no client 'west'"),
        (new.drop(columns="site"), "The table has no column 'site', which names the client"),
    ):
        frame.to_csv("bad.csv", index=False)
        code, output = called("predict", "runs/a", "bad.csv")
        assert code == 2 and output.startswith(f"error: bad.csv: {message}") and output.count("\n") == 1, output


def test_the_verdict_follows_from_the_differences_of_the_clients() -> None:
    """Over 3 clients t is 4.303: .1, .2, .3 have the mean .2 and s = .1, so .2 ± .248; of .19, .2, .21 it is ± .0248.
    A client's difference is the mean over its tasks."""
    alone = {(client, task): 0.5 for client in range(3) for task in "ab"}
    apart = {(client, task): 0.6 + 0.1 * client for client in range(3) for task in "ab"}
    assert verdict(apart, alone).startswith(
        "undecided: +0.2000 mean score against learning alone [−0.0484, +0.4484] over 3 clients, better at 3"
    )
    near = {(0, "a"): 0.64, (0, "b"): 0.74, (1, "a"): 0.7, (2, "b"): 0.71}
    assert verdict(near, alone).startswith("sharing pays: +0.2000 mean score against learning alone [+0.1752, +0.2248]")
    assert verdict(alone, near).startswith("sharing does not pay: −0.2000")
    assert "1 client and one seed are too few" in verdict({(0, "a"): 0.6}, alone)


def test_a_comparison_takes_the_same_table(here: Path) -> None:
    words = [
        "compare",
        *TABLE[1:],
        "--features",
        "age,plan",
        "--seeds",
        "1",
        "--set",
        "rounds=1",
        "--runtime",
        "InProcess",
    ]
    code, output = called(*words, "--algorithm", "Local", "--algorithm", "FedPer", "--out", "study")
    assert code == 0 and "FedPer − Local" in output, output
    assert (here / "study" / "runs" / "sites-FedPer-Dense" / "seed0" / "recipe.json").is_file()
    for options, message in (
        (["--task", "lvt"], "error: sites.csv: The table has no column 'lvt'"),
        (["--set", "data.scale=x"], "error: --set data.scale=x: scale is one of pooled"),
    ):
        code, output = called(*words, *options, "--out", "bad")
        assert code == 2 and output.splitlines()[-1].startswith(message) and not (here / "bad").exists(), output
    code, output = called("compare")
    assert code == 2 and "compare needs a preset, or a table" in output


def test_it_goes_on_with_the_same_file_alone(here: Path) -> None:
    words = [*TABLE, "--features", "age,plan", *ALONE, "--out", "runs/a"]
    assert called(*words)[0] == 0
    assert called(*words, "--resume")[0] == 0
    table(age=7).to_csv("sites.csv", index=False)
    code, output = called(*words, "--resume")
    assert code == 2 and "error: sites.csv: the file has changed: its SHA-256 was" in output


def test_texts_have_a_model_of_texts(here: Path) -> None:
    reviews().to_csv("reviews.csv", index=False)
    words = ["run", "--data", "reviews.csv", "--client", "shop", "--task", "mood", "--text", "review", *ALONE]
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
    code, output = called(*words, *ALONE, "--out", "runs/bad")
    errors = [line for line in output.splitlines() if message in line]
    assert code == 2 and output.splitlines()[-1:] == errors, output
    assert not (here / "runs").exists()

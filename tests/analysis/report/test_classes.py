"""Confusion matrices, recall and further metrics in a report, against the run's own numbers."""

import csv
from pathlib import Path

import pytest

from fedmtl.analysis import read_run
from fedmtl.analysis.report import write_report
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import from_dict
from tests.analysis.report.test_latex import parse
from tests.pictures import undrawn


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one round on digits, and its report, all but its pictures, of which test_complete.py draws these."""
    folder = tmp_path_factory.mktemp("classes") / "run"
    values = {
        "name": "classes", "rounds": 1, "batch_size": 0, "runtime": "InProcess",
        "data": {"name": "digits", "clients": 4}, "model": {"name": "MLP", "hidden": [8]},
        "algorithm": {"name": "FedPer", "lr": 0.1},
    }  # fmt: skip
    run(from_dict(values), folder)
    with undrawn():
        write_report([folder], folder)
    return folder


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_confusion_counts_are_those_of_the_run(ran: Path) -> None:
    own = read_run(ran).confusion("digit")[None]
    rows = table(ran / "confusion-1.csv")
    assert {(int(r["truth"]), int(r["predicted"])): int(r["count"]) for r in rows} == {
        (i, k): count for i, row in enumerate(own.counts) for k, count in enumerate(row)
    }
    assert "](confusion-1.png)" in (ran / "report.md").read_text(encoding="utf-8")


def test_recall_and_metrics_are_those_of_the_run_in_each_format(ran: Path) -> None:
    own = read_run(ran)
    digits = [row for row in table(ran / "recall.csv") if row["task"] == "digit"]
    assert [row["class"] for row in digits] == own.confusion("digit")[None].names
    assert [float(row["FedPer"]) if row["FedPer"] else None for row in digits] == own.confusion("digit")[None].recall
    (digit,) = [row for row in table(ran / "measures.csv") if row["task"] == "digit"]
    assert float(digit["macro_f1"]) == own.measure("digit", "macro_f1")
    text = (ran / "report.md").read_text(encoding="utf-8")
    for name in ("recall", "measures"):
        assert (ran / f"{name}.md").read_text(encoding="utf-8") in text
        assert parse((ran / f"{name}.tex").read_text(encoding="utf-8"))[0][0][0] in ("task", "experiment")

"""The case of sentences and documents: one command and one script print both tasks' scores, bytes and a picture.

Reviews are a toy's, so that nothing is needed from the data home.
"""

import re
import runpy
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedmtl.cli import app
from fedmtl.core.markdown import cells
from fedmtl.data import ProductReviews, productreviews
from fedmtl.data.productreviews import TOPICS, Document
from fedmtl.protocol.plan_check import check_plan
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.presets import load_experiment

SIMULATIONS = Path(__file__).parents[2] / "simulations"
NUMBER = r"\d\.\d{3}"


def toy() -> list[Document]:
    """Three products of eight reviews, of four sentences each, whose words say polarity and topic."""
    words = ("broken", "arrived", "great")
    return [
        Document(
            product=f"product_{kind}",
            topic=kind,
            marked=True,
            texts=tuple(f"the {TOPICS[kind]} is {words[(review + k) % 3]} number{review}x{k}" for k in range(4)),
            polarities=tuple((review + k) % 3 for k in range(4)),
        )
        for kind in range(3)
        for review in range(8)
    ]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(productreviews, "read", toy)
    monkeypatch.setattr(sys, "path", sys.path[:])
    return tmp_path


def test_the_command_prints_both_tasks_their_bytes_and_the_picture(here: Path) -> None:
    """Trunk: 4096 · 16 + 16 · 16 + 16 numbers of 4 bytes, and 32 of header; 3 clients, 2 rounds, both ways."""
    result = CliRunner().invoke(app, ["run", "text", "--set", "rounds=2"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    own, floor = result.stdout.split("baseline: Local")
    for text in (own, floor):
        assert re.search(r"^ +polarity  accuracy 0\.\d{4}  client mean", text, re.MULTILINE)
        assert re.search(r"^ +topic  accuracy \d\.\d{4}  client mean", text, re.MULTILINE)
    sent = 3 * 2 * 2 * (4 * (4096 * 16 + 16 * 16 + 16) + 32)
    assert f"total {sent / 1e6:.2f} MB" in own and "total 0 B" in floor and "macro F1" in floor
    assert "     picture  fedmtl-text.png" in floor
    assert (here / "fedmtl-text.png").read_bytes().startswith(b"\x89PNG")


def test_the_script_prints_a_row_for_each_method_and_the_picture(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], no_pictures: None
) -> None:
    """Two methods of one rate, so a trial and a run of each; of all six, data and model fit the algorithm."""
    source = (SIMULATIONS / "text_sentences_documents.py").read_text()
    assert len(source.splitlines()) < 80
    (command,) = re.findall(r"^    python (\S.*)$", source, re.MULTILINE)
    monkeypatch.setattr(sys, "argv", [*command.split(), "--rounds", "2", "--lr", "0.03", "--methods", "2"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SIMULATIONS / "text_sentences_documents.py"), run_name="__main__")
    assert end.value.code == 0
    *lines, last = capsys.readouterr().out.splitlines()
    names = ["Local", "FedAvg", "SVM, central"]
    rows = [cells(line) for line in lines if line.startswith("| ")]
    assert [row[0] for row in rows] == ["method", "---", *names]
    assert [row[1] for row in rows[2:]] == ["0.03", "0.03", ""]
    assert all(re.fullmatch(rf"{NUMBER} ± 0.000", cell) for row in rows[2:] for cell in row[2:4])
    assert rows[2][4] == "0.0 MB" and last == "figure: runs/text/scores.png"
    assert (here / "runs" / "text" / "scores.png").read_bytes().startswith(b"\x89PNG")
    ran = {path.name for path in (here / "runs" / "text").iterdir() if path.is_dir()}
    assert ran == {f"{name}, rate 0.03, seed {seed}" for name in ("Local", "FedAvg") for seed in (0, 10_007)}
    data, methods = ProductReviews(), runpy.run_path(str(SIMULATIONS / "text_sentences_documents.py"))["METHODS"]
    federation = data.load(0)
    for model, algorithm, *given in methods.values():
        plan = Experiment("text", data, model, algorithm(0.03, *given)).make_plan(federation)
        check_plan(plan, {client: own.tasks for client, own in federation.clients.items()})
    assert list(methods) == ["Local", "FedAvg", "FedPer", "FedPer, one head of polarity", "FedRep", "Ditto"]


def test_without_the_data_the_way_to_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDMTL_DATA", str(tmp_path))
    result = CliRunner().invoke(app, ["run", "text"])
    assert result.exit_code == 2 and result.stderr.count("\n") == 1 and not list(tmp_path.iterdir())
    for part in ("productreviews needs product_reviews", "`fedmtl data fetch productreviews` says how to place it"):
        assert part in result.stderr
    result = CliRunner().invoke(app, ["data", "fetch", "productreviews"])
    assert result.exit_code == 2 and "nltk_data's corpora product_reviews_1 and product_reviews_2" in result.stderr


def test_the_preset_has_private_heads_and_a_shared_trunk() -> None:
    experiment = load_experiment("text")
    assert type(experiment.algorithm).__name__ == "FedPer" and experiment.data.balanced
    assert experiment.model.vocabulary == experiment.data.vocabulary

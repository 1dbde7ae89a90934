"""Every command on a terminal of 80 columns: no line is longer, and no word or number is broken."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer

from fedmtl.cli import app
from fedmtl.cli.listing import ListKind
from tests import pictures
from tests.bench import forked
from tests.forks import run
from tests.terminal import fedmtl_on_terminal

COMMANDS = list(typer.main.get_command(app).commands)  # pyright: ignore[reportAttributeAccessIssue]

PRESET = """# Five clients and one task: small.
name = "small"
rounds = 2
runtime = "InProcess"
engine = "loop"
data = { name = "synthetic", clients = 5, examples = 6, test_examples = 4, features = 4, rank = 2, tasks = 4 }
model = { name = "MLP", hidden = [3] }
algorithm = { name = "Ditto", lr = 0.1, epochs = 1, personal_epochs = 1, optimizer = "Clip(norm=1.0)" }

[compare]
algorithms = ["Local(epochs=1)", "TaskWeighted(algorithm=FedPer(epochs=1), weighting=Uncertainty())"]
packets = [{ up_codec = "Dense" }, { up_codec = "ErrorFeedback(codec=TopK(keep=0.1))", down_codec = "Int8" }]
seeds = 3
"""

SHORT = """
from dataclasses import replace
from fedmtl.bench.workloads import WORKLOADS
WORKLOADS["W2"] = replace(WORKLOADS["W2"], examples=16)
"""
"""One batch a client, of two: numbers of the plain loop have as many digits."""


def screen(arguments: Sequence[str], here: Path, columns: int = 80, drawn: bool = True) -> tuple[list[str], int]:
    """Lines on the terminal and the exit code."""
    return fedmtl_on_terminal(arguments, here, columns, drawn=drawn)[:2]


def check(lines: Sequence[str], columns: int = 80) -> None:
    too_long = [line for line in lines if len(line) > columns]
    assert not too_long, too_long


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("width")
    (folder / "small.toml").write_text(PRESET)
    (folder / "wrong.toml").write_text("rounds = 0")
    return folder


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(here: Path, command: str) -> None:
    lines, code = screen([*filter(None, [command]), "--help"], here)
    assert code == 0 and lines[0].startswith("Usage: ")
    check(lines)


@pytest.mark.parametrize("kind", list(ListKind))
def test_lists(here: Path, kind: ListKind) -> None:
    lines, code = screen(["list", kind.value], here)
    assert code == 0 and len(lines) > 3
    check(lines)
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    whole = run(["list", kind.value], cwd=here, env=environment)
    assert " ".join(lines).split() == whole.stdout.split()


@pytest.mark.parametrize("arguments", [["list"], ["describe", "digits"], ["describe", "watch", "--help"]])
def test_data(here: Path, arguments: list[str]) -> None:
    lines, code = screen(["data", *arguments], here)
    assert code == 0 and len(lines) > 10
    check(lines)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "small.toml", "--set", "algorithm=FedPr"],
        ["run", "small.toml", "--set", "round=5"],
        ["run", "small.toml", "--rounds", "5"],
        ["run", "wrong.toml"],
        ["run", "nope"],
        ["run", "small.toml", "--set", "cohort=0"],
        ["compare", "small.toml", "--algorithm", "FedPr"],
        ["report", "nowhere"],
        ["export", "nowhere"],
        ["shrink", "nowhere"],
        ["verify", "FedPr"],
        ["bench", "--workload", "W7"],
        ["list", "model"],
        ["data", "fetch", "hra", "--from", "nowhere"],
        ["data", "describe", "digts"],
        ["lst"],
    ],
)
def test_errors(here: Path, arguments: list[str]) -> None:
    lines, code = screen(arguments, here)
    assert code == 2 and re.search("error: ", "\n".join(lines), re.IGNORECASE)
    check(lines)


@pytest.mark.slow
def test_every_other_command(here: Path) -> None:
    for arguments in (
        ["run", "small.toml", "--baseline", "--out", "first"],
        ["report", "first", "--target", "0.5"],
        ["shrink", "first"],
        ["export", "first", "--out", "rows.jsonl"],
        ["log", "first", "--callback", "TensorBoard"],
        ["tune", "small.toml", "--trials", "2", "--sampler", "random", "--out", "tuned"],
        ["verify", "SGD", "TaskWeighted"],
        ["bench", "--workload", "W2", "--quick", "--rounds", "2", "--workers", "1", "--out", "bench.json"],
        ["--version"],
    ):
        program = {"bench": SHORT + forked.program(arguments), "report": pictures.command(arguments, "drawn_as('svg')")}
        lines, code, _ = fedmtl_on_terminal(arguments, here, code=program.get(arguments[0], ""))
        assert code == 0, lines
        check(lines)


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 60])
def test_compare(here: Path, columns: int) -> None:
    """Of 11 columns the ones that fit; names are wrapped between words, and numbers stay whole."""
    arguments = ["compare", "small.toml", "--target", "0.2", "--out", "compared"]  # whose runs are made once
    lines, code = screen(arguments, here, columns, drawn=False)
    assert code == 0, lines
    check(lines, columns)
    text = "\n".join(lines)
    assert re.search(r"^experiment +.*score", text, re.MULTILINE) and "Local" in text and "multiclass_0" in text
    assert "|" not in text and len(re.findall(r"\d\.\d{3} ± \d\.\d{3}", text)) >= 3


@pytest.mark.slow
def test_compare_side_by_side_and_tuned(here: Path) -> None:
    """Numbers stay with their units; the table of what was chosen is one of columns, as the results are."""
    arguments = ["compare", "small.toml", "--algorithm", "FedPer", "--seeds", "2", "--jobs", "2", "--tune", "2"]
    for columns in (80, 47):
        lines, code = screen([*arguments, "--out", "side"], here, columns, drawn=False)
        assert code == 0, lines
        check(lines, columns)
        text = "\n".join(lines)
        assert not re.search(r"\d\n *([kM]?B|s|min)\b|round\n|\n *[↑↓]", text) and "|" not in text
        assert columns < 80 or "[4/4] small-FedPer-ErrorFeedback-TopK-Int8/seed1  begins" in lines  # else: done before

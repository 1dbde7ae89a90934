"""Every simulation and notebook runs for two rounds: it prints a table, and leaves it with a figure in its folder.

A script that is put into ``simulations/`` is found here, but where another file of this folder runs it. All have the
options ``--rounds``, ``--seeds`` and ``--out``; those that need data of the data home, or an extra, are skipped where
it is not there.
"""

import ast
import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from fedmtl.data import school
from tests import notebooks

ROOT = Path(__file__).parents[2]
SIMULATIONS = ROOT / "simulations"
ELSEWHERE = "".join(
    path.read_text()
    for path in Path(__file__).parent.glob("test_*.py")
    if path != Path(__file__) and "reproduce" not in path.name
)
"""Tests that run single scripts, with arguments and assertions of their own, and name their files."""
FILES = [path for path in sorted(SIMULATIONS.glob("*.py")) if path.name != "own_method.py"]
SCRIPTS = [path for path in FILES if f'"{path.name}"' not in ELSEWHERE]
NOTEBOOKS = sorted(SIMULATIONS.rglob("*.ipynb"))

SMALL: dict[str, list[str]] = {
    "codecs_digits": ["--clients", "4", "--epochs", "1"],
    "fashion_domains": ["--each", "1", "--images", "24", "--lr", "0.1"],
    "school": ["--epochs", "1", "--lr", "0.01"],
    "air_quality": ["--step", "168", "--lr", "0.1"],
}
"""Script -> options that make it small, beside two rounds and one seed."""


ABSENT = re.compile(r"fedmtl data fetch|pip install")
"""Words of an error that says which data, or which extra, is not there."""


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_runs_for_two_rounds(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    no_pictures: None,
) -> None:
    """In this process, which has imported torch; pictures are empty files, as tests/analysis/report draws them, and of
    the 139 schools every fourth is there."""
    schools = school.read
    monkeypatch.setattr(school, "read", lambda: schools()[::4])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(SIMULATIONS), *sys.path])
    arguments = ["--rounds", "2", "--seeds", "1", "--out", "out", *SMALL.get(path.stem, [])]
    monkeypatch.setattr(sys, "argv", [str(path), *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(path), run_name="__main__")
    output, error = capsys.readouterr()
    if end.value.code == 2 and ABSENT.search(error):
        pytest.skip(f"{path.name}: {error}")
    assert end.value.code == 0, error
    lines = output.splitlines()
    marks = [number for number, line in enumerate(lines) if re.fullmatch(r"\|( ?:?-+:? ?\|)+", line)]
    assert marks and lines[marks[0] - 1].count("|") == lines[marks[0] + 1].count("|") > 2, output
    assert list((tmp_path / "out").rglob("*.png")), "no figure"
    assert [path for path in tmp_path.iterdir() if path.name != "out"] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_script_is_short_typed_and_described(path: Path) -> None:
    """A row on the page, and every argument typed and with a default; a simulation, which has rounds, is under 80 lines
    and takes the three options."""
    source = path.read_text()
    (main,) = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == "main"]
    arguments = {argument.arg for argument in main.args.args}
    assert all(argument.annotation is not None for argument in main.args.args)
    assert len(main.args.defaults) == len(main.args.args)
    assert f"| `{path.name}` |" in (SIMULATIONS / "README.md").read_text()
    if path in SCRIPTS or "rounds" in arguments:
        assert len(source.splitlines()) < 80 and {"rounds", "seeds", "out"} <= arguments


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_for_two_rounds(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_pictures: None
) -> None:
    """Its cells run in order, and give outputs of the kinds that are in the file; those are no error."""
    monkeypatch.chdir(tmp_path)
    cells = notebooks.sources(path)
    assert len(re.findall(r"\brounds = \d+", "".join(cells))) == 1
    small = [shortened(cell) for cell in cells]
    outputs = notebooks.execute(small)
    kept = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in kept] == list(range(1, len(kept) + 1))
    assert [kinds(cell["outputs"]) for cell in kept] == [kinds(own) for own in outputs]
    assert {"image/png", "text/markdown", "text/html"} <= {kind for own in outputs for kind in kinds(own)}
    assert f"| `{path.name}` |" in (SIMULATIONS / "README.md").read_text()


def shortened(cell: str) -> str:
    """Two rounds, one seed and one learning rate."""
    for pattern, short in (
        (r"\brounds = \d+", "rounds = 2"),
        (r"range\(3\)", "range(1)"),
        (r"\[0.03, 0.1, 0.3\]", "[0.1]"),
    ):
        cell = re.sub(pattern, short, cell)
    return cell


def kinds(outputs: list[dict[str, Any]]) -> list[str]:
    """The types of content of a cell's outputs."""
    return sorted(kind for own in outputs for kind in own.get("data", {"stream": ""}))

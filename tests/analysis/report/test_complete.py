"""Each figure and table in every format, with odd names, of runs of every shape; figures can be redrawn from CSV."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmtl import MLP, Experiment, from_arrays, run
from fedmtl.analysis.report import write_report
from fedmtl.core.markdown import cells, table
from tests.analysis.report.test_latex import parse
from tests.analysis.run_folders import write_run
from tests.pictures import drawn_as, drawn_in_turn

CLIENT = r"cli&ent_1 50% $#{~}^\ |*`<"
CLASSES = [r"a_0&%|", r"d\{}$"]


def numbers(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def check_complete(folder: Path) -> tuple[set[str], set[str]]:
    """The names of figures and tables, each of which is there in all formats, and no figure is empty."""
    names = {path.name for path in folder.iterdir()}
    figures = {name.removesuffix(".png") for name in names if name.endswith(".png")}
    tables = {name.removesuffix(".tex") for name in names if name.endswith(".tex")}
    assert names >= {f"{name}.{format}" for name in figures for format in ("png", "pdf", "svg", "csv")}
    assert names >= {f"{name}.{format}" for name in tables for format in ("tex", "csv", "md")}
    assert {name for name in names if name.endswith((".pdf", ".svg"))} == {
        f"{name}.{format}" for name in figures for format in ("pdf", "svg")
    }
    for name in figures | tables:
        assert numbers(folder / f"{name}.csv"), f"{name} shows nothing"
    for name in tables:
        for tabular in parse((folder / f"{name}.tex").read_text(encoding="utf-8")):
            head = [cells(line) for line in (folder / f"{name}.md").read_text(encoding="utf-8").splitlines()][:1]
            assert set(tabular[0]) <= {text.replace("–", "--") for text in head[0]}
            assert len(tabular) > 1
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert all(f"({name}.png)" in text for name in figures)
    return figures, tables


@pytest.fixture(scope="module")
def clinics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Local and FedPer on own arrays, with odd names of a client and of classes."""
    folder, draw = tmp_path_factory.mktemp("clinics"), np.random.default_rng(0)
    arrays = {}
    for client in (CLIENT, "b"):
        x = draw.standard_normal((40, 5)).astype(np.float32)
        arrays[client] = x, {"is_ill": np.array(CLASSES)[(x[:, 0] > 0).astype(int)], "days": 7 + 3.3 * x[:, 1]}
    data = from_arrays(arrays, test_fraction=0.3)
    for name in ("Local", "FedPer"):
        settings: dict[str, Any] = {"rounds": 2, "runtime": "InProcess", "engine": "loop"}
        run(Experiment(name="50%_a&b", data=data, model=MLP(hidden=(4,)), algorithm=name, **settings), folder / name)
    return folder


@pytest.fixture(scope="module")
def report(clinics: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of both, drawn in every format; names of methods and of classes are met by each, in the first picture
    and in the last, and those of clients, in the fourth, by each, too."""
    folder = tmp_path_factory.mktemp("report")
    with drawn_in_turn(whole=(0, 3, 4)):
        write_report([clinics], folder)
    return folder


def test_names_that_a_user_gave(report: Path) -> None:
    figures, tables = check_complete(report)
    assert figures == {"overview", "tradeoff", "tasks", "clients", "confusion-1"}
    assert tables == {"table", "gains", "measures", "recall", "bytes"}
    assert {row["client_name"] for row in numbers(report / "clients.csv")} == {CLIENT, "b"}
    (recall,) = parse((report / "recall.tex").read_text(encoding="utf-8"))
    assert [row[1] for row in recall[1:]] == CLASSES
    assert "\n## ArrayData\n" in (report / "report.md").read_text(encoding="utf-8")


def test_every_part_of_a_broken_table_names_its_rows(report: Path) -> None:
    """Eleven columns of metrics are too many for a page: experiment and task stand in both parts."""
    first, second = parse((report / "measures.tex").read_text(encoding="utf-8"))
    assert [row[:2] for row in first] == [row[:2] for row in second] and first[0][:2] == ["experiment", "task"]


def test_a_confusion_matrix_is_redrawn_from_its_numbers(report: Path) -> None:
    """Rows of shares add up to the share of outputs that were numbers: all, here."""
    shares: dict[tuple[str, str], float] = {}
    for row in numbers(report / "confusion-1.csv"):
        key = row["name"], row["truth"]
        shares[key] = shares.get(key, 0) + int(row["count"]) / int(row["examples"])
    assert len(shares) == 4 and all(abs(share - 1) < 1e-12 for share in shares.values())


def test_lines_are_redrawn_from_their_numbers(tmp_path: Path, no_pictures: None) -> None:
    """Points, intervals, target, and the pair of an arrow; 400 bytes dense against 100."""
    for seed in range(3):
        for codec, up in ((None, 100), ({"name": "FP16"}, 25)):
            scores = {"a": [0.1, 0.2 + seed / 10, 0.4], "b": [0.3, 0.3, 0.3]}
            write_run(tmp_path / f"{seed}{up}", {"name": "FedPer"}, scores, seed=seed, up=up, up_codec=codec)
    write_report([tmp_path], tmp_path / "out", target=0.33)
    check_complete(tmp_path / "out")
    overview = numbers(tmp_path / "out" / "overview.csv")
    found = [[float(row[key]) for key in ("round", "train_bytes", "score", "target")] for row in overview[:3]]
    np.testing.assert_allclose(found, [[0, 0, 0.2, 0.33], [1, 200, 0.3, 0.33], [2, 400, 0.35, 0.33]])
    dense, small = numbers(tmp_path / "out" / "tradeoff.csv")
    assert (dense["dense"], small["dense"], small["fewer_bytes_than_dense"]) == ("", dense["name"], "4")
    tasks = numbers(tmp_path / "out" / "tasks.csv")
    assert {(row["task"], row["metric"], row["higher_is_better"]) for row in tasks} == {
        ("a", "accuracy", "True"), ("b", "accuracy", "True"),
    }  # fmt: skip


SINGLE: dict[str, tuple[dict[str, Any], set[str]]] = {
    "two tasks": ({"scores": {"a": [0.1, 0.5], "b": [0.1, 0.3]}}, {"overview", "tasks", "clients"}),
    "one task": ({"scores": {"a": [0.1, 0.5]}}, {"overview", "clients"}),
    "one task in a unit": (
        {"scores": {"a": [0.1, 0.5]}, "metrics": {"a": ("rmse", False)}}, {"overview", "tasks", "clients"},
    ),
    "one client": ({"scores": {"a": [0.1, 0.5]}, "clients": [0]}, {"overview"}),
    "measured at the end alone": ({"scores": {"a": [None, None, 0.5]}, "every": 2}, {"clients"}),
    "measured once": ({"scores": {"a": [0.5]}}, {"clients"}),
    "diverged": ({"scores": {"a": [0.1, float("nan")]}}, set()),
    "nothing labelled": ({"scores": {"a": [None, None]}}, set()),
}  # fmt: skip


@pytest.mark.parametrize("baseline", [False, True], ids=["alone", "with its floor"])
@pytest.mark.parametrize("name", SINGLE)
def test_a_single_run_of_any_shape(name: str, baseline: bool, tmp_path: Path) -> None:
    given, figures = SINGLE[name]
    scores = given["scores"]
    more = {key: value for key, value in given.items() if key != "scores"}
    write_run(tmp_path / "run", {"name": "FedPer"}, scores, up=9, **more)
    if baseline:
        write_run(tmp_path / "run" / "baseline", {"name": "Local"}, scores, **more)
        figures = figures | ({"tradeoff"} if figures and name != "measured once" else set())  # that sends nothing
    with drawn_as("svg"):
        write_report([tmp_path / "run"], tmp_path / "out")
    found, tables = check_complete(tmp_path / "out")
    assert found == figures
    assert tables == {"table"} | ({"bytes"} if name != "diverged" else set()) | (
        {"gains"} if baseline and figures else set()
    )
    page = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "95 % intervals" not in page and "bands" not in page and "paired over seeds" not in page
    assert ("### Pictures" in page) == bool(figures)


def test_a_table_of_markdown_is_read_back_as_it_was_written() -> None:
    texts = [CLIENT, *CLASSES, "a\\", "**b**", "`c`", "x | y", "", "<t>"]
    head, _, row = table(["n"] * len(texts), [texts]).splitlines()
    assert cells(row) == texts and cells(head) == ["n"] * len(texts)
    assert cells("| **2** | `x` |") == ["2", "x"]
    assert json.dumps(cells("|a|b|")) == '["a", "b"]'


def test_the_way_to_a_floor_is_one_that_works(clinics: Path, tmp_path: Path, no_pictures: None) -> None:
    """A run of own arrays is in no preset, so that no command can repeat it."""
    write_report([clinics / "FedPer"], tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert '`run(replace(experiment, algorithm="Local"), "FOLDER/baseline")`' in text and "fedmtl run" not in text

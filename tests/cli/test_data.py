"""``fedmtl data``: lists, descriptions with pictures, downloads."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fedmtl.analysis.report.draw import draw_labels
from fedmtl.cli import app
from fedmtl.data import Digits, School, from_arrays
from fedmtl.data.skew import label_skew
from fedmtl.registry.components import REGISTRY
from tests.data.homes import needs


def fedmtl(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": ""})
    assert result.exit_code == code, result.output
    return result.output


def test_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDMTL_DATA", str(tmp_path))
    head, *rows = fedmtl("data", "list").splitlines()
    assert head.split() == ["data", "set", "there", "clients", "tasks", "examples", "licence"]
    assert [row.split()[0] for row in rows[: len(REGISTRY["data"])]] == list(REGISTRY["data"])
    assert str(tmp_path) in rows[-1] and "fedmtl data fetch NAME" in rows[-1]
    found = {each["name"]: each for each in json.loads(fedmtl("data", "list", "--json"))}
    assert found["digits"]["there"] and not found["school"]["there"]
    assert found["school"]["examples"] == 15362 and found["school"]["files"][0]["bytes"] == 44759


def test_describe(tmp_path: Path) -> None:
    """Sizes and shares are those of the federation."""
    picture = tmp_path / "labels.png"
    arguments = ["describe", "digits", "--set", "clients=5", "--set", "alpha=0.2", "--seed", "3"]
    text = fedmtl("data", *arguments, "--picture", str(picture))
    federation = Digits(clients=5, alpha=0.2).load(3)
    skews = label_skew(federation)
    assert "5 clients, " in text and f"{federation.sizes[:, 0].sum():,} training" in text
    for task, skew in skews.items():
        assert f"{task} {skew.skew:.3f}" in text
    assert "https://doi.org/10.24432/C50P49" in text and picture.read_bytes().startswith(b"\x89PNG")
    record = json.loads(fedmtl("data", *arguments, "--json"))
    assert [[client["train"], client["test"]] for client in record["clients"]] == federation.sizes.tolist()
    assert record["tasks"]["digit"]["counts"] == skews["digit"].counts.tolist()
    assert record["tasks"]["digit"]["own_skew"] == skews["digit"].own.tolist()
    assert f"({skews['digit'].own[0]:.2f})" in text
    assert fedmtl("data", "describe", "digits(clients=5, alpha=0.2)", "--seed", "3").split() == text.split()[:-1]


@pytest.mark.parametrize("suffix", [".pdf", ".svg"])
def test_other_pictures(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"labels{suffix}"
    fedmtl("data", "describe", "synthetic", "--set", "kind=mixed", "--set", "clients=4", "--picture", str(path))
    assert path.read_bytes().startswith({".pdf": b"%PDF", ".svg": b"<?xml"}[suffix])


def test_the_picture_from_python(tmp_path: Path) -> None:
    """Names of clients and classes are written, and a partition's picture is that of its federation."""
    y = np.array(["flu", "cold"] * 6)
    data = from_arrays({"Graz": (np.eye(12), {"sick": y}), "Wien": (np.eye(12), {"sick": y})})
    texts = draw_labels(data, tmp_path / "a.svg").read_text()
    assert all(f">{word}</text>" in texts for word in ("Graz", "Wien", "cold", "flu", "0.00"))
    both = draw_labels(data.load(0), tmp_path / "b.svg").read_text()
    assert all(f">{word}</text>" in both for word in ("Graz", "Wien", "cold", "flu"))
    for given, file, message in ((data, "a.gif", "writes a .png"), (3, "a.png", "got 3")):
        with pytest.raises(ValueError, match=message):
            draw_labels(given, tmp_path / file)


@needs(School.source)
def test_clients_with_names() -> None:
    text = fedmtl("data", "describe", "school")
    assert "school 1 " in text and "… and 99 clients more" in text
    assert "139 clients, 11,5" in text and "none stated" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["describe", "scool"], "Did you mean school?"),
        (["describe", "digits", "--set", "client=5"], "has no field 'client'"),
        (["describe", "digits", "--picture", "labels.gif"], "--picture writes a .png, .pdf or .svg"),
        (["describe", "digits", "--picture", "nowhere/labels.png"], "there is no folder"),
        (["describe", "har"], "`fedmtl data fetch har` says how to place it"),
        (["fetch", "scool"], "There is no data set 'scool'"),
        (["fetch", "har"], "re-packed copy without an address"),
        (["fetch", "school", "--from", "nowhere"], "--from is a folder"),
        (["fetch", "school", "--from", "http://127.0.0.1:1/"], "it cannot be reached (Connection refused)"),
        (["fetch", "school", "--timeout", "0"], "--timeout is a positive number"),
    ],
)
def test_errors(arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDMTL_DATA", str(tmp_path / "home"))
    text = fedmtl("data", *arguments, code=2)
    assert text.startswith("error: ") and message in text and text.count("\n") == 1
    assert not (tmp_path / "home").exists()


@needs(School.source)
def test_fetch_from_another_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fedmtl.data.home import data_home

    other = str(data_home())
    monkeypatch.setenv("FEDMTL_DATA", str(tmp_path))
    text = fedmtl("data", "fetch", "school", "--from", other)
    assert "school.mat: fetched, 44,759 bytes" in text and "Cite: Argyriou" in text
    assert "school.mat: was there" in fedmtl("data", "fetch", "School", "--from", other)
    assert len(School().load(0).clients) == 139


def test_nothing_to_fetch() -> None:
    assert "sklearn has it" in fedmtl("data", "fetch", "digits")
    assert "has no files to fetch." in fedmtl("data", "fetch", "synthetic")

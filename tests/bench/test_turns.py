"""Who runs when, with scripts that only say that they ran."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import fedmtl.bench.systems as systems
from fedmtl.bench.run import bench
from fedmtl.bench.systems import LOOP, System, peers
from fedmtl.bench.turns import in_turns, run_once
from fedmtl.cli import app
from tests.bench.small import SMALL

SCRIPT = """
import json, os, sys
import numpy as np
folder, _, rounds, _, workers, _, trunk, *options = sys.argv[1:]
with open(folder + "/calls", "a") as file:
    file.write(json.dumps([os.path.basename(sys.argv[0]), int(rounds), int(workers), *options]) + "\\n")
np.save(trunk, np.full(2, float(rounds), np.float32))
print("something else")
print(json.dumps(dict(system="", workload="", cohort=1, first_seconds=1.0, round_seconds=[1.0], pss=0, rss=0)))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(SCRIPT)
    (tmp_path / "bad.py").write_text("raise ValueError('no such luck')")
    monkeypatch.setattr(systems, "scripts", lambda: tmp_path)
    return tmp_path


def test_a_b_a_b(folder: Path) -> None:
    """Later turns take the time only, with as many rounds as the system takes for that."""
    said: list[str] = []
    pair = [
        System("A", "a.py", workers=3, later_rounds=5, options=("--compile",)),
        System("B", "b.py", most_rounds=4, later_rounds=2),
    ]
    a, b = in_turns(pair, folder, rounds=9, turns=2, say=said.append)
    calls = [json.loads(line) for line in (folder / "calls").read_text().splitlines()]
    assert calls == [["a.py", 9, 3, "--compile"], ["b.py", 4, 1], ["a.py", 5, 3, "--compile"], ["b.py", 2, 1]]
    assert said == ["turn 1 of 2: A", "turn 1 of 2: B", "turn 2 of 2: A", "turn 2 of 2: B"]
    assert [len(run.records) for run in (a, b)] == [2, 2]
    assert a.trunk.tolist() == [9, 9] and b.trunk.tolist() == [4, 4]  # of the first turn


def test_a_system_that_fails_says_why(folder: Path) -> None:
    with pytest.raises(RuntimeError, match="Bad ended with code 1: ValueError: no such luck .*bad.py"):
        run_once(System("Bad", "bad.py"), folder, 2, folder)


def test_words_of_against() -> None:
    def named(word: str, workers: int) -> dict[str, int]:
        return {system.name: system.workers for system in peers(word, workers)}

    assert named("pfl", 2) == {"pfl, 1 process": 1, "pfl, 2 processes": 2}
    assert named("pfl", 1) == {"pfl, 1 process": 1}
    assert named("flower", 3) == {"Flower": 3}
    with pytest.raises(ValueError, match="against flower or pfl, got 'fedscale'"):
        peers("fedscale", 2)


def test_every_system_has_its_script() -> None:
    for system in (LOOP, systems.fedmtl(2), *peers("flower", 2), *peers("pfl", 2)):
        assert system.path.is_file()


def test_what_is_not_installed_is_left_out_and_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "with_fedmtl.py").write_text(SCRIPT)
    (folder / "plain_loop.py").write_text(SCRIPT)
    monkeypatch.setattr("fedmtl.bench.run.flat", lambda trunk: np.zeros(2, np.float32))  # where SCRIPT's trunks end
    missing = replace(peers("pfl", 1)[0], needs="no_such_package")
    monkeypatch.setattr("fedmtl.bench.run.peers", lambda word, workers: [missing])
    said: list[str] = []
    out = folder / "out.json"
    work = replace(SMALL, rounds=2)
    assert bench([work], ["pfl"], 1, 2, False, False, out, say=said.append, progress=lambda line: None)
    assert said[0] == "pfl, 1 process is left out: it is not installed; pip install 'fedmtl[bench]'"
    report = json.loads(out.read_text())
    assert [line["system"] for line in report["workloads"][0]["systems"]] == ["fedmtl", "plain loop"]
    assert report["environment"]["packages"]["torch"] and report["sweep"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workload", "W3"], "A workload is one of W1, W2, got 'W3'."),
        (["--turns", "0"], "at least 1, got --turns 0"),
        (["--workers", "0"], "at least 1, got --turns 3 --workers 0"),
        (["--rounds", "1"], "rounds is at least 2, got 1"),
        (["--against", "flower,fedscale"], "flower or pfl, got 'fedscale'"),
        (["--out", "/dev/null/out.json"], "/dev/null"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["bench", *arguments])
    assert result.exit_code == 2 and message in result.output


@pytest.mark.parametrize(("trunk", "code"), [(2, 0), (3, 1)])
def test_other_work_is_an_exit_code(folder: Path, monkeypatch: pytest.MonkeyPatch, trunk: float, code: int) -> None:
    """The loop's trunk ends at its number of rounds, 2; fedmtl's at ``trunk``."""
    (folder / "plain_loop.py").write_text(SCRIPT)
    (folder / "with_fedmtl.py").write_text(SCRIPT.replace("float(rounds)", str(float(trunk))))
    monkeypatch.setattr("fedmtl.bench.run.flat", lambda trunk: np.zeros(2, np.float32))
    monkeypatch.setattr("fedmtl.bench.workloads.WORKLOADS", {"W2": SMALL})
    result = CliRunner().invoke(app, ["bench", "--rounds", "2", "--turns", "1", "--no-sweep"])
    assert result.exit_code == code, result.output
    assert ("NOT THE SAME WORK" in result.output) == bool(code)


def test_what_is_known_is_kept_when_a_later_part_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("with_fedmtl.py", "plain_loop.py"):
        (folder / name).write_text(SCRIPT)
    monkeypatch.setattr("fedmtl.bench.run.flat", lambda trunk: np.zeros(2, np.float32))
    unlike = replace(SMALL, name="unlike", rounds=3)
    monkeypatch.setattr("fedmtl.bench.run.peers", lambda word, workers: [])

    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if "small" in text:
            (folder / "plain_loop.py").write_text("raise ValueError('no such luck')")

    with pytest.raises(RuntimeError, match="plain loop ended with code 1: ValueError: no such luck"):
        bench([SMALL, unlike], [], 1, 2, False, False, folder / "out.json", say, lambda line: None)
    report = json.loads((folder / "out.json").read_text())
    assert [part["workload"]["name"] for part in report["workloads"]] == ["small"]
    # Of the part that failed, the turn that had ended: it was printed and kept when it ended.
    assert report["stopped"]["workload"] == "unlike"
    assert [(turn["turn"], turn["system"]) for turn in report["stopped"]["turns"]] == [(1, "fedmtl")]
    assert [line.split()[:3] for line in said if line.startswith("  turn 1/1")] == [
        ["turn", "1/1", "fedmtl"], ["turn", "1/1", "plain"], ["turn", "1/1", "fedmtl"],
    ]  # fmt: skip

"""The scripts that people copy run as their docstrings say, and every preset is an experiment that fits together."""

import csv
import json
import re
import runpy
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from fedmtl.core.types import ClientId, TaskSet, Upload
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.plan_check import check_plan
from fedmtl.registry.allowed import beside
from fedmtl.run_experiment import run
from fedmtl.runs.presets import load_experiment, override, read_preset
from fedmtl.runs.sweep import expand, sweep_of
from fedmtl.verify.check import CTX
from tests import forks
from tests.data.homes import missing
from tests.runtime import ray_forks

ROOT = Path(__file__).parents[2]
SIMULATIONS = ROOT / "simulations"
PRESETS = sorted(SIMULATIONS.rglob("*.toml"))

SMALL = ["rounds=2", "runtime=InProcess", "engine=loop", "evaluate_every=2", "data.clients=5", "algorithm.epochs=1"]


def documented(script: str) -> list[str]:
    """The command in a script's docstring: its only indented line."""
    docstring = (SIMULATIONS / script).read_text().split('"""')[1]
    (line,) = re.findall(r"^    (\S.*)$", docstring, re.MULTILINE)
    return shlex.split(line)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with ``simulations`` in it. What scripts do to ``sys.path`` is undone."""
    (tmp_path / "simulations").symlink_to(SIMULATIONS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    return tmp_path


def script(command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The output of ``python simulations/….py …``, run in this process, which has paid for importing torch."""
    program, path, *arguments = command
    assert program == "python"
    monkeypatch.setattr(sys, "argv", [path, *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(path, run_name="__main__")
    assert end.value.code == 0
    return capsys.readouterr().out


def settings(values: list[str]) -> list[str]:
    return [word for value in values for word in ("--set", value)]


def test_own_data(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], no_pictures: None
) -> None:
    """FedPer shares 20 · 16 + 16 = 336 numbers: (4 · 336 + 32) bytes, both ways, 4 clinics, 2 rounds: 22,016."""
    small = ["--rounds", "2", "--seeds", "1", "--number", "4", "--out", "out"]
    output = script([*documented("own_data.py"), *small], monkeypatch, capsys)
    assert re.search(r"^\| Local \| 1 \| 5 \|.* 0 B \| 0 B \| 0 B \|", output, re.MULTILINE)
    assert re.search(r"^\| FedPer \| 1 \| 5 \|.* 11\.0 kB \| 11\.0 kB \| 22\.0 kB \|", output, re.MULTILINE)
    assert list((checkout / "out").glob("*.png"))


@pytest.mark.slow
def test_own_method_on_ray_is_the_same_as_in_this_process(checkout: Path) -> None:
    """Two workers find algorithm, codec and data set by import path.

    A trunk of 8 · 32 + 32 = 288 numbers goes up as 288 bits, a scale of 4 bytes and a header of 32, and comes down as
    4 · 288 + 32 bytes; 12 clients, 2 rounds.
    """
    program, *arguments = documented("own_method.py")
    assert program == "fedmtl"
    changes = ["rounds=2", "engine=loop"]
    # A process of its own: workers of an earlier run would not look beside this preset.
    command = [*arguments, "--out", "out", *settings([*changes, "runtime=Ray(workers=2)"])]
    done = forks.run(command, code=ray_forks.program(command), timeout=300)
    assert done.returncode == 0, done.stderr
    summary = json.loads((checkout / "out" / "summary.json").read_text())
    assert summary["bytes"]["train"]["up"] == 12 * 2 * (288 // 8 + 4 + 32)
    assert summary["bytes"]["train"]["down"] == 12 * 2 * (4 * 288 + 32)
    here = run(load_experiment(arguments[1], [*changes, "runtime=InProcess"]))
    assert summary["digests"] == here.summary["digests"]


def test_momentum_goes_on_where_the_mean_stands_still() -> None:
    """Two rounds by hand with beta ½: a mean one above the trunk moves it by 1; then a mean equal to it, by ½ more."""
    method = load_experiment(SIMULATIONS / "own_method.toml").algorithm
    server = method.init_server({"trunk.w": torch.zeros(3), "head.next.w": torch.ones(1)}, CTX)
    assert set(method.broadcast(server, 0, CTX)["trunk"]) == {"trunk.w"}
    for mean, after in ((1.0, 1.0), (1.0, 1.5)):
        server = method.aggregate(server, [(0, Upload({"trunk": {"trunk.w": torch.full((3,), mean)}}, 5.0))], CTX)
        assert server.trunk["trunk.w"].tolist() == [after] * 3


def test_bytes_against_accuracy(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], no_pictures: None
) -> None:
    """The table goes from many bytes to few, each codec against the dense one; a second call adds nothing."""
    command = [*documented("bytes_against_accuracy.py"), "--seeds", "1", *settings(SMALL)]
    output = script(command, monkeypatch, capsys)
    assert output.count(", seed 0") == 5
    out = checkout / command[command.index("--out") + 1]
    with open(out / "table.csv") as file:
        table = {row["name"]: int(row["train_bytes"]) for row in csv.DictReader(file) if row["train_bytes"]}
    shown = [table[name] for name in re.findall(r"^\| (FedPer[^|]*?) \|", output, re.MULTILINE)]
    assert list(out.glob("*.png"))
    assert len(table) == 5 and shown == sorted(table.values(), reverse=True)
    # 5 clients, 2 rounds, a trunk of 64 · 64 + 64 numbers; the header is 32 bytes.
    assert table["FedPer"] == 5 * 2 * 2 * (4 * 4160 + 32)
    assert table["FedPer · FP16 ↑↓"] == 5 * 2 * 2 * (2 * 4160 + 17 + 32)  # 17 blocks
    for name in table:
        assert name == "FedPer" or f"{name} − FedPer: " in output

    before = {path: path.read_bytes() for path in out.rglob("summary.json")}
    assert script(command, monkeypatch, capsys) == output
    assert {path: path.read_bytes() for path in out.rglob("summary.json")} == before


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_preset_fits_together(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It loads, so does every experiment of its [compare] table, and data, model, algorithm and codecs fit.

    Its first line is a comment that says what it is, because `fedmtl list presets` shows it. Experiments of one
    algorithm and model, which differ in codecs, share the trials of a round, that codecs have no part in.
    """
    monkeypatch.setattr(sys, "path", sys.path[:])
    trial, trials = Plan._trial, dict[Any, Any]()

    def once(plan: Plan, client: ClientId, owned: TaskSet) -> Any:
        key = repr((plan.algorithm, plan.module, plan.sent_metrics, client, owned))
        if key not in trials:
            trials[key] = trial(plan, client, owned)
        return trials[key]

    monkeypatch.setattr(Plan, "_trial", once)
    assert re.match(r"# [A-Z].{20,}\.\n", path.read_text())
    experiment = load_experiment(path)
    source = getattr(experiment.data, "source", None)
    if source is not None and (reason := missing(source)):
        pytest.skip(reason)
    federation = experiment.load()
    values, _ = read_preset(path)
    owned = {client: data.tasks for client, data in federation.clients.items()}
    further = expand(override(values, []), sweep_of(values.pop("compare", {})), str(path), beside(path))
    for one in [experiment, *further]:
        if one.seed == experiment.seed:
            check_plan(one.make_plan(federation), owned)


def test_presets_are_found_at_any_depth() -> None:
    assert {path.stem for path in PRESETS} >= {"own_method", "digits", "watch", "synthetic"}

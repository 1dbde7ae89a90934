"""The benchmarks' scripts train what they say: each ends with the trunk of an independent computation."""

import json
import os
import runpy
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fedmtl.bench.data import Stored, read_part, write_data
from fedmtl.bench.network import flat
from fedmtl.bench.record import BenchRecord, from_line
from fedmtl.bench.run import bench
from fedmtl.bench.turns import environment
from fedmtl.bench.workloads import Workload
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from tests import forks, stubs
from tests.bench import forked
from tests.bench.small import SMALL
from tests.runtime import ray_forks

SCRIPTS = Path(__file__).parents[2] / "simulations" / "benchmarks"
EVERYBODY = replace(SMALL, clients=2, cohort=2, batch_size=8)
"""Everybody takes part with one full batch: no chance is left, so that every system must end alike."""


FURTHER = """
import subprocess, sys
from pathlib import Path
from tests import forks, stubs
popen = subprocess.Popen
def forked(command, **settings):
    if command[0] != sys.executable:
        return popen(command, **settings)
    return forks.start(code=forks.script(Path(command[1]), command[2:]), **settings)
subprocess.Popen = forked
"""
"""Has a script's further processes, which run scripts, in forks, too."""


def script(
    name: str, work: Workload, folder: Path, workers: int = 1, start: str = ""
) -> tuple[BenchRecord, np.ndarray]:
    """The record and the trunk of one run, in a process of its own, which begins with a program."""
    write_data(work, folder / "data")
    arguments = [str(folder / "data"), "--workers", str(workers), "--trunk", str(folder / "trunk.npy")]
    done = forks.run(code=start + forks.script(SCRIPTS / name, arguments), env=environment(folder), timeout=300)
    assert done.returncode == 0, done.stderr
    return from_line(done.stdout.splitlines()[-1]), np.load(folder / "trunk.npy")


def in_this_process(work: Workload, folder: Path) -> tuple[np.ndarray, float]:
    """Trunk and accuracy of the reference engine."""
    experiment = work.experiment(Stored(str(folder / "data")), workers=1)
    values = {field: getattr(experiment, field) for field in Experiment.__dataclass_fields__}
    result = run(Experiment(**{**values, "engine": "loop", "runtime": "InProcess"}))
    return flat(result.state), result.summary["mean_score"]


@pytest.mark.parametrize("work", [SMALL, EVERYBODY], ids=["some", "everybody"])
def test_the_plain_loop_is_the_reference_engine(work: Workload, tmp_path: Path) -> None:
    """Two programs for the same cohorts and batches, one of nn.Module and optim.SGD, one of pure functions."""
    record, trunk = script("plain_loop.py", work, tmp_path)
    expected, accuracy = in_this_process(work, tmp_path)
    np.testing.assert_allclose(trunk, expected, atol=1e-5)
    assert record.accuracy == pytest.approx(accuracy)
    assert (record.system, record.workload, record.cohort) == ("plain loop", "small", work.cohort)
    assert len(record.train_loss) == work.rounds == len(record.round_seconds) + 1
    assert record.first_seconds > 0 and record.rss >= record.pss
    # A step down the gradient lowers the loss; with everybody in each round, so does every round.
    if work is EVERYBODY:
        assert sorted(record.train_loss, reverse=True) == record.train_loss


IN_FORKS = """
from pathlib import Path
from tests.runtime.ray_forks import forked_workers
forked = forked_workers(Path({stub!r}), ["dashboard_agent"])  # the other one gives workers their environment
forked.__enter__()
"""
"""Has workers of a cluster, whoever starts it, in forks."""


@pytest.mark.slow
def test_flower_trains_the_same(tmp_path: Path) -> None:
    """Heads are kept by the nodes: without them the second round would begin anew, and end elsewhere.

    Flower starts a cluster, whose workers run their own code, in forks.
    """
    begin = IN_FORKS.format(stub=str(ray_forks.stub_of_workers())) if stubs.POSSIBLE else ""
    record, trunk = script("with_flower.py", EVERYBODY, tmp_path, start=begin)
    expected, _ = in_this_process(EVERYBODY, tmp_path)
    np.testing.assert_allclose(trunk, expected, atol=1e-5)
    assert len(record.train_loss) == EVERYBODY.rounds and record.system == "Flower"


@pytest.mark.slow
@pytest.mark.skipif(find_spec("pfl") is None, reason="pfl is an extra")
def test_pfl_trains_the_same(tmp_path: Path) -> None:
    """It samples with replacement, so there is one client only."""
    alone = replace(EVERYBODY, clients=1, cohort=1)
    record, trunk = script("with_pfl.py", alone, tmp_path)
    expected, _ = in_this_process(alone, tmp_path)
    np.testing.assert_allclose(trunk, expected, atol=1e-5)
    assert len(record.train_loss) == alone.rounds and record.system == "pfl"


@pytest.mark.slow
@pytest.mark.skipif(find_spec("pfl") is None, reason="pfl is an extra")
def test_pfl_on_two_processes_shares_the_cohort(tmp_path: Path) -> None:
    """Client 0 lives on one process, client 1 on the other, and each is drawn once a round: the mean of both."""
    _, trunk = script("with_pfl.py", EVERYBODY, tmp_path, workers=2, start=FURTHER)
    np.testing.assert_allclose(trunk, in_this_process(EVERYBODY, tmp_path)[0], atol=1e-5)


@pytest.mark.slow
def test_the_whole_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fedmtl on a Ray worker and the loop in turn: same work, and every phase of a round has its share."""
    said: list[str] = []
    monkeypatch.setattr(subprocess, "run", forked.run)
    assert bench([SMALL], [], 2, 1, False, False, tmp_path / "out.json", said.append, lambda line: None)
    report = json.loads((tmp_path / "out.json").read_text())["workloads"][0]
    ours, loop = report["systems"]
    assert ours["equal"] is True and loop["equal"] is None
    assert [len(line["runs"]) for line in (ours, loop)] == [2, 2]
    ratios = [
        np.median(b["round_seconds"]) / np.median(a["round_seconds"])
        for a, b in zip(ours["runs"], loop["runs"], strict=True)
    ]
    assert loop["times"] == pytest.approx(np.median(ratios))
    assert sum(report["phases_ms"].values()) > 0
    text = "\n".join(said)
    assert "plain loop" in text and "NOT THE SAME" not in text
    assert os.listdir(tmp_path) == ["out.json"]


def test_the_test_examples_tell_work_from_none(tmp_path: Path) -> None:
    """On classes this far apart a trained model is right more often than one of three by chance."""
    long = replace(SMALL, rounds=40, lr=0.05)
    record, _ = script("plain_loop.py", long, tmp_path)
    assert len(read_part(tmp_path / "data", "test")[0]) == long.clients
    assert record.accuracy is not None and record.accuracy > 0.6


@pytest.mark.slow
def test_the_gpu_kit_in_a_small_form(tmp_path: Path) -> None:
    """On the CPU it compares the CPU with itself: "loop" is equal, "vmap" to rounding, for each kind of model."""
    out = tmp_path / "tables.md"
    done = forks.run(
        code=forks.script(SCRIPTS / "gpu.py", ["--small", "--out", str(out)]),
        env={**environment(tmp_path), "CUDA_VISIBLE_DEVICES": ""},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in out.read_text().splitlines() if line.startswith("|")]
    equal = [row for row in rows if len(row) == 3][2:]
    assert len(equal) == 7 and all(float(loop) == 0 and float(vmap) < 1e-5 for _, loop, vmap in equal)
    speeds = [row for row in rows if len(row) == 7][2:]
    assert [row[:2] for row in speeds] == [
        [name, system] for name in ("W1", "W2", "ResNet-18-GN") for system in ("fedmtl", "plain loop")
    ]
    assert all(float(row[2].replace(",", "")) > 0 for row in speeds)


def test_jobs_compares_the_digests_and_gives_the_part_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """How much time two at a time save depends on the machine: a table and either exit code, but no other bits."""
    data = '{ name = "synthetic", clients = 3, examples = 6, tasks = 1 }'
    (tmp_path / "tiny.toml").write_text(f'name = "tiny"\nrounds = 1\ndata = {data}\nmodel = "Linear"\n')
    arguments = ["tiny.toml", "--runtime", "InProcess", "--turns", "1", "--algorithm", "Local", "--algorithm", "FedAvg"]
    arguments += ["--seeds", "1", "--set", "batch_size=3"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["jobs.py", *arguments])
    monkeypatch.setattr(subprocess, "run", forked.run)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPTS / "jobs.py"), run_name="__main__")
    assert end.value.code in (0, 1)
    runtime, runs, *seconds, part, _ = capsys.readouterr().out.splitlines()[2].split()
    assert (runtime, runs, seconds[1::2]) == ("InProcess", "2", ["s", "s"])
    one, two = float(seconds[0]), float(seconds[2])  # to a tenth
    assert float(part) == pytest.approx(two / one, abs=0.006 + two / one * 0.05 * (1 / one + 1 / two))
    assert (end.value.code == 1) == (float(part) > 0.65) or float(part) == 0.65


def test_disk_trains_on_more_than_it_holds(tmp_path: Path) -> None:
    """In its smallest form: a line with the size of all inputs, the peak and the limit."""
    arguments = ["disk.py", "--limit", "24", "--times", "0.25"]
    code = (
        f"import runpy, sys; sys.argv = {arguments}; runpy.run_path({str(SCRIPTS / 'disk.py')!r}, run_name='__main__')"
    )
    done = forks.run(code=code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("disk: 6 MB of inputs, ") and "MB at the peak, within 24, " in done.stdout

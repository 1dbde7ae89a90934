"""``kill -9`` at any moment, then ``--resume``: the bits of a run that was never interrupted."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from fedmtl.tables.blocks import DamagedFile
from fedmtl.tables.schemas import LEDGER, read_table
from tests.forks import Process, start
from tests.runtime.kills import kill_and_compare
from tests.runtime.ray_forks import program

TINY = Path(__file__).with_name("tiny.toml")
ROUNDS = 30
KILLS = 5


def launch(out: Path, runtime: str, *, resume: bool) -> "Process | subprocess.Popen[str]":
    command = ["run", str(TINY), "--out", str(out), *(["--resume"] if resume else [])]
    command += ["--set", f"rounds={ROUNDS}", "--set", f"runtime={runtime}", "--set", "up_codec=ErrorFeedback"]
    code = "" if runtime == "InProcess" else program(command)
    return start(command, code=code, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def lines(out: Path) -> int:
    """Rows of the ledger so far."""
    return sum(block.lines for block in read_table(out, LEDGER)) if (out / LEDGER.file).exists() else 0


def reached(out: Path, rows: int) -> bool:
    """Whether the ledger has so many rows while a run writes it, which cuts it first when it resumes."""
    try:
        return lines(out) >= rows
    except DamagedFile:
        return False


def run_with_kills(out: Path, runtime: str, kills: int) -> int:
    """Run to the end, killed ``kills`` times, each time a few rounds on and a little later in the round."""
    killed = 0
    while True:
        before = lines(out)
        child = launch(out, runtime, resume=(out / "experiment.toml").exists())
        # A round writes 4 uploads and 6 broadcasts and reports: some 16 rows.
        while killed < kills and child.poll() is None:
            if reached(out, before + 48):
                time.sleep(0.004 * killed)
                os.kill(child.pid, signal.SIGKILL)
                break
            time.sleep(0.0005)
        output, _ = child.communicate(timeout=120)
        if child.returncode == 0:
            return killed
        assert child.returncode == -signal.SIGKILL, output
        killed += 1


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["InProcess", "Ray"])
def test_killed_and_resumed_is_the_same(runtime: str, tmp_path: Path) -> None:
    kills = KILLS if runtime == "InProcess" else 2
    assert run_with_kills(tmp_path / "whole", "InProcess", 0) == 0
    assert run_with_kills(tmp_path / "killed", runtime, kills) == kills
    whole, killed = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("whole", "killed"))
    assert killed["digests"] == whole["digests"]
    assert killed["tasks"] == whole["tasks"]
    assert (tmp_path / "killed" / "ledger.jsonl").read_bytes() == (tmp_path / "whole" / "ledger.jsonl").read_bytes()
    assert (tmp_path / "killed" / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model.safetensors"
    ).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["InProcess", "Ray(workers=1)"])
def test_killed_at_random_moments_is_the_same_and_leaves_nothing(runtime: str, tmp_path: Path) -> None:
    """A few; ``python -m tests.runtime.kills --kills 100 --runtime Ray`` is the whole of it."""
    assert kill_and_compare(4 if runtime == "InProcess" else 2, runtime, ROUNDS, 1, tmp_path) == []

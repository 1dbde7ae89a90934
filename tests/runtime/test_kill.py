"""``kill -9`` at any moment, then ``--resume``: the bits of a run that was never interrupted."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from fedmtl.tables.blocks import DamagedFile
from fedmtl.tables.schemas import LEDGER, read_table
from tests.runtime.kills import kill_and_compare, launch, left_after, shared_memory

ROUNDS = 20
"""More than pass between as many kills as there are here."""


def lines(out: Path) -> int:
    """Rows of the ledger so far."""
    return sum(block.lines for block in read_table(out, LEDGER)) if (out / LEDGER.file).exists() else 0


def reached(out: Path, rows: int) -> bool:
    """Whether the ledger has so many rows while a run writes it, which cuts it first when it resumes."""
    try:
        return lines(out) >= rows
    except DamagedFile:
        return False


def changed(file: Path, seconds: float) -> bool:
    """Wait until a file has changed, this long at most."""

    def state() -> tuple[int, int] | None:
        return (found.st_size, found.st_mtime_ns) if file.exists() and (found := file.stat()) else None

    before, deadline = state(), time.monotonic() + seconds
    while (now := state()) == before and time.monotonic() < deadline:
        time.sleep(0.0005)
    return now != before


def run_with_kills(out: Path, runtime: str, temporary: Path, kills: int = 0, at_random: int = 0) -> int:
    """Run to the end, and return how often it was killed.

    Args:
        out: the run folder.
        runtime: of the run.
        temporary: the run's folder for temporary files.
        kills: of the process alone, each a few rounds on and a little later in the round.
        at_random: kills after those, of the whole group, at moments drawn from the time that it took to get there.
    """
    draw, killed, took = random.Random(1), 0, 0.0
    while True:
        before, begin = lines(out), time.monotonic()
        child = launch(out, runtime, ROUNDS, temporary)
        while killed < kills and child.poll() is None:
            # A round writes 4 uploads and 6 broadcasts and reports: some 16 rows.
            if reached(out, before + 32):
                time.sleep(0.004 * killed)
                took = time.monotonic() - begin
                os.kill(child.pid, signal.SIGKILL)
                break
            changed(out / LEDGER.file, 1.0)
        if kills <= killed < kills + at_random:
            try:
                child.wait(draw.uniform(0, took))
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
        if child.wait(300) == 0:
            return killed
        assert child.returncode == -signal.SIGKILL, out.with_suffix(".log").read_text()
        killed += 1


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is never interrupted, which leaves nothing but its folder."""
    folder, shared = tmp_path_factory.mktemp("whole"), shared_memory()
    temporary = folder / "t"
    temporary.mkdir()
    assert run_with_kills(folder / "run", "InProcess", temporary) == 0
    assert left_after(30, temporary, shared) == []
    return folder / "run"


@pytest.mark.slow
@pytest.mark.parametrize(("runtime", "kills", "at_random"), [("InProcess", 5, 0), ("Ray", 2, 1)])
def test_killed_and_resumed_is_the_same(runtime: str, kills: int, at_random: int, whole: Path, tmp_path: Path) -> None:
    """And leaves nothing but the run folder; Ray's start takes most of the time, in which a random moment is."""
    temporary, shared, out = tmp_path / "t", shared_memory(), tmp_path / "killed"
    temporary.mkdir()
    assert run_with_kills(out, runtime, temporary, kills, at_random) == kills + at_random
    expected, killed = (json.loads((folder / "summary.json").read_text()) for folder in (whole, out))
    assert killed["digests"] == expected["digests"]
    assert killed["tasks"] == expected["tasks"]
    for name in ("ledger.jsonl", "model.safetensors"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    assert left_after(30, temporary, shared) == []


@pytest.mark.slow
def test_killed_at_random_moments_is_the_same_and_leaves_nothing(tmp_path: Path) -> None:
    """A few, in a run of fewer rounds; ``python -m tests.runtime.kills --kills 100 --runtime Ray`` is the whole."""
    assert kill_and_compare(4, "InProcess", 12, 1, tmp_path) == []

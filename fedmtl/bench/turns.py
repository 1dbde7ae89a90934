"""Systems in turns, A B A B: what the machine does meanwhile meets all of them alike."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedmtl.bench.record import BenchRecord, from_line
from fedmtl.bench.systems import System

SECONDS = 1_800
"""After which a system's run is given up."""


@dataclass(frozen=True)
class Runs:
    """All runs of one system on one workload."""

    system: System
    records: list[BenchRecord]
    trunk: NDArray[np.float32]
    """After the first run's last round."""


def run_once(system: System, folder: Path, rounds: int, home: Path) -> tuple[BenchRecord, NDArray[np.float32]]:
    """One run in a process of its own, and the trunk that it ended with.

    Args:
        system: whose script to run.
        folder: the workload's data.
        rounds: of training.
        home: a folder for what the system writes.

    Raises:
        RuntimeError: the script failed, or took too long.
    """
    trunk = home / "trunk.npy"
    command = [sys.executable, str(system.path), str(folder), "--rounds", str(rounds)]
    command += ["--workers", str(system.workers), "--trunk", str(trunk), *system.options]
    try:
        done = subprocess.run(command, env=environment(home), capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{system.name} took more than {SECONDS} s for {rounds} rounds; lower --rounds.") from None
    if done.returncode:
        reason = (done.stderr.strip() or "no message").splitlines()[-1]
        raise RuntimeError(f"{system.name} ended with code {done.returncode}: {reason} (command: {' '.join(command)})")
    return from_line(done.stdout.strip().splitlines()[-1]), np.load(trunk)


def environment(home: Path) -> Mapping[str, str]:
    """One thread a process for all systems, no usage reports, and this checkout's fedmtl."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "FLWR_HOME": str(home / "flwr"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }


def in_turns(
    systems: Sequence[System],
    folder: Path,
    rounds: int,
    turns: int,
    say: Callable[[str], None],
    ended: Callable[[int, System, BenchRecord], None] = lambda turn, system, record: None,
) -> list[Runs]:
    """Every system once, then every system again.

    Args:
        systems: in the order of a turn.
        folder: the workload's data.
        rounds: of training, for systems that do not take fewer.
        turns: how many.
        say: called with a line before each run.
        ended: called after each run with the turn, from 1, the system and what it measured.
    """
    records: list[list[BenchRecord]] = [[] for _ in systems]
    trunks: list[NDArray[np.float32]] = []
    with tempfile.TemporaryDirectory(prefix="fedmtl-bench-") as home:
        for turn in range(turns):
            for system, kept in zip(systems, records, strict=True):
                say(f"turn {turn + 1} of {turns}: {system.name}")
                most = system.later_rounds if turn else system.most_rounds
                record, trunk = run_once(system, folder, min(rounds, most), Path(home))
                kept.append(record)
                ended(turn + 1, system, record)
                if turn == 0:
                    trunks.append(trunk)
    return [Runs(system, kept, trunk) for system, kept, trunk in zip(systems, records, trunks, strict=True)]

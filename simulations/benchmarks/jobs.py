"""Seconds of a comparison with two runs at a time, against one at a time: in-process and on Ray.

    python simulations/benchmarks/jobs.py --turns 3

A turn is a ``fedmtl compare --jobs 1`` and a ``fedmtl compare --jobs 2`` of the same preset, in new folders, each timed
from its start to its end, with imports and report. Turns follow each other (A B A B), and the table has the medians.
``--tune 4`` times the tunings as well. The exit code is 2 where a digest differs, and 1 where two at a time need more
than .65 of the time, which means something on a machine that does nothing else alone: the last column is its load.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

PART = 0.65
"""The most of the time of one at a time that two may need."""


class Compared(NamedTuple):
    """One runtime."""

    runtime: str
    runs: int
    one: list[float]
    """Seconds of each turn with one run at a time."""
    two: list[float]
    """Seconds with two."""
    load: float
    """Processes that wanted a core, in the minute before."""

    @property
    def part(self) -> float:
        return median(self.two) / median(self.one)


def compare(runtime: str, turns: int, settings: Sequence[str]) -> Compared:
    """Measure a runtime.

    Args:
        runtime: "InProcess" or "Ray".
        turns: pairs of comparisons.
        settings: arguments of ``fedmtl compare``, the preset first.

    Raises:
        RuntimeError: a comparison failed, and its output; or its runs have other bits with two at a time.
    """
    # Threads are left to each run, as for a user: side by side they share the cores.
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0", "FLWR_TELEMETRY_ENABLED": "0"}
    load, seconds = os.getloadavg()[0], {1: [], 2: []}
    digests: dict[str, object] = {}
    for _ in range(turns):
        for jobs, taken in seconds.items():
            with tempfile.TemporaryDirectory(prefix="fedmtl-jobs-") as folder:
                command = [sys.executable, "-m", "fedmtl", "compare", *settings, "--set", f"runtime={runtime}"]
                start = time.perf_counter()
                done = subprocess.run(
                    [*command, "--jobs", str(jobs), "--out", f"{folder}/out"],
                    env=environment,
                    capture_output=True,
                    text=True,
                )
                taken.append(time.perf_counter() - start)
                if done.returncode:
                    raise RuntimeError(f"{' '.join(done.args)} failed: {done.stderr}")
                found = {
                    str(file.parent.relative_to(folder)): json.loads(file.read_text())["digests"]
                    for file in Path(folder).glob("out/runs/*/*/summary.json")
                }
            digests = digests or found
            for name in digests.keys() | found.keys():
                if digests.get(name) != found.get(name):
                    raise RuntimeError(f"{name} with --jobs {jobs} has not the bits that it has with --jobs 1.")
    return Compared(runtime, len(digests), seconds[1], seconds[2], load)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", nargs="?", default="digits")
    parser.add_argument("--runtime", action="append", choices=["InProcess", "Ray"])
    parser.add_argument("--algorithm", action="append", metavar="NAME")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--tune", type=int, metavar="TRIALS")
    parser.add_argument("--set", action="append", dest="settings", metavar="KEY=VALUE")
    given = parser.parse_args()
    settings = [given.preset, "--seeds", str(given.seeds)]
    for name in given.algorithm or ("Local", "FedPer", "FedAvg"):
        settings += ["--algorithm", name]
    for pair in given.settings or ("rounds=10",):
        settings += ["--set", pair]
    settings += [] if given.tune is None else ["--tune", str(given.tune)]
    print(f"fedmtl compare {' '.join(settings)}, {os.cpu_count()} cores, medians of {given.turns}")
    print(f"{'runtime':>9}  {'runs':>4}  {'--jobs 1':>9}  {'--jobs 2':>9}  {'part':>5}  {'load':>5}")
    parts = []
    for runtime in given.runtime or ("InProcess", "Ray"):
        try:
            found = compare(runtime, given.turns, settings)
        except RuntimeError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        parts.append(found.part)
        one, two = (f"{median(taken):.1f} s" for taken in (found.one, found.two))
        print(f"{runtime:>9}  {found.runs:>4}  {one:>9}  {two:>9}  {found.part:>5.2f}  {found.load:>5.1f}", flush=True)
    print(f"same digests; the most that two at a time may need is {PART} of the time")
    return int(max(parts) > PART)


if __name__ == "__main__":
    sys.exit(main())

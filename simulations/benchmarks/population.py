"""Seconds to the first round, and the most memory of all processes, of populations that grow.

    python simulations/benchmarks/population.py 10000 100000 1000000

Clients have four examples each, a thousand train in a round, and a sample of two thousand is measured. Each population
is a ``fedmtl run`` of its own, on Ray with two workers. Memory counts a page that processes share once (PSS), and twice
a second; seconds are from the command to the line of round 1, with the imports, the start of Ray and the drawing of the
data.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

from fedmtl.bench.memory import family, resident

PRESET = """name = "population"
rounds = {rounds}
cohort = 1000
batch_size = 4
evaluate_every = {rounds}
evaluate_clients = 2000
data = {{ name = "synthetic", clients = {clients}, examples = 4, test_examples = 1, features = 32, classes = 10 }}
model = {{ name = "MLP", hidden = [32] }}
algorithm = {{ name = "FedPer", epochs = 1 }}
"""


RUN = """
import sys
from fedmtl.runs.presets import load_experiment
from fedmtl.run_experiment import run

preset, out, *settings = sys.argv[1:]
run(load_experiment(preset, settings), out, on_round=lambda progress: print("round", progress.round))
"""
"""A run that prints a line as each round ends, measured or not."""


class Population(NamedTuple):
    """One run."""

    clients: int
    first_round: float
    """Seconds."""
    round: float
    """Seconds of each later one."""
    memory: int
    """Bytes, all processes."""


def measure(clients: int, rounds: int, settings: list[str]) -> Population:
    """Run one population.

    Raises:
        RuntimeError: the run failed; the message is its output.
    """
    with tempfile.TemporaryDirectory(prefix="fedmtl-population-") as folder:
        preset = Path(folder) / "population.toml"
        preset.write_text(PRESET.format(clients=clients, rounds=rounds))
        command = [sys.executable, "-u", "-c", RUN, str(preset), f"{folder}/run", *settings]
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        peaks, ends, said = [0], [], []

        def watch() -> None:
            while child.poll() is None:
                peaks.append(resident(family(child.pid))[0])
                time.sleep(0.5)

        watcher = threading.Thread(target=watch)
        watcher.start()
        for line in child.stdout or ():
            said.append(line)
            if line.startswith("round "):
                ends.append(time.perf_counter() - start)
        watcher.join()
        if child.wait() or len(ends) < rounds:
            raise RuntimeError(f"{clients} clients: {''.join(said)}")
        return Population(clients, ends[0], (ends[-1] - ends[0]) / max(1, rounds - 1), max(peaks))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clients", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    print(f"{'clients':>10}  {'first round':>12}  {'each later one':>14}  {'memory':>8}")
    for clients in arguments.clients:
        found = measure(clients, arguments.rounds, arguments.settings)
        memory = f"{found.memory / 1e9:.2f} GB"
        print(f"{clients:>10,}  {found.first_round:>10.1f} s  {1000 * found.round:>11.0f} ms  {memory:>8}", flush=True)


if __name__ == "__main__":
    main()

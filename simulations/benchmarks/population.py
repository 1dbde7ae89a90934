"""Seconds to the first round, and the most memory of all processes, of populations that grow; and a simulated day.

    python simulations/benchmarks/population.py 10000 100000 1000000
    python simulations/benchmarks/population.py --day

Clients have four examples each, a thousand train in a round, and a sample of two thousand is measured. Each population
is a ``fedmtl run`` of its own, on Ray with two workers. Memory counts a page that processes share once (PSS), and twice
a second; seconds are from the command to the line of round 1, with the imports, the start of Ray and the drawing of the
data.

With ``--day`` the run is 100 rounds of a simulated day, a step of the server's each 864 s, of clients that have traces:
of bandwidth, and of when they are there, all of them at midnight and one in twenty at noon. A table says how long the
server takes to draw a cohort at each hour, and the last lines how long the whole day took, begin and data included.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fedmtl.bench.memory import family, resident
from fedmtl.protocol.exchange import Exchange
from fedmtl.server.clock import Clock
from fedmtl.timing.availability import Windows
from fedmtl.timing.availability.base import DAY
from fedmtl.timing.links import LogNormal
from fedmtl.timing.make_trace import make_trace
from fedmtl.timing.timing import Timing

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
    seconds: float
    """From the command to its end."""
    processor: float
    """Seconds of processors, all processes."""
    simulated: float
    """Seconds of the simulated clock; 0 without one."""


def processor_seconds(pid: int) -> float:
    """Seconds in which a process had a processor, for itself and in the kernel; 0 for one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
        peaks, ends, said, busy = [0], [], [], dict[int, float]()

        def watch() -> None:
            while child.poll() is None:
                found = family(child.pid)
                peaks.append(resident(found)[0])
                busy.update((pid, max(busy.get(pid, 0.0), processor_seconds(pid))) for pid in found)
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
        seconds, later = time.perf_counter() - start, (ends[-1] - ends[0]) / max(1, rounds - 1)
        simulated = json.loads((Path(folder) / "run" / "summary.json").read_text()).get("simulated", {"seconds": 0.0})
        return Population(clients, ends[0], later, max(peaks), seconds, sum(busy.values()), simulated["seconds"])


ROUNDS_OF_A_DAY = 100
TRACES = 1000
"""Each client has one of them, entered at its begin: clients share hours, and with them the night."""


def write_windows(path: Path, draw: np.random.Generator) -> None:
    """Write availability: each night 6 to 10 hours from 20:00 to 24:00 on; of one client in twenty, all day."""
    rows = ["client,start,end"]
    for client in range(TRACES):
        begin, hours = draw.uniform(20, 23.9), draw.uniform(6, 10)
        windows = [(0.0, 24.0)] if draw.random() < 0.05 else [(0.0, (begin + hours) % 24), (begin, 24.0)]
        rows += [f"{client},{3600 * start:.0f},{3600 * end:.0f}" for start, end in windows]
    path.write_text("\n".join(rows) + "\n")


def print_draws(clients: int, windows: str) -> None:
    """Print the time in which the server draws a cohort of 1,000 among the clients that are there, at each hour."""
    clock, present = Clock(Timing(availability=Windows(windows)), 0, 1000, 1), np.arange(clients)
    clock.ask(Exchange(1, 0), present)  # reads the file
    print(f"{'hour':>4}  {'available':>9}  {'processor time of a draw: median of 9, most':>43}")
    for hour in range(0, 24, 3):
        spent, clock.now = [], 3600.0 * hour
        there = clock.timing.availability.until(0, present, np.full(clients, clock.now)) > clock.now
        for number in range(1, 10):
            start = time.process_time()
            clock.ask(Exchange(number, number - 1), present)
            spent.append(1000 * (time.process_time() - start))
        print(f"{hour:>4}  {there.mean():>9.1%}  {f'{np.median(spent):.1f} ms, {max(spent):.1f} ms':>43}", flush=True)


def print_day(clients: int, settings: list[str]) -> None:
    """Run a simulated day, and print what it took."""
    with tempfile.TemporaryDirectory(prefix="fedmtl-day-") as folder:
        windows, links = f"{folder}/windows.csv", f"{folder}/links.csv"
        write_windows(Path(windows), np.random.default_rng(0))
        make_trace(LogNormal(down_mbps=20, up_mbps=5, period=60), links, clients=100)
        print_draws(clients, windows)
        timed = [
            f"link=Trace({links!r}, shuffle=True)",
            f"availability=Windows({windows!r}, dropout=0.05)",
            "devices=DeviceClasses([400, 100, 20], [4, 2, 2], [1, 2, 1])",
            f"policy=SemiSynchronous({DAY / ROUNDS_OF_A_DAY:g})",
        ]
        found = measure(clients, ROUNDS_OF_A_DAY, [*timed, *settings])
    print(f"{clients:,} clients, {ROUNDS_OF_A_DAY} rounds, {found.simulated:,.0f} simulated seconds")
    print(f"measured: {found.seconds:.0f} s, {found.processor:.0f} processor seconds, {found.memory / 1e9:.2f} GB")
    print(f"{found.first_round:.0f} s to the first round, {1000 * found.round:.0f} ms each later one")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clients", type=int, nargs="*", help="10,000, 100,000 and 1,000,000")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--day", action="store_true", help="a simulated day, of a million clients or those named")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    if arguments.day:
        for clients in arguments.clients or [1_000_000]:
            print_day(clients, arguments.settings)
        return
    print(f"{'clients':>10}  {'first round':>12}  {'each later one':>14}  {'memory':>8}")
    for clients in arguments.clients or [10_000, 100_000, 1_000_000]:
        found = measure(clients, arguments.rounds, arguments.settings)
        memory = f"{found.memory / 1e9:.2f} GB"
        print(f"{clients:>10,}  {found.first_round:>10.1f} s  {1000 * found.round:>11.0f} ms  {memory:>8}", flush=True)


if __name__ == "__main__":
    main()

"""Ten and a hundred thousand clients, a thousand a round, over Ray: memory with every process counted, and time.

The runs are in one process, one after the other: Ray's start takes longer than the smaller two. What an earlier one has
left counts in the memory of a later one. The process and Ray's workers are forks, and Ray's agents are left out. So
memory is resident sets, with a page that processes share counted in each. That is more than what true processes take
(PSS) in a cluster with agents: torch's pages alone, which are counted three times, are more than both agents.
"""

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fedmtl.bench.memory import family
from fedmtl.tables.schemas import LEDGER, METRICS, read_table, rows
from simulations.benchmarks import population
from tests.forks import start
from tests.runtime.ray_forks import on_forks, stub_of_workers

MEASURED = """
name = "population"
rounds = 2
cohort = 1000
batch_size = 16
evaluate_every = 2
data = { name = "synthetic", clients = 10000, examples = 32, features = 64, classes = 10 }
model = { name = "MLP", hidden = [32] }
algorithm = { name = "FedPer", epochs = 1 }
"""
"""All are measured, each with 32 examples."""

SIZES = {"small": 10_000, "large": 100_000}
"""Clients of the benchmark's preset, of which a sample is measured."""

PROGRAM = """
from fedmtl.runs.presets import load_experiment
from fedmtl.run_experiment import run
for name in {names}:
    print(name, "begins")
    run(load_experiment(name + ".toml"), name, on_round=lambda progress: print(name, progress.round))
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc"),
]


def resident(pids: Iterable[int]) -> int:
    """Bytes of memory of some processes; what ``fedmtl.bench.memory.resident`` reads takes a tenth of a second each."""
    pages = 0
    for pid in pids:
        with suppress(OSError):  # it ended meanwhile
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


class Found(NamedTuple):
    """What was seen of the process."""

    folder: Path
    ends: dict[str, float]
    """Line -> seconds from the command to it."""
    memory: dict[str, int]
    """Run -> the most bytes of all processes while it lasted."""

    def first_round(self, name: str) -> float:
        """Seconds to the end of a run's first round, without the imports and the start of Ray."""
        return self.ends[f"{name} 1"] - self.ends[f"{name} begins"]

    def round(self, name: str) -> float:
        """Seconds of each later one."""
        return (self.ends[f"{name} 3"] - self.ends[f"{name} 1"]) / 2


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("population")
    (folder / "measured.toml").write_text(MEASURED)
    for name, clients in SIZES.items():
        (folder / f"{name}.toml").write_text(population.PRESET.format(rounds=3, clients=clients))
    ends: dict[str, float] = {}
    memory, said = dict.fromkeys(("measured", *SIZES), 0), []
    start(code="pass").wait()  # whose first processes are no part of the run
    stub_of_workers()
    others = {*family(os.getpid())}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    begin = time.perf_counter()
    child = start(code=on_forks(PROGRAM.format(names=[*memory])), cwd=folder, **pipes)

    def watch() -> None:
        while child.poll() is None:
            if ends:
                now = [*ends][-1].split()[0]
                memory[now] = max(memory[now], resident({*family(os.getpid())} - others))
            time.sleep(0.2)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for line in child.stdout or ():
        said.append(line)
        if line.split()[0] in memory:
            ends[line.strip()] = time.perf_counter() - begin
    watcher.join()
    assert child.wait() == 0, "".join(said)
    return Found(folder, ends, memory)


def test_ten_thousand_clients_in_three_gigabytes(found: Found) -> None:
    assert 100e6 < found.memory["measured"] < 3e9
    # 2 rounds of 1,000 up and down, two measurements of all: before the first round, when the cohort's rides on
    # its training request, and after the last.
    out = found.folder / "measured"
    packets = sum(block.lines for block in read_table(out, LEDGER))
    assert packets == 2 * 1000 * 2 + (9000 + 10000) + (10000 + 10000)
    measured = list(rows(METRICS, read_table(out, METRICS)))
    assert len(measured) == 2 * (10_000 + 4)


def test_a_hundred_thousand_clients_start_in_seconds(found: Found) -> None:
    """3 s on a quiet machine of two cores; here with room for a busy one. A round does not depend on the population."""
    assert found.first_round("large") < 25 and found.memory["large"] < 2e9
    assert found.round("large") < 5 * found.round("small") + 0.2


def test_the_benchmark_measures_a_population(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the size of a cohort, in forks."""

    def forked(command: list[str], **streams: Any) -> Any:
        assert command[:3] == [sys.executable, "-u", "-c"] and streams.pop("text")
        return start(code=on_forks(f"import sys\nsys.argv = {['-c', *command[4:]]!r}\n{command[3]}"), **streams)

    start(code="pass").wait()  # whose first processes are no forks
    stub_of_workers()
    monkeypatch.setattr(subprocess, "Popen", forked)
    one = population.measure(1000, 3, [])
    assert one.clients == 1000 and 0 < one.round < one.first_round < one.seconds and one.memory > 50e6
    assert 0 < one.processor and one.simulated == 0

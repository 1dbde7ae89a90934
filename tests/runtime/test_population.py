"""Ten and a hundred thousand clients, a thousand a round, over Ray: memory with every process counted, and time."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fedmtl.bench.memory import family, resident
from fedmtl.tables.schemas import LEDGER, METRICS, read_table, rows
from simulations.benchmarks.population import measure
from tests.forks import start
from tests.runtime.ray_forks import on_forks, stub_of_workers

PRESET = """
name = "population"
rounds = 3
cohort = 1000
batch_size = 16
evaluate_every = 3
data = { name = "synthetic", clients = 10000, examples = 32, features = 64, classes = 10 }
model = { name = "MLP", hidden = [32] }
algorithm = { name = "FedPer", epochs = 1 }
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_ten_thousand_clients_in_three_gigabytes(tmp_path: Path) -> None:
    (tmp_path / "population.toml").write_text(PRESET)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "fedmtl", "run", str(tmp_path / "population.toml"), "--out", str(out)]
    with open(tmp_path / "log", "wb") as log:
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        peak = 0
        while child.poll() is None:
            peak = max(peak, resident(family(child.pid))[0])
            time.sleep(0.2)
    assert child.returncode == 0, (tmp_path / "log").read_text()
    assert 100e6 < peak < 3e9
    # 3 rounds of 1,000 up and down, two measurements of all: before the first round, when the cohort's rides on
    # its training request, and after the last.
    packets = sum(block.lines for block in read_table(out, LEDGER))
    assert packets == 3 * 1000 * 2 + (9000 + 10000) + (10000 + 10000)
    measured = list(rows(METRICS, read_table(out, METRICS)))
    assert len(measured) == 2 * (10_000 + 4)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_a_hundred_thousand_clients_start_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """8 s on a quiet machine of two cores; here with room for a busy one. A round does not depend on the population.

    Of the smaller one only the round counts, so it is in forks.
    """
    large = measure(100_000, 3, [])

    def forked(command: list[str], **streams: Any) -> Any:
        assert command[:3] == [sys.executable, "-u", "-c"] and streams.pop("text")
        return start(code=on_forks(f"import sys\nsys.argv = {['-c', *command[4:]]!r}\n{command[3]}"), **streams)

    start(code="pass").wait()  # whose first processes are no forks
    stub_of_workers()
    monkeypatch.setattr(subprocess, "Popen", forked)
    small = measure(10_000, 3, [])
    assert large.first_round < 60 and large.memory < 2e9
    assert large.round < 5 * small.round + 0.2

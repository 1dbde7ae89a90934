"""Ten thousand clients, a thousand a round, over Ray, in under 3 GB with every process counted."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedmtl.comm.tables import LEDGER, read_table

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


def resident_bytes(root: int) -> int:
    """Resident memory of a process and all its descendants, pages that they share counted for each."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:  # ended while we looked
                continue
            children.setdefault(parent, []).append(int(entry.name))
    family, total = [root], 0
    for pid in family:
        family += children.get(pid, [])
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            continue
    return total


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
            peak = max(peak, resident_bytes(child.pid))
            time.sleep(0.2)
    assert child.returncode == 0, (tmp_path / "log").read_text()
    assert 100e6 < peak < 3e9
    # 3 rounds of 1,000 up and down, two measurements of all: before the first round, when the cohort's rides on
    # its training visit, and after the last.
    rows = sum(block.lines for block in read_table(out, LEDGER))
    assert rows == 3 * 1000 * 2 + (9000 + 10000) + (10000 + 10000)

"""Freed memory is kept, up to the most that was needed at once."""

import sys

import pytest

from tests import forks

SCRIPT = """
import resource, torch
from fedmtl.engines.allocator import keep_freed_memory

if KEEP and not keep_freed_memory():
    print("elsewhere"), exit()
torch.set_num_threads(1)
peak, faults = [], []
for round in range(200):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(200_000 + 1000 * (7 * round % 13), dtype=torch.float32) * step for step in range(8)]
    del tensors
    usage = resource.getrusage(resource.RUSAGE_SELF)
    peak.append(usage.ru_maxrss)
    faults.append(usage.ru_minflt - before)
print(peak[19], peak[-1], sum(faults[20:]))
"""


def measured(keep: bool) -> list[int]:
    done = forks.run(code=SCRIPT.replace("KEEP", str(keep)), cwd=forks.ROOT, bare=True)  # with malloc as torch has it
    assert done.returncode == 0, done.stderr
    if "elsewhere" in done.stdout:
        pytest.skip("another C library")
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's settings")
def test_two_hundred_rounds_take_the_memory_of_twenty() -> None:
    """Eight tensors of 0.8 MB a round, of sizes that vary: 7 MB. Peak grows by less than one round's from the
    twentieth on, and pages are not fetched anew: by default they are, 180 rounds × 8 × 2 × 195 pages of 4 KiB."""
    early, late, faults = measured(keep=True)
    assert late - early < 7_000  # KiB
    _, _, default = measured(keep=False)
    assert faults < default / 10

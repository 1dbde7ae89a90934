"""Random mutations of whole replies, and large ones: no crash, no hang, and memory that follows what arrived."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.forks import run

ROOT = Path(__file__).parents[2]


def fuzz(*arguments: str, seconds: float = 300) -> dict[str, Any]:
    """In a process of its own: a crash of it is a failure here, and its memory is its own."""
    code = f"import runpy, sys\nsys.path.insert(0, {str(ROOT)!r})\nsys.argv[1:] = {arguments}\n"
    code += "runpy.run_module('tests.runtime.fuzz_replies', run_name='__main__')"
    done = run(code=code, cwd=ROOT, timeout=seconds)
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[-2000:]}"
    return json.loads(done.stdout)


def test_random_mutations_of_replies_neither_end_nor_own_a_run() -> None:
    """``python -m tests.runtime.fuzz_replies 20000`` tries more of them."""
    found = fuzz("600", "1")
    assert found["rejected"] > 500 and len(found["kinds"]) > 6
    assert found["grown_mb"] < 100


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
@pytest.mark.parametrize("what", ["packet", "packets", "report", "column", "text", "totals"])
def test_memory_stays_below_twice_what_arrived_and_100_mb(what: str) -> None:
    found = fuzz(what, "300")
    assert found["above"] < 300 + 100 and found["seconds"] < 5

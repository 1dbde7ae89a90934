"""Ray started in the background: before torch is imported, without what no run needs, and gone with the process."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fedmtl.registry.allowed import NOTHING
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import from_dict
from fedmtl.runs.presets import load_experiment, runtime_of
from tests.processes import alive
from tests.runtime.ray_forks import on_forks, program

TINY = Path(__file__).parents[1] / "tiny.toml"
ROOT = Path(__file__).parents[3]

EARLY = """
import sys
from pathlib import Path
from fedmtl.runtime.ray.background import start_in_background
start_in_background()
assert "torch" not in sys.modules  # in this process, which goes on at once
from fedmtl.runs.presets import load_experiment
from fedmtl.run_experiment import run
print(run(load_experiment({tiny!r}, ["runtime=Ray(workers=1)"])).summary["digests"])
import os, ray
from ray._private.node import Node
commands = []
for process in Path("/proc").glob("[0-9]*"):
    try:
        if (process / "stat").read_text().rsplit(")", 1)[1].split()[1] == str(os.getpid()):
            commands.append((process / "cmdline").read_text())
    except OSError:
        pass
assert any("raylet" in command for command in commands), commands
assert not any("dashboard.py" in c or "monitor.py" in c for c in commands), commands
assert Node.start_api_server.__name__ == "start_api_server"
"""


def play(*command: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=120, env=env)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_a_run_on_a_ray_that_began_before_torch_is_the_same() -> None:
    done = play("-c", on_forks(EARLY.format(tiny=str(TINY))))  # but for its workers a new interpreter
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(run(load_experiment(TINY)).summary["digests"])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_a_mistyped_setting_is_reported_while_ray_starts_and_leaves_nothing_behind() -> None:
    mark = f"mistyped-{os.getpid()}"
    command = program(["run", "digits", "--set", "algorithm=FedPar"])  # as above
    done = play("-c", command, env={**os.environ, "FEDMTL_TEST_MARK": mark})
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "FedPar" in done.stderr
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and alive(mark):
        time.sleep(0.1)
    assert alive(mark) == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, 1),
        ({"runtime": "ray"}, 1),
        ({"runtime": {"name": "Ray", "workers": 3}}, 1),
        ({"runtime": "InProcess"}, 0),
        ({"runtime": "Ray(address='auto')"}, 0),
    ],
    ids=repr,
)
def test_values_prepare_the_runtime_of_their_experiment(
    values: dict[str, Any], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray starts in the background where it starts on this machine."""
    assert runtime_of(values, NOTHING) == from_dict(values).runtime
    starts: list[int] = []
    monkeypatch.setattr("fedmtl.runtime.ray.background.start_in_background", lambda: starts.append(1))
    runtime_of(values, NOTHING).prepare()
    assert len(starts) == expected

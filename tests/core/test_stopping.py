"""Ctrl-C and SIGTERM: soon, one line that says what is kept and how to go on, 128 plus the signal, no traceback."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.forks import start
from tests.processes import alive
from tests.runtime.ray_forks import program

ROOT = Path(__file__).parents[2]


def new_interpreter(arguments: Sequence[str], **settings: Any) -> subprocess.Popen[str]:
    """Start Python, where SIGINT is not ignored, as it is where the tests run in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen([sys.executable, *arguments], text=True, **settings)
    finally:
        signal.signal(signal.SIGINT, before)


def wait_for_handlers(process: Any, seconds: float = 60) -> None:
    """Wait, on a busy machine, until a command handles SIGTERM or is over; not where the system does not show it."""
    status, deadline = Path(f"/proc/{process.pid}/status"), time.monotonic() + seconds
    with suppress(OSError):  # the command has ended
        while process.poll() is None and time.monotonic() < deadline:
            caught = [int(line.split()[1], 16) for line in status.read_text().splitlines() if line.startswith("SigCgt")]
            if not caught or caught[0] >> (signal.SIGTERM - 1) & 1:
                return
            time.sleep(0.02)


def stop(
    arguments: Sequence[str], number: signal.Signals, after: str | float, times: int = 1
) -> tuple[int, str, str, float]:
    """Run ``fedmtl``, send a signal after a line with some text, or some seconds: code, output, errors, seconds."""
    pipes: dict[str, Any] = {"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if isinstance(after, str):
        process = start(arguments, code="" if "InProcess" in " ".join(arguments) else program(arguments), **pipes)
    else:  # a new interpreter, whose imports are a part of that time
        process = new_interpreter(["-u", "-m", "fedmtl", *arguments], **pipes)
    assert process.stdout
    seen = ""
    if isinstance(after, str):
        while after not in seen:
            line = process.stdout.readline()
            assert line, seen
            seen += line
    else:
        time.sleep(after)
        wait_for_handlers(process)
    begin = time.monotonic()
    for _ in range(times):
        process.send_signal(number)
        time.sleep(0.05)
    out, errors = process.communicate(timeout=60)
    return process.wait(), seen + out, errors, time.monotonic() - begin


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_with_a_folder_says_how_to_go_on(number: signal.Signals, tmp_path: Path) -> None:
    out = tmp_path / "my run"
    arguments = ["run", "digits", "--set", "runtime=InProcess", "--set", "rounds=500", "--out", str(out)]
    code, _, errors, seconds = stop(arguments, number, "round 1/")
    assert code == 128 + number
    assert errors.startswith("stopped after round ") and errors.count("\n") == 1
    assert errors.rstrip().endswith(f"rounds=500 --out '{out}' --resume")
    assert seconds < 5
    assert [path.name for path in out.rglob(".*") if path.name.endswith(tuple("0123456789"))] == []  # no drafts


def test_a_run_without_a_folder_says_that_nothing_is_kept() -> None:
    code, _, errors, _ = stop(
        ["run", "digits", "--set", "runtime=InProcess", "--set", "rounds=500"], signal.SIGINT, "round 1/"
    )
    assert code == 130
    assert errors.startswith("stopped") and "nothing is kept: give a folder, --out DIR" in errors
    assert errors.count("\n") == 1


def test_a_comparison_goes_on_with_the_same_command(tmp_path: Path) -> None:
    arguments = ["compare", "digits", "--set", "runtime=InProcess", "--set", "rounds=300", "--seeds", "2"]
    code, _, errors, _ = stop([*arguments, "--out", str(tmp_path / "c")], signal.SIGINT, "round 1/")
    assert code == 130
    assert "in run 1 of " in errors and "go on with the same command: fedmtl compare digits" in errors
    assert "--resume" not in errors


def test_runs_side_by_side_end_with_their_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDMTL_TEST_MARK", mark := f"side-by-side-{os.getpid()}")
    arguments = [
        "compare",
        "digits",
        "--runtime",
        "InProcess",
        "--set",
        "rounds=3000",
        "--seeds",
        "2",
        "--jobs",
        "2",
    ]
    code, _, errors, seconds = stop([*arguments, "--out", str(tmp_path / "c")], signal.SIGINT, "[2/2]")
    assert code == 130 and seconds < 15
    assert errors.startswith("stopped with 0 of 2 runs done; what is done is kept; go on with the same command: fedmtl")
    assert errors.count("\n") == 1 and alive(mark) == []


@pytest.mark.parametrize("command", [["verify"], ["list", "algorithms"], ["bench", "--quick"]], ids=lambda c: c[0])
def test_any_command_ends_without_a_traceback(command: list[str]) -> None:
    code, _, errors, _ = stop(command, signal.SIGINT, 0.4)
    assert code in (130, 0), errors  # a list may be over
    assert errors == "" if code == 0 else errors == "stopped\n"


def test_a_second_signal_ends_a_process_that_is_busy() -> None:
    """With a cleanup that waits."""
    code = """
import time
from fedmtl.core import stopping
stopping.GRACE_S = 50
stopping.install()
try:
    print("ready", flush=True)
    time.sleep(60)
finally:
    time.sleep(60)
"""
    process = new_interpreter(["-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stdout.readline() == "ready\n"
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1] == "stopped\n"
    assert process.returncode == 130 and time.monotonic() - begin < 20


def test_a_signal_that_is_ignored_stays_so() -> None:
    """As behind ``nohup``, or in the background of a script."""
    code = "import signal; from fedmtl.core import stopping; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    code += "stopping.install(); import os; os.kill(os.getpid(), signal.SIGINT); print('goes on')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.stdout == "goes on\n" and done.returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("after", [0.3, 1.0, 2.0, 4.0, "round 1/"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_on_ray_at_any_time_nothing_stays(
    number: signal.Signals, after: str | float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = f"stopped-{os.getpid()}"
    temporary = tmp_path / "t"
    temporary.mkdir()
    monkeypatch.setenv("FEDMTL_TEST_MARK", mark)
    monkeypatch.setenv("TMPDIR", str(temporary))
    arguments = ["run", "digits", "--set", "rounds=500", "--out", str(tmp_path / "r")]
    code, _, errors, seconds = stop(arguments, number, after)
    assert code == 128 + number, errors
    # Ray's own handler of SIGTERM may print its lines first, while Ray is being started.
    last = errors.splitlines()[-1]
    # A moment may be before anything has begun: .3 s, or more on a busy machine.
    assert "--resume" in last or (last == "stopped" and not (tmp_path / "r").exists()), errors
    assert "Traceback" not in errors, errors
    assert number == signal.SIGTERM or errors.count("\n") == 1, errors
    assert seconds < 5
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and (alive(mark) or list(temporary.iterdir())):
        time.sleep(0.1)
    assert alive(mark) == [] and list(temporary.iterdir()) == []

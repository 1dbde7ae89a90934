"""One process at a time in a run's folder: refusals, stale locks, races."""

import fcntl
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from fedmtl.run_experiment import run
from fedmtl.runs import run_lock
from fedmtl.runs.progress import Progress
from fedmtl.runs.run_lock import LOCK, hold, refuse_if_held
from tests.toys import experiment

HOLDER = (
    "import signal, sys, time\n"
    "from pathlib import Path\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # which the background of a script ignores
    "from fedmtl.runs.run_lock import hold\n"
    "with hold(Path(sys.argv[1])):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)


def holder(folder: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "held\n"
    return child


def end(child: subprocess.Popen[str], number: int = signal.SIGKILL) -> None:
    child.send_signal(number)
    child.wait()
    if child.stdout is not None:
        child.stdout.close()


def test_a_second_process_is_refused_with_pid_host_and_time(tmp_path: Path) -> None:
    child = holder(tmp_path)
    try:
        since = json.loads((tmp_path / LOCK).read_text())["since"]
        for look in (refuse_if_held, lambda folder: hold(folder).__enter__()):
            start = time.monotonic()
            with pytest.raises(ValueError) as error:
                look(tmp_path)
            assert time.monotonic() - start < 0.5
            for part in (f"process {child.pid} ", repr(socket.gethostname()), f"since {since}", "--out"):
                assert part in str(error.value)
    finally:
        end(child)


def test_the_command_is_refused_within_a_second_of_its_start(tmp_path: Path) -> None:
    """Measured against `fedmtl --help`, which imports neither torch nor Ray: a slow machine is slow at both."""
    child = holder(tmp_path)
    try:
        seconds = []
        for arguments in (["--help"], ["run", "digits", "--out", str(tmp_path)]):
            start = time.monotonic()
            done = subprocess.run([sys.executable, "-m", "fedmtl", *arguments], capture_output=True, text=True)
            seconds.append(time.monotonic() - start)
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and f"process {child.pid}" in done.stderr
        assert seconds[1] < seconds[0] + 0.5
    finally:
        end(child)


def test_a_second_call_in_one_process_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    refused: list[str] = []

    def second(progress: Progress) -> None:
        for resume in (True, False):
            with pytest.raises(ValueError, match=f"written by another run: process {os.getpid()} ") as error:
                run(experiment(), tmp_path, resume=resume)
            refused.append(str(error.value))

    first = run(experiment(), tmp_path, on_round=second)
    assert len(refused) == 2 * 4
    assert first.summary["digests"] == run(experiment()).summary["digests"]
    assert not (tmp_path / LOCK).exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_lock_ends_with_its_process_however_that_ends(number: int, tmp_path: Path) -> None:
    end(holder(tmp_path), number)
    with hold(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_pid_that_is_used_again_holds_nothing(tmp_path: Path) -> None:
    """The file of a killed process names a pid which is now another's, here this one's."""
    stale = {"pid": os.getpid(), "host": socket.gethostname(), "boot": "", "began": "1", "since": "long ago"}
    (tmp_path / LOCK).write_text(json.dumps(stale))
    with hold(tmp_path):
        pass


def test_the_lock_of_another_host_is_refused_and_the_file_to_delete_named(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(json.dumps({"pid": 1, "host": "elsewhere", "since": "2026-01-01 00:00:00"}))
    with pytest.raises(ValueError, match="process 1 on host 'elsewhere', since 2026-01-01 00:00:00.*delete") as error:
        hold(tmp_path).__enter__()
    assert str(tmp_path / LOCK) in str(error.value)
    (tmp_path / LOCK).unlink()
    with hold(tmp_path):
        pass


@pytest.mark.parametrize("junk", [b"", b"{", b"[1]", b"\xff" * 100, b"{}"])
def test_a_lock_that_names_no_process_is_taken_over(junk: bytes, tmp_path: Path) -> None:
    (tmp_path / LOCK).write_bytes(junk)
    with hold(tmp_path):
        pass


def test_of_many_that_start_at_once_one_is_let_in(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from fedmtl.runs.run_lock import hold\n"
        "time.sleep(max(0, float(sys.argv[2]) - time.time()))\n"
        "try:\n"
        "    with hold(Path(sys.argv[1])):\n"
        "        time.sleep(2)\n"
        "except ValueError as error:\n"
        "    assert 'process ' in str(error) and '?' not in str(error), error\n"
        "    sys.exit(3)\n"
    )
    at = str(time.time() + 1.5)
    folder = tmp_path / "new"
    children = [subprocess.Popen([sys.executable, "-c", code, str(folder), at]) for _ in range(8)]
    assert sorted(child.wait() for child in children) == [0] + [3] * 7
    assert not folder.exists()  # nothing was put into it


@pytest.mark.parametrize(("calls", "turns"), [(1, 20), (8, 5)])
def test_however_those_that_start_at_once_interleave_no_folder_stays(calls: int, turns: int, tmp_path: Path) -> None:
    """Threads, each a caller of its own: one at a time is inside, in a folder that is there.

    With one call each, the folder stayed in one turn of twelve where the process that made it was refused.
    """
    draw = random.Random(0)
    folder = tmp_path / "new" / "er"
    pauses = [[draw.choice([0, 0, 0.0005, 0.002]) for _ in range(calls)] for _ in range(8)]
    for _ in range(turns):
        barrier, inside, entered, faults = threading.Barrier(8), threading.Lock(), [0], []

        def one(
            pauses: list[float],
            barrier: threading.Barrier = barrier,
            inside: threading.Lock = inside,
            entered: list[int] = entered,
            faults: list[str] = faults,
        ) -> None:
            barrier.wait()
            for pause in pauses:
                try:
                    with hold(folder):
                        if not inside.acquire(blocking=False):
                            faults.append("two inside")
                            return
                        entered[0] += 1
                        time.sleep(pause)
                        if not folder.is_dir():
                            faults.append("no folder")
                        inside.release()
                except ValueError as error:
                    if f"process {os.getpid()} " not in str(error):
                        faults.append(str(error))
                except OSError as error:
                    faults.append(repr(error))

        threads = [threading.Thread(target=one, args=(each,)) for each in pauses]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert faults == [] and entered[0] > 0 and list(tmp_path.iterdir()) == []


def test_a_folder_that_comes_and_goes_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there as it is to be made, and at a first look, but not at a second: it is made in the next turn. A link to
    nothing stays an error."""
    folder, make, others = tmp_path / "new", Path.mkdir, ["another process"]

    def made(path: Path) -> None:
        if path == folder and others:
            raise FileExistsError(17, "File exists", str(path))
        make(path)

    monkeypatch.setattr(Path, "mkdir", made)
    monkeypatch.setattr(os.path, "lexists", lambda path: bool(others and others.pop()))
    levels = run_lock._make(folder)
    others.clear()
    with hold(folder):
        assert levels == 0 and folder.is_dir()
    assert not folder.exists()
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(FileExistsError, match="cannot be written"), hold(tmp_path / "link"):
        pass


@pytest.mark.parametrize("put", [False, True])
def test_a_folder_that_a_refused_one_made_is_left_to_the_holder(
    put: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A makes a/b, B takes its lock, A is refused: B removes both, unless something is in them."""
    folder, make = tmp_path / "a" / "b", run_lock._make
    with ExitStack() as holder:

        def made(path: Path) -> int:
            monkeypatch.setattr(run_lock, "_make", make)
            levels = make(path)
            holder.enter_context(hold(path))
            return levels

        monkeypatch.setattr(run_lock, "_make", made)
        with pytest.raises(ValueError, match=f"process {os.getpid()} "):
            hold(folder).__enter__()
        assert json.loads((folder / LOCK).read_text())["pid"] == os.getpid()
        if put:
            (folder / "table.csv").write_text("")
    assert [path.name for path in tmp_path.rglob("*")] == (["a", "b", "table.csv"] if put else [])


def test_a_folder_that_a_process_removes_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process's end removes the folder between its making and the lock's."""
    make = run_lock._make

    def made(path: Path) -> int:
        monkeypatch.setattr(run_lock, "_make", make)
        levels = make(path)
        path.rmdir()
        return levels

    monkeypatch.setattr(run_lock, "_make", made)
    with hold(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b" / LOCK).is_file()
    assert list(tmp_path.iterdir()) == []


def test_processes_that_look_at_a_stale_lock_at_once_refuse_none(tmp_path: Path) -> None:
    """The lock of a killed process: while one looks, another looks and a third takes it."""
    (tmp_path / LOCK).write_text(json.dumps({"pid": 1, "host": socket.gethostname(), "since": "long ago"}))
    with open(tmp_path / LOCK) as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        refuse_if_held(tmp_path)
        threading.Timer(0.003, fcntl.flock, (other, fcntl.LOCK_UN)).start()
        with hold(tmp_path):
            pass


def test_an_experiment_that_does_not_start_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        run(experiment(cohort=99), tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_place_of_the_lock_is_refused(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(victim)
    with pytest.raises(ValueError, match="is a link"):
        hold(tmp_path / "run").__enter__()
    assert victim.read_text() == "precious"

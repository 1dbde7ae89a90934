"""Temporary folders end with their process, however it ends; what is not theirs stays."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fedmtl.runtime import scratch

ROOT = Path(__file__).parents[2]

OWNER = """
import os, subprocess, sys, time
from fedmtl.runtime import scratch
folder = scratch.make()
(folder / "data").mkdir()
(folder / "data" / "rows").write_text("private")
child = subprocess.Popen(["sleep", "600"], env={**os.environ, scratch.MARK: str(folder)}, start_new_session=True)
print(folder, child.pid, scratch._janitor.pid, flush=True)
time.sleep(600)
"""


def start(base: Path) -> tuple[subprocess.Popen[str], Path, int, int]:
    """A process with a folder in ``base``, and a process of the folder: both, the folder, and the janitor's id."""
    environment = {**os.environ, "TMPDIR": str(base), "PYTHONPATH": str(ROOT)}
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True, env=environment)
    assert owner.stdout
    folder, child, janitor = owner.stdout.readline().split()
    return owner, Path(folder), int(child), int(janitor)


def soon(holds: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_process_leaves_no_folder_and_no_process(tmp_path: Path) -> None:
    owner, folder, child, _ = start(tmp_path)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    owner.kill()
    owner.wait()
    assert soon(lambda: not folder.exists() and not running(child))


def test_the_next_process_cleans_up_where_the_janitor_was_killed_too(tmp_path: Path) -> None:
    first, old, child, janitor = start(tmp_path)
    elsewhere = tmp_path / "precious"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("stays")
    (old / "link").symlink_to(elsewhere)
    os.kill(janitor, signal.SIGKILL)
    first.kill()
    first.wait()
    time.sleep(0.3)
    assert old.exists() and running(child)
    second, new, other, _ = start(tmp_path)
    try:
        assert soon(lambda: not old.exists() and not running(child))
        assert (elsewhere / "file").read_text() == "stays"
        assert (new / "data" / "rows").exists() and running(other)  # its owner is alive
    finally:
        second.kill()
        second.wait()
    assert soon(lambda: not new.exists() and not running(other))


def test_only_folders_of_this_kind_are_removed(tmp_path: Path) -> None:
    mine = tmp_path / "fedmtl-mine"
    mine.mkdir()
    (mine / "notes").write_text("a user's own")
    alike = tmp_path / "fedmtl-alike"
    alike.mkdir()
    (alike / "owner").write_text("somebody")
    (tmp_path / "fedmtl-link").symlink_to(mine)
    dead = tmp_path / "fedmtl-dead"
    dead.mkdir()
    (dead / "owner").write_bytes(scratch._MAGIC)
    held = scratch.make(str(tmp_path))
    scratch.sweep(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["fedmtl-mine", "fedmtl-alike", "fedmtl-link", held.name]
    )
    scratch.remove(held)
    assert not held.exists()


def test_a_base_for_sockets_is_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """107 bytes are a socket's path; Ray puts session_YYYY-MM-DD_HH-MM-SS_μs_PID/sockets/plasma_store below it."""
    below = "/fedmtl-12345678/session_2026-11-28_01-13-42_364231_4194304/sockets/plasma_store"
    assert scratch.LONGEST + len(below) <= 107
    long = tmp_path / ("a" * 60) / ("b" * 30)
    long.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(long))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    assert len(scratch.short_base()) <= scratch.LONGEST
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(RuntimeError, match="RAY_TMPDIR to a short one, or run without Ray") as caught:
        scratch.short_base()
    assert str(long) in str(caught.value)

"""Temporary folders of a process, removed however the process ends.

A folder belongs to the process that locks its file ``owner``; the lock ends with the process. A small second process,
the janitor, runs this file as a script and waits at a pipe for the end of the first one. After SIGKILL it ends the
processes that were started for a folder, which have the folder in their environment under ``MARK``, and removes the
folder. If both are killed, the janitor of the next run finds a folder without a lock, and does the same.

The script is run by Python alone, so this file imports nothing but the standard library.
"""

import atexit
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

PREFIX = "fedmtl-"

MARK = "FEDMTL_SCRATCH"
"""Environment variable of processes that must not outlive the owner of the folder that it names."""

LONGEST = 26
"""Longest path in bytes with room for sockets of Ray: 107, less a folder of 16 and 65 of Ray's own names."""

_MAGIC = b"fedmtl scratch folder\n"

_held: dict[Path, int] = {}
"""Folders of this process, and the descriptors of their locks."""

_janitor: subprocess.Popen[bytes] | None = None


def make(base: str | None = None) -> Path:
    """Make a folder that only this user can read.

    Args:
        base: its parent; default: the temporary folder of the system, ``TMPDIR``.
    """
    where = base or tempfile.gettempdir()
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=where))
        _announce(folder)
        owner = os.open(folder / "owner", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # a janitor has just locked it to remove it
            os.close(owner)
            remove(folder)
            continue
        except OSError:  # a file system without locks: no other process removes the folder
            pass
        os.write(owner, _MAGIC)
        _held[folder] = owner
        return folder


def short_base() -> str:
    """Return a folder with a path short enough for sockets: ``RAY_TMPDIR``, ``TMPDIR``, or a common one.

    Raises:
        RuntimeError: there is none.
    """
    run = os.environ.get("XDG_RUNTIME_DIR", "")
    named = [os.environ.get("RAY_TMPDIR", ""), tempfile.gettempdir(), "/tmp", "/var/tmp", run, "/dev/shm"]
    for base in named:
        if base and len(os.fsencode(base)) <= LONGEST and os.path.isdir(base) and os.access(base, os.W_OK | os.X_OK):
            return base
    raise RuntimeError(
        f"Ray's sockets need a folder that can be written and whose path has at most {LONGEST} characters, but "
        f"TMPDIR is {tempfile.gettempdir()!r}; set RAY_TMPDIR to a short one, or run without Ray (runtime=InProcess)."
    )


def remove(folder: Path) -> None:
    """Remove a folder of this process, and end the processes with its mark, such as agents that Ray was starting."""
    _end_all_marked(os.fsencode(folder))
    _remove(folder)
    owner = _held.pop(folder, None)
    if owner is not None:
        os.close(owner)


def _remove(folder: Path) -> None:
    for _ in range(3):  # a process that is ending may still write
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return
        time.sleep(0.05)


def _announce(folder: Path) -> None:
    """Send the janitor the path of a new folder; it is started with the first folder."""
    global _janitor
    if _janitor is None:
        bases = {tempfile.gettempdir(), str(folder.parent)}
        command = [sys.executable, "-I", "-S", __file__, *sorted(bases)]
        with suppress(OSError):  # without it, folders are removed at the end, or by the next run
            _janitor = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        atexit.register(_remove_all)
        os.register_at_fork(after_in_child=_forget_parent)
    if _janitor is not None and _janitor.stdin is not None:
        with suppress(OSError):
            _janitor.stdin.write(os.fsencode(folder) + b"\0")
            _janitor.stdin.flush()


def _remove_all() -> None:
    for folder in list(_held):
        remove(folder)
    if _janitor is not None:
        with suppress(OSError):
            _janitor.stdin and _janitor.stdin.close()  # pyright: ignore[reportUnusedExpression]
        _janitor.returncode = 0  # it ends by itself: Python need not wait for it


def _forget_parent() -> None:
    """Drop the folders and the janitor in a forked child, since they are the parent's."""
    global _janitor
    for owner in _held.values():
        os.close(owner)
    _held.clear()
    if _janitor is not None and _janitor.stdin is not None:
        os.close(_janitor.stdin.fileno())
        _janitor.returncode = 0
        _janitor = None


def clean_up(folders: Iterable[bytes], settle: float = 0.0) -> None:
    """End the processes with the marks of folders, and remove the folders."""
    for folder in folders:
        _end_all_marked(folder, settle)
        _remove(Path(os.fsdecode(folder)))


def _end_all_marked(folder: bytes, settle: float = 0.0) -> None:
    """End processes with a folder's mark, until there have been none for ``settle`` seconds.

    One that is ending may have started another, whose mark cannot be read while it loads its program.
    """
    now = time.monotonic()
    deadline, quiet = now + 10, now + settle
    while now < deadline:
        if _end_marked(folder, of_ray=settle > 0):
            quiet = time.monotonic() + settle
        elif now >= quiet:
            return
        time.sleep(0.05)
        now = time.monotonic()


def _end_marked(folder: bytes, of_ray: bool = False) -> int:
    """Send SIGKILL to each process with the mark of a folder in its environment, and return their number.

    With ``of_ray``, also to Ray's processes with open files in the folder, whose titles may overwrite the environment.
    """
    mark, found = f"{MARK}=".encode() + folder, 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int(process.name) == os.getpid():
                continue
            marked = mark in (process / "environ").read_bytes().split(b"\0")
            if marked or (of_ray and _is_ray_of(os.fsencode(process), folder)):
                os.kill(int(process.name), signal.SIGKILL)
                found += 1
        except OSError:  # it has ended, or is another user's
            continue
    return found


def _is_ray_of(process: bytes, folder: bytes) -> bool:
    """Return True if a process is Ray's and has an open file in the folder."""
    with open(process + b"/cmdline", "rb") as file:
        if not file.read(5) == b"ray::":
            return False
    files = (os.readlink(process + b"/fd/" + number) for number in os.listdir(process + b"/fd"))
    return any(name.startswith(folder + b"/") for name in files)


def sweep(base: str) -> None:
    """Clean up the folders in ``base`` whose owners were killed. No link is followed."""
    with suppress(OSError), os.scandir(base) as entries:
        for entry in entries:
            if not entry.name.startswith(PREFIX) or not entry.is_dir(follow_symlinks=False):
                continue
            try:
                if entry.stat(follow_symlinks=False).st_uid != os.geteuid():
                    continue
                owner = os.open(os.path.join(entry.path, "owner"), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:  # no folder of this kind, or one that is being removed
                continue
            try:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.read(owner, len(_MAGIC)) == _MAGIC:
                    clean_up([os.fsencode(entry.path)])
            except OSError:  # its owner is alive
                pass
            finally:
                os.close(owner)


def main() -> None:
    """Run the janitor: remove old folders, then wait for the end of the first process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for base in sys.argv[1:]:
        sweep(base)
    # Also folders that the first process has removed, for agents of Ray's that it did not find.
    announced = sys.stdin.buffer.read().split(b"\0")[:-1]  # the last is empty, or half a path
    clean_up(dict.fromkeys(announced), settle=1.0)


if __name__ == "__main__":
    main()

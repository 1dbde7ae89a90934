"""Commands in processes forked from one that has imported torch: by a new interpreter each takes seconds to begin.

A child has its own streams, folder, environment and, if asked for, session. It gets signals and ends as any process.
What happens before and during the imports needs a true start. ``/proc/PID/environ`` is that of the first process.
"""

import atexit
import fcntl
import gc
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parent.parent

IMPORTS = (
    "fedmtl.analysis.report.figure",
    "fedmtl.analysis.report.write",
    "fedmtl.cli",
    "fedmtl.run_experiment",
    "fedmtl.runtime.flower.client_app",
    "fedmtl.runtime.flower.server_app",
    "fedmtl.runtime.local",
    "fedmtl.studies.comparison",
    "fedmtl.studies.tuning",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_pdf",
    "matplotlib.backends.backend_svg",
)

OTHERS = (
    "flwr.clientapp",
    "flwr.serverapp.strategy",
    "matplotlib.figure",
    "numpy.random",
    "pytest",
    "safetensors.torch",
    "scipy.stats",
    "torch",
    "torch.distributed.tensor",
    "xxhash",
)
"""Packages of others, of a first process that has imported nothing of fedmtl; the last of torch's is what its
``assert_close`` imports."""

_ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
"""Of the first process: without what a test has set, and with one thread, since others do not survive a fork."""


def start(
    arguments: Sequence[str] = (),
    *,
    code: str = "",
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    stdout: Any = None,
    stderr: Any = None,
    start_new_session: bool = False,
    pass_fds: Sequence[int] = (),
    bare: bool = False,
) -> "Process | subprocess.Popen[str]":
    """Start ``fedmtl``, or a program, in a process of its own; where there are no pidfds, by a new interpreter.

    Args:
        arguments: of ``fedmtl``.
        code: a program in place of it, as after ``python -c``.
        cwd: the folder; that of the tests by default.
        env: the environment; that of the tests by default.
        stdout: a file, a descriptor, ``subprocess.PIPE``, or None for that of the tests.
        stderr: the same, or ``subprocess.STDOUT``.
        start_new_session: whether the process leads a session and a group.
        pass_fds: descriptors that it has under the same numbers.
        bare: whether it imports fedmtl anew, from the folder or from ``PYTHONPATH``.
    """
    if hasattr(os, "pidfd_open"):
        return Process(arguments, code, cwd, env, stdout, stderr, start_new_session, pass_fds, bare)
    command = [sys.executable, "-u", *(["-c", code] if code else ["-m", "fedmtl", *arguments])]
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=start_new_session,
        pass_fds=pass_fds,
        text=True,
    )


def run(
    arguments: Sequence[str] = (),
    *,
    code: str = "",
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 120,
    bare: bool = False,
) -> "subprocess.CompletedProcess[str]":
    """Run ``fedmtl``, or a program, to its end, and return its output; arguments as those of ``start``."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with start(arguments, code=code, cwd=cwd, env=env, bare=bare, **pipes) as child:
        try:
            out, errors = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            raise
    return subprocess.CompletedProcess(child.args, child.wait(), out, errors)


def script(path: Path, arguments: Sequence[str]) -> str:
    """A program that is ``python path arguments``."""
    return (
        "import runpy, sys\n"
        f"sys.path.insert(0, {str(path.parent)!r})\n"
        f"sys.argv = {[str(path), *arguments]!r}\n"
        f"runpy.run_path({str(path)!r}, run_name='__main__')"
    )


OWN = (subprocess.PIPE, subprocess.DEVNULL)
"""Streams that are made here, and closed here when the child has them."""


class Process:
    """A child, with the part of ``subprocess.Popen`` that tests use."""

    def __init__(
        self,
        arguments: Sequence[str],
        code: str,
        cwd: str | os.PathLike[str] | None,
        env: Mapping[str, str] | None,
        stdout: Any,
        stderr: Any,
        start_new_session: bool,
        pass_fds: Sequence[int] = (),
        bare: bool = False,
    ) -> None:
        self.args = ["fedmtl", *arguments]
        self.returncode: int | None = None
        request = {
            "arguments": list(arguments),
            "code": code,
            "cwd": os.fspath(cwd or Path.cwd()),
            "environment": dict(os.environ if env is None else env),
            "session": start_new_session,
            "pass_fds": list(pass_fds),
        }
        self.stdout, out = _ends(stdout, 1)
        self.stderr, errors = (None, out) if stderr == subprocess.STDOUT else _ends(stderr, 2)
        nothing = os.open(os.devnull, os.O_RDONLY)
        self._status, status = os.pipe()
        socket.send_fds(_first(bare), [json.dumps(request).encode()], [nothing, out, errors, status, *pass_fds])
        ours = [nothing, status, *(end for stream, end in ((stdout, out), (stderr, errors)) if stream in OWN)]
        for descriptor in ours:
            os.close(descriptor)
        self.pid = int(self._line())

    def _line(self) -> str:
        text = b""
        while not text.endswith(b"\n"):
            text += (read := os.read(self._status, 1))
            assert read, "the process that forks has ended"
        return text.decode()

    def poll(self) -> int | None:
        """The exit code, minus a signal's number; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._line())
            os.close(self._status)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What is left to read of both streams, when the process has ended."""
        deadline = None if timeout is None else time.monotonic() + timeout
        found: dict[int, str] = {}

        def read(number: int, stream: IO[str]) -> None:
            found[number] = stream.read()

        streams = [(number, stream) for number, stream in ((1, self.stdout), (2, self.stderr)) if stream is not None]
        readers = [threading.Thread(target=read, args=each, daemon=True) for each in streams]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        if any(reader.is_alive() for reader in readers):
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
        for _, stream in streams:
            stream.close()
        return found.get(1, ""), found.get(2, "")

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()


def _ends(stream: Any, default: int) -> tuple[IO[str] | None, int]:
    """What tests read, and the descriptor that the child writes to."""
    if stream == subprocess.PIPE:
        ours, theirs = os.pipe()
        return open(ours, encoding="utf-8"), theirs
    if stream == subprocess.DEVNULL:
        return None, os.open(os.devnull, os.O_WRONLY)
    if stream is None:
        return None, default
    return None, stream if isinstance(stream, int) else stream.fileno()


_own: socket.socket | None = None
"""The way of a child to the process that it was forked from, for children of its own."""


@cache
def _first(bare: bool) -> socket.socket:
    """The way to a process that forks, which ends with the tests."""
    if _own is not None and not bare:
        return _own
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, str(Path(__file__)), str(theirs.fileno()), *(OTHERS if bare else IMPORTS)]
    path = os.pathsep.join([str(ROOT), _ENVIRONMENT.get("PYTHONPATH", "")])
    first = subprocess.Popen(command, env={**_ENVIRONMENT, "PYTHONPATH": path}, cwd=ROOT, pass_fds=[theirs.fileno()])
    theirs.close()
    atexit.register(lambda: (ours.close(), first.wait(30)))
    return ours


# In the process that forks


def serve(channel: socket.socket) -> tuple[dict[str, Any], socket.socket] | None:
    """Return each request in a child, with a way to ask for further ones; in the first process None, when the tests
    have ended."""
    running: dict[int, tuple[int, int]] = {}
    channels = {channel.fileno(): channel}
    while True:
        ready, _, _ = select.select([*channels, *running], [], [])
        for ended in running.keys() & set(ready):
            pid, status = running.pop(ended)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with suppress(BrokenPipeError):
                os.write(status, f"{code}\n".encode())
            os.close(status)
            os.close(ended)
        for asking in channels.keys() & set(ready):
            data, received, _, _ = socket.recv_fds(channels[asking], 2**20, 16)
            if not data and channels[asking] is channel:
                return None
            if not data:  # a child has ended
                channels.pop(asking).close()
                continue
            streams, status, passed = received[:3], received[3], received[4:]
            further, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            if (pid := os.fork()) == 0:
                for one in (*channels.values(), further):
                    one.close()
                for descriptor in [status, *running, *(status for _, status in running.values())]:
                    os.close(descriptor)
                request = json.loads(data)
                become(request, streams)
                high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 512) for descriptor in passed]
                own = socket.socket(fileno=fcntl.fcntl(theirs.fileno(), fcntl.F_DUPFD_CLOEXEC, 512))
                for descriptor in (*passed, theirs.detach()):
                    os.close(descriptor)
                for descriptor, number in zip(high, request["pass_fds"], strict=True):
                    os.dup2(descriptor, number)
                    os.close(descriptor)
                return request, own
            os.write(status, f"{pid}\n".encode())
            theirs.close()
            channels[further.fileno()] = further
            running[os.pidfd_open(pid)] = pid, status
            for descriptor in streams + passed:
                os.close(descriptor)


def become(request: Mapping[str, Any], streams: Sequence[int]) -> None:
    """What a new interpreter would find."""
    if request["session"]:
        os.setsid()
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8")
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", buffering=1)
    sys.stderr = sys.__stderr__ = open(2, "w", encoding="utf-8", buffering=1, errors="backslashreplace")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    random.seed()
    tempfile.tempdir = None


def leave(code: Any) -> None:
    """End as Python does at ``sys.exit(code)``, without the second it takes to free all that torch has imported."""
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or its reader has gone
            stream.flush()
    os._exit((code or 0) & 0xFF)


if __name__ == "__main__":
    del sys.path[0]  # tests/, where Python puts it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for _name in sys.argv[2:]:
        __import__(_name)
    _bare = "fedmtl" not in sys.modules
    from tests import forks
    from tests.no_dynamo import leave_optimizers_uncompiled
    from tests.no_fsync import leave_files_to_the_kernel

    leave_files_to_the_kernel()
    leave_optimizers_uncompiled()
    gc.collect()
    gc.freeze()  # so that no collection copies pages that children share
    assert len(os.listdir("/proc/self/task")) == 1, "a process with threads is not forked"
    _asked = serve(socket.socket(fileno=int(sys.argv[1])))
    if _asked is None:
        sys.exit()
    _request, forks._own = _asked
    if _bare:
        _path = _request["environment"].get("PYTHONPATH", "").split(os.pathsep)
        _ours = [str(ROOT), *_ENVIRONMENT.get("PYTHONPATH", "").split(os.pathsep)]
        sys.path[:] = ["", *filter(None, _path), *(path for path in sys.path if path not in _ours)]
        for _name in [name for name in sys.modules if name.split(".")[0] == "tests"]:
            del sys.modules[_name]
    _code = None
    try:
        if _request["code"]:
            exec(compile(_request["code"], "<string>", "exec"), {"__name__": "__main__"})
        else:
            import fedmtl.__main__

            sys.argv = ["fedmtl", *_request["arguments"]]
            fedmtl.__main__.main()
    except SystemExit as _end:
        _code = _end.code
    leave(_code)

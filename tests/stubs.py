"""Commands that others start, as forks of a process that has imported what they need: each new one takes seconds.

A stub stands for a command. It asks the first process for a fork that becomes the command, with the stub's arguments,
folder, environment and streams; it forwards signals, ends with the fork's exit code, and the fork ends with it. The
first process has the environment of the caller, which ``/proc/PID/environ`` of its forks shows.
"""

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.forks import ROOT, become, leave
from tests.no_fsync import leave_files_to_the_kernel

POSSIBLE = hasattr(os, "pidfd_open")
"""Whether the system lets a process watch others as this needs it."""

STUB = """#!{python} -IS
import json, os, signal, socket, sys
signals = [signal.SIGINT, signal.SIGTERM]
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
first = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
first.connect({path!r})
request = {{"arguments": sys.argv, "cwd": os.getcwd(), "environment": dict(os.environ),
           "session": os.getsid(0) == os.getpid()}}
socket.send_fds(first, [json.dumps(request).encode()], [0, 1, 2])
pid = int(first.recv(64))
for number in signals:
    signal.signal(number, lambda number, _: os.kill(pid, number))
signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
code = int(first.recv(64) or b"1")
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""


@contextmanager
def stubs(folder: Path, names: Iterable[str], module: str, environment: Mapping[str, str]) -> Iterator[None]:
    """Have stubs in a folder.

    Args:
        folder: which is made.
        names: of the stubs; a request's first argument is the stub's path.
        module: run by the first process, which calls ``main`` there.
        environment: of the first process.
    """
    folder.mkdir()
    with tempfile.TemporaryDirectory(prefix="f-") as short:  # as paths of sockets must be
        path = str(Path(short) / "first")
        for name in names:
            stub = folder / name
            stub.write_text(STUB.format(python=sys.executable, path=path))
            stub.chmod(0o755)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
            listening.bind(path)
            listening.listen(64)
            command = [sys.executable, "-m", module, str(listening.fileno())]
            one = {**environment, "OMP_NUM_THREADS": "1"}  # threads do not survive a fork
            first = subprocess.Popen(command, cwd=ROOT, env=one, pass_fds=[listening.fileno()])
        try:
            yield
        finally:
            first.terminate()
            first.wait(30)


def main(call: Callable[[list[str]], Any]) -> None:
    """Serve as the first process; in each fork, call a function with the stub's arguments, and end as Python does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    leave_files_to_the_kernel()
    gc.collect()
    gc.freeze()  # so that no collection copies pages that children share
    assert len(os.listdir("/proc/self/task")) == 1, "a process with threads is not forked"
    sys.argv = _serve(socket.socket(fileno=int(sys.argv[1])))
    code = None
    try:
        code = call(sys.argv)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    leave(code)


def _serve(listening: socket.socket) -> list[str]:
    """Return the arguments of each request in a child."""
    running: dict[int, tuple[int, socket.socket]] = {}

    def end(*_: object) -> None:
        for pid, _stub in running.values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    parent = os.getppid()
    while True:
        ready, _, _ = select.select([listening, *running, *(stub for _, stub in running.values())], [], [], 5.0)
        if os.getppid() != parent:  # a process of tests that was killed ends nothing
            end()
        for descriptor, (pid, stub) in list(running.items()):
            if stub in ready:  # it sends nothing after its request: it has been killed
                os.kill(pid, signal.SIGKILL)
            if descriptor in ready or stub in ready:
                running.pop(descriptor)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                with suppress(OSError):
                    stub.send(str(code).encode())
                stub.close()
                os.close(descriptor)
        if listening not in ready:
            continue
        stub, _ = listening.accept()
        data, streams, _, _ = socket.recv_fds(stub, 2**20, 3)
        if not data:
            stub.close()
            continue
        if (pid := os.fork()) == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            for descriptor in [listening.detach(), stub.detach(), *running, *(s.detach() for _, s in running.values())]:
                os.close(descriptor)
            request = json.loads(data)
            become(request, streams)
            return request["arguments"]
        with suppress(OSError):
            stub.send(str(pid).encode())
        running[os.pidfd_open(pid)] = pid, stub
        for descriptor in streams:
            os.close(descriptor)

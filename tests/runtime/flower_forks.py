"""Flower's commands in processes forked from one that has imported Flower and torch: each new one takes seconds.

``installed`` puts a stub for each command into a folder. A stub asks the first process for a fork that becomes the
command, with the stub's arguments, folder, environment and streams; it forwards signals, ends with the fork's exit
code, and the fork ends with it. The commands are Flower's own code, and each that needs fedmtl imports it anew.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from tests.forks import become, leave

COMMANDS = {
    "flower-superexec": "flwr.supercore.cli:flower_superexec",
    "flower-superlink": "flwr.superlink.cli:flower_superlink",
    "flower-supernode": "flwr.supernode.cli:flower_supernode",
    "flwr": "flwr.cli.app:app",
    "flwr-clientapp": "flwr.supernode.cli:flwr_clientapp",
    "flwr-serverapp": "flwr.superlink.cli:flwr_serverapp",
    "flwr-simulation": "flwr.simulation.app:flwr_simulation",
}

IMPORTS = ("numpy.random", "safetensors.torch", "torch", "xxhash")
"""All that fedmtl's apps import, but fedmtl itself, which they import from the folder where Flower has put it."""

STUB = """#!{python} -IS
import json, os, signal, socket, sys
signals = [signal.SIGINT, signal.SIGTERM]
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
first = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
first.connect({path!r})
request = {{"name": {name!r}, "arguments": sys.argv, "cwd": os.getcwd(), "environment": dict(os.environ),
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
def installed(stubs: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Have stubs for Flower's commands in a folder; none where the system has no pidfds."""
    if not hasattr(os, "pidfd_open"):
        yield
        return
    stubs.mkdir()
    with tempfile.TemporaryDirectory(prefix="f-") as folder:  # short, as paths of sockets must be
        path = str(Path(folder) / "first")
        for name in COMMANDS:
            stub = stubs / name
            stub.write_text(STUB.format(python=sys.executable, path=path, name=name))
            stub.chmod(0o755)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
            listening.bind(path)
            listening.listen(64)
            command = [sys.executable, "-m", __name__, str(listening.fileno())]
            one = {**environment, "OMP_NUM_THREADS": "1"}  # threads do not survive a fork
            first = subprocess.Popen(command, env=one, pass_fds=[listening.fileno()])
        try:
            yield
        finally:
            first.terminate()
            first.wait(30)


# In the process that forks


def serve(listening: socket.socket) -> dict[str, Any]:
    """Return each request in a child."""
    running: dict[int, tuple[int, socket.socket]] = {}

    def end(*_: object) -> None:
        for pid, _stub in running.values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    while True:
        stubs = {stub: pid for pid, stub in running.values()}
        ready, _, _ = select.select([listening, *running, *stubs], [], [])
        for item in ready:
            if isinstance(item, int):
                pid, stub = running.pop(item)
                os.close(item)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                with suppress(OSError):
                    stub.send(str(code).encode())
                stub.close()
        for stub in stubs.keys() & {item for item in ready if isinstance(item, socket.socket)}:
            if stub.fileno() >= 0:  # a stub sends nothing after its request: it has been killed
                os.kill(stubs[stub], signal.SIGKILL)
                (descriptor,) = (key for key, value in running.items() if value[1] is stub)
                running.pop(descriptor)
                os.close(descriptor)
                os.waitpid(stubs[stub], 0)
                stub.close()
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
            return request
        stub.send(str(pid).encode())
        running[os.pidfd_open(pid)] = pid, stub
        for descriptor in streams:
            os.close(descriptor)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for _name in IMPORTS:
        importlib.import_module(_name)
    _calls = {name: EntryPoint(name, value, "console_scripts").load() for name, value in COMMANDS.items()}
    assert not any(name.split(".")[0] == "fedmtl" for name in sys.modules)
    gc.collect()
    gc.freeze()  # so that no collection copies pages that children share
    assert len(os.listdir("/proc/self/task")) == 1, "a process with threads is not forked"
    _request = serve(socket.socket(fileno=int(sys.argv[1])))
    sys.argv = _request["arguments"]
    _code = None
    try:
        _code = _calls[_request["name"]]()
    except SystemExit as _end:
        _code = _end.code
    except BaseException:
        traceback.print_exc()
        _code = 1
    leave(_code)

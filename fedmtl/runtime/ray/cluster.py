"""The Ray cluster of this process: one on this machine, or another that it joins.

This file imports nothing heavy, so that Ray starts while the driver still imports torch.
"""

import atexit
import ctypes
import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from fedmtl.runtime import scratch

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # By default, Ray frees the objects of past rounds once a second: memory of some ten rounds of small clients.
    "RAY_free_objects_period_milliseconds": "20",
    # The dashboard's history of all calls, which grows with the rounds.
    "RAY_task_events_report_interval_ms": "0",
}
"""Environment variables of Ray's own settings, unless they are set already; a joined cluster keeps its settings."""

NEEDED = ("gcs_server", "raylet")
"""Ray's processes without which no actor can be started or called."""

connecting = threading.RLock()
"""Held while this process joins or starts a cluster."""

on_disconnect: list[Callable[[], None]] = []
"""Called before this process leaves its cluster."""

_joined: str | None = None
"""Address of the cluster that this module joined or started; None without one, or when the caller started it."""

_folders: list[Path] = []
"""Folders of the cluster that this module started: sockets, logs, and objects that do not fit into memory."""


def connect(address: str) -> None:
    """Join the Ray cluster at an address, or start one on this machine; do nothing if this process is connected to it.

    Raises:
        RuntimeError: no cluster at the address, one of another version, or no folder for Ray's sockets.
    """
    global _joined
    import ray

    with connecting:
        if ray.is_initialized():
            if _joined is None or (_joined == address and not failure()):
                return
            disconnect()
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        with kept_handlers():
            if address:
                _join(address)
            else:
                _start_head()
        _joined = address
        atexit.register(disconnect)


@contextmanager
def kept_handlers() -> Iterator[None]:
    """Restore the caller's signal handlers on exit, which Ray replaces when it starts.

    Ray's native handler would write a stack trace at SIGTERM. It is installed below Python, which does not know it.
    """
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    if handlers[signal.SIGTERM] in (signal.SIG_DFL, None):
        yield
        return
    libc = ctypes.CDLL(None)
    actions = {number: ctypes.create_string_buffer(1024) for number in handlers}  # larger than any struct sigaction
    for number, action in actions.items():
        libc.sigaction(int(number), None, action)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)
        for number, action in actions.items():
            libc.sigaction(int(number), action, None)


def _join(address: str) -> None:
    import ray

    from fedmtl.runtime.ray.address import check_address

    check_address(address)
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, RuntimeError) as error:
        raise RuntimeError(
            f"The Ray cluster at address={address!r} cannot be joined ({' '.join(str(error).split())}); use the "
            f"cluster's versions of Ray and Python here (Ray is {ray.__version__}), start one with 'ray start --head', "
            "or leave it empty."
        ) from error


def _start_head() -> None:
    """Start a cluster on this machine, whose processes and files end with this process."""
    import ray

    home = scratch.make(scratch.short_base())
    large = home if str(home.parent) == tempfile.gettempdir() else scratch.make()
    _folders.extend(dict.fromkeys((home, large)))
    os.environ[scratch.MARK] = str(home)  # all of Ray's processes inherit it
    try:
        with _bare_head():
            ray.init(
                address="local",
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
                _temp_dir=str(home),
                object_spilling_directory=str(large / "spilled"),
            )
    finally:
        del os.environ[scratch.MARK]


def disconnect() -> None:
    """Leave the cluster; one that this module started ends, and its folders are removed."""
    global _joined
    import ray

    for call in on_disconnect:
        call()
    ray.shutdown()
    _joined = None
    while _folders:
        scratch.remove(_folders.pop())


def is_local() -> bool:
    """Return True if all of Ray's processes are on this machine, where sockets reach them."""
    from ray._private import worker

    return bool(_folders) or (not _joined and worker._global_node is not None and worker._global_node.is_head())


def failure() -> str:
    """Name the process whose end made the cluster unusable; empty while all of them run.

    Ray itself waits a minute for its head, and then ends this process.
    """
    if not _folders and not _joined:
        return ""
    import ray
    from ray._private import worker

    if _joined and not _joined.startswith("ray://"):
        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        except OSError as error:
            return f"Ray's head at {host}:{port} does not reply ({error.strerror or error})"
    started: dict[str, list[Any]] = getattr(worker._global_node, "all_processes", {}) if _folders else {}
    for name in NEEDED:
        for one in started.get(name, []):
            code = one.process.poll()
            if code is not None:
                return f"Ray's {name} ended {_ending(code)}"
    return ""


def check() -> None:
    """Raise RuntimeError if Ray is lost."""
    reason = failure()
    if reason:
        raise RuntimeError(
            f"{reason}: without it no actor can be kept or started, so the run stops here; a run with a folder goes on "
            "with --resume (resume=True in Python)."
        )


def get(reference: Any) -> Any:
    """Call ``ray.get``, which waits forever for a cluster that is lost, and check the cluster meanwhile."""
    import ray
    from ray.exceptions import GetTimeoutError

    while True:
        try:
            return ray.get(reference, timeout=2)
        except GetTimeoutError:
            check()


def _ending(code: int) -> str:
    return f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"


@contextmanager
def _bare_head() -> Iterator[None]:
    """Start clusters without dashboard server, autoscaler and log monitor, which no run on one machine needs.

    They are three Python processes of 100 MB each. Ray starts them even without the dashboard, and waits one or two
    seconds for the first. No setting prevents it. A Ray with other names for them starts them.
    """
    from ray._private.node import Node

    with ExitStack() as stack:
        for name in ("start_api_server", "start_monitor", "start_log_monitor"):
            if hasattr(Node, name):
                stack.enter_context(patch.object(Node, name, lambda *arguments, **settings: None))
        yield

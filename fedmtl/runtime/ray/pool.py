"""Ray's processes: a cluster of this machine or another, and actors that are kept from one run to the next.

This file imports nothing heavy, so that Ray starts while the driver still imports torch.
"""

import atexit
import ctypes
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

from fedmtl.runtime import scratch

if TYPE_CHECKING:
    import numpy as np
    from flwr.app import Message

    from fedmtl.data.base import Schema
    from fedmtl.runs.experiment import Experiment
    from fedmtl.runtime.ray.framing import Parcel


class Worker:
    """A Ray actor: one Flower node, with the data and the private state of its share of the clients."""

    def __init__(self) -> None:
        """Import all that a node needs, while the driver prepares what it will host."""
        from fedmtl.core.gc_paused import gc_paused

        with gc_paused():
            import cloudpickle  # noqa: F401

            import fedmtl.runtime.local  # noqa: F401
            import fedmtl.runtime.ray.channels  # noqa: F401

    def load(
        self,
        run_id: int,
        node_id: int,
        pickled: bytes,
        part: int,
        parts: int,
        folder: str,
        data: str,
        device: str,
        paths: list[str],
        sockets: str,
    ) -> tuple[int, str]:
        """Become node ``part`` of ``parts`` of a run; return the process, and the address of its socket, if it has one.

        The data is what the driver wrote into ``data``; it is loaded anew where that folder is not, or no longer. The
        socket is made in the folder ``sockets``, if one is named.
        """
        import cloudpickle

        from fedmtl.client.data_shard import read_shard, shard_of
        from fedmtl.data.joined import some_of
        from fedmtl.runtime.local import node_context
        from fedmtl.runtime.node import Node, host, make_fleet, make_store
        from fedmtl.runtime.placement import homes
        from fedmtl.runtime.ray.channels import listen

        sys.path += [path for path in paths if path not in sys.path]  # a user's modules, by their import paths
        experiment: Experiment
        schema: Schema
        experiment, schema = cloudpickle.loads(pickled)
        if Path(data).is_dir():
            clients = read_shard(Path(data) / str(part))
        else:
            everybody = experiment.load()
            hosted = homes(experiment, everybody, parts)[part]
            clients = shard_of(some_of(everybody.clients, hosted))
        self._context = node_context(run_id, node_id)
        fleet = make_fleet(experiment, schema, clients, device)
        host(run_id, node_id, Node(fleet, make_store(experiment, schema, folder)))
        self._end = listen(sockets) if sockets else None
        return os.getpid(), self._end.address if self._end else ""

    def unload(self) -> None:
        """Forget the run's data."""
        from fedmtl.runtime.node import host

        host(self._context.run_id, self._context.node_id, None)

    def handle(self, message: "Message", keys: list[tuple[str, str]], *arrays: "np.ndarray") -> "Parcel":
        """Run the ClientApp. Arrays travel beside their message, so that Ray's shared memory is read without a copy."""
        from fedmtl.runtime.flower.client_app import reply
        from fedmtl.runtime.ray.framing import attach, detach

        return detach(reply(attach(message, keys, arrays), self._context))

    def serve(
        self, message: "Message | None" = None, keys: Sequence[tuple[str, str]] = (), *arrays: "np.ndarray"
    ) -> "Parcel | None":
        """Run the ClientApp for this message, if there is one, and for those that come on the socket."""
        from fedmtl.runtime.ray.framing import Parcel

        if self._end is None:
            return None
        return self._end.answer(self.handle, None if message is None else Parcel(message, list(keys), list(arrays)))


class Kind(NamedTuple):
    """Actors that can stand in for each other."""

    address: str
    cpus: float
    gpus: float


_idle: dict[Kind, list[Any]] = {}
"""Actors whose run is over, or has not begun: the next run of this process starts at once."""

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # What a round has sent is given back once a second by default: memory for some ten rounds of small clients.
    "RAY_free_objects_period_milliseconds": "20",
    # A history of all calls, for the dashboard: it grows with the rounds.
    "RAY_task_events_report_interval_ms": "0",
}
"""Ray's own settings, where the environment does not say otherwise; those of a cluster that is joined stay."""

_connecting = threading.RLock()

_joined: str | None = None
"""The address of the cluster that this module joined or started; None when there is none, or it is a caller's."""

_folders: list[Path] = []
"""Where the cluster that this module started keeps its sockets, logs, and what memory has no room for."""


def hire(experiment: "Experiment", count: int) -> Kind:
    """Have ``count`` idle actors for an experiment; they are starting when this returns.

    Raises:
        RuntimeError: more GPUs asked for than Ray has, or no Ray at the address.
    """
    import ray

    connect(experiment.ray_address)
    kind = Kind(experiment.ray_address, _cpus_per_worker(experiment), experiment.gpus_per_worker)
    for other in list(_idle):  # they hold CPUs that the new ones may need
        for actor in _idle.pop(other) if other != kind else []:
            ray.kill(actor)
    idle = _idle.setdefault(kind, [])
    for actor in idle[count:]:
        ray.kill(actor)
    idle[count:] = []
    while len(idle) < count:
        idle.append(start(kind))
    return kind


def start(kind: Kind) -> Any:
    """A new actor."""
    import ray

    return ray.remote(Worker).options(num_cpus=kind.cpus, num_gpus=kind.gpus).remote()


def take(kind: Kind) -> list[Any]:
    """The idle actors, which are somebody's from now on."""
    return _idle.pop(kind, [])


def give_back(kind: Kind, actors: list[Any]) -> None:
    """They wait for the next run of this process."""
    _idle.setdefault(kind, []).extend(actors)


def _cpus_per_worker(experiment: "Experiment") -> float:
    """One CPU an actor, or an equal share where there are fewer CPUs than actors."""
    import ray

    resources = ray.cluster_resources()
    gpus = experiment.workers * experiment.gpus_per_worker
    if gpus > resources.get("GPU", 0):
        raise RuntimeError(
            f"workers={experiment.workers} with gpus_per_worker={experiment.gpus_per_worker} need {gpus:g} GPUs, "
            f"Ray has {resources.get('GPU', 0):g}; lower either, or set gpus_per_worker=0."
        )
    return min(1.0, int(1000 * resources.get("CPU", 1) / experiment.workers) / 1000)


def begin() -> None:
    """Start a cluster on this machine in the background; ``hire`` waits for it, and so does the end of the process."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))  # as Ray does where it may
    started = threading.Event()
    threading.Thread(target=_begin, args=(started,), name="ray", daemon=True).start()
    started.wait()
    atexit.register(_settle)


def _begin(started: threading.Event) -> None:
    with _connecting:
        started.set()
        try:
            connect("")
        except Exception:  # tried again, and said, by whoever needs it
            logging.getLogger("fedmtl").debug("Ray did not start in the background", exc_info=True)
    threading.Event().wait()  # Linux ends Ray's processes with the thread that started them


def _settle() -> None:
    """A thread that is inside Ray when Python ends would end it with a crash."""
    with _connecting:
        _disconnect()


def leave(code: Any) -> None:
    """End the process at once if Ray is still starting, or is lost: nobody wants to wait for either.

    Ray's processes end with it. Nothing else is open then.
    """
    if _connecting.acquire(blocking=False):
        _connecting.release()
        if not lost():
            return
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def connect(address: str) -> None:
    """Join the Ray cluster at an address, or start one on this machine; nothing when this process has it.

    Raises:
        RuntimeError: no cluster at the address, one of another version, or no folder for Ray's sockets.
    """
    global _joined
    import ray

    with _connecting:
        if ray.is_initialized():
            if _joined is None or (_joined == address and not lost()):
                return
            _disconnect()
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        with kept_handlers():
            if address:
                _join(address)
            else:
                _start_head()
        _joined = address
        atexit.register(_disconnect)


@contextmanager
def kept_handlers() -> Iterator[None]:
    """Inside, Ray may take signals for itself; afterwards those that the caller handles are the caller's again.

    Ray's native handler would write a stack trace at SIGTERM. It is put in place below Python, which cannot see it.
    """
    mine = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    if mine[signal.SIGTERM] in (signal.SIG_DFL, None):
        yield
        return
    libc = ctypes.CDLL(None)
    actions = {number: ctypes.create_string_buffer(1024) for number in mine}  # larger than any struct sigaction
    for number, action in actions.items():
        libc.sigaction(int(number), None, action)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in mine.items():
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
            f"The Ray cluster at ray_address={address!r} cannot be joined ({' '.join(str(error).split())}); use the "
            f"cluster's versions of Ray and Python here (Ray is {ray.__version__}), start one with 'ray start --head', "
            "or leave it empty."
        ) from error


def _start_head() -> None:
    """A cluster on this machine, whose processes and files end with this process."""
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


def _disconnect() -> None:
    global _joined
    import ray

    _idle.clear()
    ray.shutdown()
    _joined = None
    while _folders:
        scratch.remove(_folders.pop())


def is_here() -> bool:
    """Whether all of Ray's processes are on this machine, so that sockets lead to them."""
    from ray._private import worker

    return bool(_folders) or (not _joined and worker._global_node is not None and worker._global_node.is_head())


def lost() -> str:
    """What ended of a cluster that cannot do without it; empty while all is well.

    Ray itself waits a minute for its head, and then ends the process.
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
            return f"Ray's head at {host}:{port} does not answer ({error.strerror or error})"
    started: dict[str, list[Any]] = getattr(worker._global_node, "all_processes", {}) if _folders else {}
    for name in NEEDED:
        for one in started.get(name, []):
            code = one.process.poll()
            if code is not None:
                return f"Ray's {name} ended {ending(code)}"
    return ""


def check() -> None:
    """Raises RuntimeError when Ray is lost."""
    reason = lost()
    if reason:
        raise RuntimeError(
            f"{reason}: without it no actor can be kept or started, so the run stops here; a run with a folder goes on "
            "with --resume (resume=True in Python)."
        )


def get(reference: Any) -> Any:
    """``ray.get``, which waits without end for a cluster that is lost."""
    import ray
    from ray.exceptions import GetTimeoutError

    while True:
        try:
            return ray.get(reference, timeout=2)
        except GetTimeoutError:
            check()


NEEDED = ("gcs_server", "raylet")
"""Ray's processes without which no actor can be started or called."""


def ending(code: int) -> str:
    return f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"


@contextmanager
def _bare_head() -> Iterator[None]:
    """Inside, a cluster starts without its dashboard server, autoscaler and log monitor.

    They are three Python processes of 100 MB, which no run on one machine needs. Ray starts them also when the
    dashboard is switched off, and waits for the first: a second or two. There is no setting for it; a Ray that names
    them otherwise starts them.
    """
    from ray._private.node import Node

    with ExitStack() as stack:
        for name in ("start_api_server", "start_monitor", "start_log_monitor"):
            if hasattr(Node, name):
                stack.enter_context(patch.object(Node, name, lambda *arguments, **settings: None))
        yield

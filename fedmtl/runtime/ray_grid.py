"""The Grid over Ray: sticky actors, each a Flower node that hosts its share of the clients."""

import atexit
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import ray
from flwr.app import Message
from ray.exceptions import RayActorError, RayTaskError

from fedmtl.data.base import Federation, Schema
from fedmtl.experiment import Experiment
from fedmtl.federation.shard import write_shard
from fedmtl.runtime.local_grid import DirectGrid, new_run_id
from fedmtl.runtime.messages import byte_array
from fedmtl.runtime.node import shard

log = logging.getLogger("fedmtl")

MAX_RESTARTS = 3
"""How often a round starts a dead actor anew before the run gives up."""

SMALL = 2**16
"""Bytes that travel with a call: an object of its own costs more."""

_idle: dict[tuple[str, float, float], list[Any]] = {}
"""Actors whose run is over, by (address, CPUs, GPUs): the next run of this process starts at once."""


class Worker:
    """A Ray actor: one Flower node, with the data and the private state of its share of the clients."""

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
    ) -> int:
        """Become node ``part`` of ``parts`` of a run, and say in which process.

        The data is what the driver wrote into ``data``; it is loaded anew where that folder is not, or no longer.
        """
        from fedmtl.federation.shard import read_shard, shard_of
        from fedmtl.runtime.local_grid import node_context
        from fedmtl.runtime.node import Node, host, make_fleet, make_store, shard

        sys.path += [path for path in paths if path not in sys.path]  # a user's modules, by their import paths
        experiment: Experiment
        schema: Schema
        experiment, schema = cloudpickle.loads(pickled)
        if Path(data).is_dir():
            clients = read_shard(Path(data) / str(part))
        else:
            everybody = experiment.load().clients
            clients = shard_of({client: everybody[client] for client in shard(everybody, part, parts)})
        self._context = node_context(run_id, node_id)
        fleet = make_fleet(experiment, schema, clients, device)
        host(run_id, node_id, Node(fleet, make_store(experiment, schema, folder)))
        return os.getpid()

    def unload(self) -> None:
        """Forget the run's data."""
        from fedmtl.runtime.node import host

        host(self._context.run_id, self._context.node_id, None)

    def handle(
        self, message: Message, keys: list[tuple[str, str]], *arrays: np.ndarray
    ) -> tuple[Message, list[tuple[str, str]], list[np.ndarray]]:
        """Run the ClientApp. Arrays travel beside their message, so that Ray's shared memory is read without a copy."""
        from fedmtl.runtime.client_app import app

        attach(message, keys, arrays)
        return detach(app(message, self._context))


def detach(message: Message) -> tuple[Message, list[tuple[str, str]], list[np.ndarray]]:
    """The message with its arrays emptied, where they were, and their bytes."""
    keys, arrays = [], []
    if message.has_content():
        for record, named in message.content.array_records.items():
            for name, array in named.items():
                keys.append((record, name))
                arrays.append(np.frombuffer(array.data, np.uint8))
                array.data = b""
    return message, keys, arrays


def attach(message: Message, keys: list[tuple[str, str]], arrays: Iterable[np.ndarray]) -> None:
    """Undo ``detach``."""
    for (record, name), array in zip(keys, arrays, strict=True):
        message.content.array_records[record][name] = byte_array(array)


class RayGrid(DirectGrid):
    """Nodes in Ray actors, on this machine or a cluster.

    A message's arrays go into Ray's object store, equal ones once for all nodes. An actor that dies is started
    anew, reads the private state that it stored last, and gets the round's message again.

    Args:
        experiment: what runs; ``workers``, ``gpus_per_worker`` and ``ray_address`` say where.
        federation: its data; the actors load their own.
        state_folder: where private state is kept, on a disk that all actors' machines share if they are several;
            None for a temporary folder.

    Raises:
        RuntimeError: more GPUs asked for than Ray has, or no Ray at the address.
    """

    def __init__(self, experiment: Experiment, federation: Federation, state_folder: str | None = None) -> None:
        super().__init__(new_run_id())
        connect(experiment.ray_address)
        self._temporary = None if state_folder else tempfile.TemporaryDirectory(prefix="fedmtl-state-")
        self._folder = state_folder or (self._temporary.name if self._temporary else "")
        self._pickled = cloudpickle.dumps((experiment, federation.schema))
        self._parts = min(experiment.workers, len(federation.clients))
        self._key = (experiment.ray_address, _cpus_per_worker(experiment), experiment.gpus_per_worker)
        self._paths = list(sys.path)
        idle = _idle.pop(self._key, [])
        for other in list(_idle):  # they hold CPUs that the new ones may need
            for actor in _idle.pop(other):
                ray.kill(actor)
        self._actors = idle[: self._parts]
        for actor in idle[self._parts :]:
            ray.kill(actor)
        while len(self._actors) < self._parts:
            self._actors.append(self._new_actor())
        with tempfile.TemporaryDirectory(prefix="fedmtl-data-") as data:
            self._data = data
            for part in range(self._parts):
                hosted = {client: federation.clients[client] for client in shard(federation.clients, part, self._parts)}
                write_shard(Path(data) / str(part), hosted)
            # The files may go when they are mapped: their pages stay as long as the actors do.
            self.pids: list[int] = ray.get([self._load(part) for part in range(self._parts)])
            """Process of each actor, in the order of nodes."""

    def _new_actor(self) -> Any:
        _, cpus, gpus = self._key
        return ray.remote(Worker).options(num_cpus=cpus, num_gpus=gpus).remote()

    def _load(self, part: int) -> Any:
        device = "cuda" if self._key[2] > 0 else "cpu"
        return self._actors[part].load.remote(  # pyright: ignore[reportAttributeAccessIssue]
            self.run_id, part + 1, self._pickled, part, self._parts, self._folder, self._data, device, self._paths
        )

    def get_node_ids(self) -> list[int]:
        return [part + 1 for part in range(self._parts)]

    def exchange(self, messages: list[Message], timeout: float | None) -> list[Message]:
        deadline = None if timeout is None else time.monotonic() + timeout
        pending = self._send(messages)
        restarts = 0
        replies: dict[int, Message] = {}
        while pending:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready, _ = ray.wait(list(pending), num_returns=1, timeout=left)
            if not ready:
                log.warning("%d of %d nodes did not answer within %g s", len(pending), len(messages), timeout or 0)
                break
            for reference in ready:
                index = pending.pop(reference)
                try:
                    reply, keys, arrays = ray.get(reference)
                    attach(reply, keys, arrays)
                    replies[index] = reply
                except RayActorError as error:
                    restarts += 1
                    part = messages[index].metadata.dst_node_id - 1
                    if restarts > MAX_RESTARTS:
                        raise RuntimeError(
                            f"Actors died {restarts} times in one round, node {part + 1} last: {error}. If memory ran "
                            "out, use fewer workers or a smaller cohort."
                        ) from error
                    log.warning("the actor of node %d died; started anew from its stored private state", part + 1)
                    self._actors[part] = self._new_actor()
                    self.pids[part] = ray.get(self._load(part))
                    pending.update({again: index for again in self._send([messages[index]])})
                except RayTaskError as error:
                    raise error.as_instanceof_cause() from None
        return [replies[index] for index in sorted(replies)]

    def _send(self, messages: list[Message]) -> dict[Any, int]:
        """Hand each message to its actor. Messages that share a buffer find it once in Ray's object store."""
        stored: dict[tuple[int, int], Any] = {}
        pending = {}
        for index, message in enumerate(messages):
            bare, keys, arrays = detach(message)
            references = []
            for array in arrays:
                if array.size < SMALL:
                    references.append(array)
                    continue
                place = (array.ctypes.data, array.size)
                if place not in stored:
                    stored[place] = ray.put(array)
                references.append(stored[place])
            actor = self._actors[message.metadata.dst_node_id - 1]
            pending[actor.handle.remote(bare, keys, *references)] = index  # pyright: ignore[reportAttributeAccessIssue]
            attach(message, keys, arrays)
        return pending

    def close(self) -> None:
        """The actors forget the run and wait for the next one of this process."""
        try:
            ray.get([actor.unload.remote() for actor in self._actors], timeout=30)  # pyright: ignore
            _idle.setdefault(self._key, []).extend(self._actors)
        except Exception as error:  # a dying cluster must not hide the run's own error
            log.warning("actors were not given back: %s", error)
        if self._temporary is not None:
            self._temporary.cleanup()


def _cpus_per_worker(experiment: Experiment) -> float:
    """One CPU an actor, or an equal share where there are fewer CPUs than actors."""
    resources = ray.cluster_resources()
    gpus = experiment.workers * experiment.gpus_per_worker
    if gpus > resources.get("GPU", 0):
        raise RuntimeError(
            f"workers={experiment.workers} with gpus_per_worker={experiment.gpus_per_worker} need {gpus:g} GPUs, "
            f"Ray has {resources.get('GPU', 0):g}; lower either, or set gpus_per_worker=0."
        )
    return min(1.0, int(1000 * resources.get("CPU", 1) / experiment.workers) / 1000)


def connect(address: str) -> None:
    """Join the Ray cluster at an address, or start one on this machine; nothing when this process has one.

    Raises:
        RuntimeError: nothing answers at the address.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        if address:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        else:
            ray.init(address="local", include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    except ConnectionError as error:
        raise RuntimeError(
            f"No Ray cluster at ray_address={address!r} ({error}); start one with 'ray start --head', "
            "or leave it empty."
        ) from error
    atexit.register(ray.shutdown)

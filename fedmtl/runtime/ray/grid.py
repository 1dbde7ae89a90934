"""The Grid over Ray: sticky actors, each a Flower node that hosts its share of the clients."""

import itertools
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterable
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import ray
from flwr.app import Message
from ray.exceptions import RayActorError, RayTaskError

from fedmtl.client.shard_files import write_shard
from fedmtl.client.state.base import StateError, StateStore
from fedmtl.data.base import Federation
from fedmtl.data.joined import some_of
from fedmtl.data.prepared import on_node
from fedmtl.runs.experiment import Experiment
from fedmtl.runtime import scratch
from fedmtl.runtime.direct_grid import DirectGrid, new_run_id
from fedmtl.runtime.placement import place_clients
from fedmtl.runtime.ray import cluster
from fedmtl.runtime.ray.channels import Channel, RayChannel, SocketChannel
from fedmtl.runtime.ray.kept_states import keep_states
from fedmtl.runtime.ray.pool import acquire, claim, release, start_actor

log = logging.getLogger("fedmtl")

MAX_RESTARTS = 3
"""Restarts of dead actors in one round, beyond which the run ends."""

CHECK_S = 2.0
"""Seconds between two checks of Ray's own processes."""

LONGEST_SOCKET = 80
"""Most bytes of the path of a folder for sockets."""

SMALL = 2**16
"""Bytes up to which an array travels with a call, where an object of its own would cost more."""


class RayGrid(DirectGrid):
    """Nodes in Ray actors, on this machine or a cluster.

    Large arrays go into Ray's object store, equal ones once for all nodes. An actor that dies is restarted, reads the
    private state that it stored last, and receives the round's message again.

    Args:
        experiment: whose runtime is ``Ray``.
        federation: its data; each actor loads the data of its clients.
        state_folder: folder of private state, on a disk that all actors' machines share; None for a temporary one.

    Raises:
        RuntimeError: more GPUs requested than Ray has, or no Ray at the address.
    """

    def __init__(self, experiment: Experiment, federation: Federation, state_folder: str | None = None) -> None:
        super().__init__(new_run_id())
        self._parts = experiment.runtime.nodes(len(federation.clients))
        wanted = experiment.runtime
        self._spec = acquire(wanted.address, wanted.workers, wanted.gpus_per_worker, self._parts)
        self._scratch = scratch.make()
        self._sockets = _sockets(self._scratch)
        self._folder = state_folder or str(self._scratch / "state")
        self._keep_states = partial(keep_states, self._folder, federation.ids(), experiment.runtime)
        self._pickled = cloudpickle.dumps((experiment, federation.schema._replace(prepared=None)))
        self._actors = claim(self._spec)
        data = self._scratch / "data"
        placed = place_clients(experiment, federation, self._parts)
        self._prepared = [cloudpickle.dumps(on_node(federation.prepared, clients)) for clients in placed]
        for part, clients in enumerate(placed):
            write_shard(data / str(part), some_of(federation.clients, clients))
        loading = [self._load(part) for part in range(self._parts)]
        try:
            loaded = [self._loaded(part, loading[part]) for part in range(self._parts)]
        finally:
            shutil.rmtree(data)  # the actors have mapped the files, whose pages stay as long as the actors do
        self.pids: list[int] = [pid for pid, _ in loaded]
        """Process id of each actor, in the order of nodes."""
        self._stored: dict[tuple[int, int], Any] = {}
        """Address and size of a round's large arrays in this process -> their references in Ray's object store."""
        self._by_socket = all(address for _, address in loaded)
        self._checked = time.monotonic()
        self._channels = [self._open_channel(part, pid, address) for part, (pid, address) in enumerate(loaded)]

    def _load(self, part: int) -> Any:
        return self._actors[part].load.remote(  # pyright: ignore[reportAttributeAccessIssue]
            self.run_id,
            part + 1,
            self._pickled,
            part,
            self._parts,
            self._folder,
            str(self._scratch / "data"),
            list(sys.path),
            self._sockets,
            self._prepared[part],
        )

    def _loaded(self, part: int, loading: Any) -> tuple[int, str]:
        """Return process id and address of an actor that loads its part; one that dies meanwhile is restarted."""
        for restarts in itertools.count(1):
            try:
                return cluster.get(loading)
            except RayActorError as error:
                if restarts > MAX_RESTARTS:
                    raise RuntimeError(_died(restarts, part, "while it started", error)) from error
                log.warning("the actor of node %d died while it started, and is restarted", part + 1)
                self._actors[part] = start_actor(self._spec)
                loading = self._load(part)
        raise AssertionError  # the count has no end

    def _open_channel(self, part: int, pid: int, address: str) -> Channel:
        """Connect to an actor that has loaded its part; one that has died since is restarted."""
        for restarts in itertools.count(1):
            self.pids[part] = pid
            try:
                return (SocketChannel if self._by_socket else RayChannel)(self._actors[part], address, self._put)
            except RayActorError as error:
                if restarts > MAX_RESTARTS:
                    raise RuntimeError(_died(restarts, part, "after it had started", error)) from error
                log.warning("the actor of node %d died, and is restarted", part + 1)
                self._actors[part] = start_actor(self._spec)
                pid, address = self._loaded(part, self._load(part))
        raise AssertionError  # the count has no end

    def get_node_ids(self) -> list[int]:
        return [part + 1 for part in range(self._parts)]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        messages = list(messages)
        deadline = None if timeout is None else time.monotonic() + timeout
        self._stored.clear()
        pending: dict[Channel, int] = {}
        for index, message in enumerate(messages):
            channel = self._channels[message.metadata.dst_node_id - 1]
            channel.send(message)
            pending[channel] = index
        restarts = 0
        replies: dict[int, Message] = {}
        while pending:
            self._check()
            left = CHECK_S if deadline is None else deadline - time.monotonic()
            ready = self._ready(list(pending), min(CHECK_S, max(0.0, left)))
            if not ready and left > 0:
                continue
            if not ready:
                log.warning("%d of %d nodes did not reply within %g s", len(pending), len(messages), timeout or 0)
                break
            for channel in ready:
                index = pending.pop(channel)
                try:
                    reply = channel.receive()
                except RayActorError as error:
                    restarts += 1
                    part = messages[index].metadata.dst_node_id - 1
                    if restarts > MAX_RESTARTS:
                        raise RuntimeError(_died(restarts, part, "in one round", error)) from error
                    log.warning("the actor of node %d died, and is restarted with its stored private state", part + 1)
                    channel = self._restart(part)
                    channel.send(messages[index])
                    pending[channel] = index
                except RayTaskError as error:
                    cause = error.cause
                    raise cause if isinstance(cause, OSError | StateError) else error.as_instanceof_cause() from None
                else:
                    if reply is None:
                        pending[channel] = index
                    else:
                        replies[index] = reply
        return [replies[index] for index in sorted(replies)]

    def _ready(self, pending: list[Channel], timeout: float | None) -> list[Channel]:
        if not self._by_socket:
            called = {each.reference: each for each in pending if isinstance(each, RayChannel)}
            return [called[reference] for reference in ray.wait(list(called), num_returns=1, timeout=timeout)[0]]
        return wait(pending, timeout)  # pyright: ignore[reportArgumentType, reportReturnType]

    def _check(self) -> None:
        """Check Ray's own processes every ``CHECK_S`` seconds, so that a run without them ends soon."""
        if time.monotonic() - self._checked > CHECK_S:
            cluster.check()
            self._checked = time.monotonic()

    def _restart(self, part: int) -> Channel:
        self._channels[part].close()
        self._actors[part] = start_actor(self._spec)
        self._channels[part] = self._open_channel(part, *self._loaded(part, self._load(part)))
        return self._channels[part]

    def _put(self, array: np.ndarray) -> Any:
        """Return an array as an argument of a call; a buffer that messages share is stored once in the object store."""
        if array.size < SMALL:
            return array
        key = (array.ctypes.data, array.size)
        if key not in self._stored:
            self._stored[key] = ray.put(array)
        return self._stored[key]

    def private_states(self) -> StateStore | None:
        return self._keep_states()

    def close(self) -> None:
        """Release the actors to the pool, without the run's data."""
        for channel in self._channels:
            channel.close()
        if not cluster.failure():
            try:
                ray.get([actor.unload.remote() for actor in self._actors], timeout=30)  # pyright: ignore
                release(self._spec, self._actors)
            except Exception as error:  # a dying cluster must not hide the run's own error
                log.warning("actors were not released: %s", error)
        self._remove()

    def abandon(self) -> None:
        """End the actors at once."""
        for actor in self._actors:
            ray.kill(actor)
        self._remove()

    def _remove(self) -> None:
        for folder in {self._scratch, Path(self._sockets or self._scratch)}:
            scratch.remove(folder)


def _sockets(folder: Path) -> str:
    """Return a folder for sockets of actors on this machine; empty if there is none, or actors may be elsewhere."""
    if not cluster.is_local():
        return ""
    try:
        if len(os.fsencode(folder)) > LONGEST_SOCKET:
            folder = scratch.make(scratch.short_base())
    except RuntimeError:
        return ""
    return str(folder)


def _died(times: int, part: int, when: str, error: Exception) -> str:
    return (
        f"Actors died {times} times {when}, node {part + 1} last: {' '.join(str(error).split())} If memory ran out, "
        "use fewer workers or a smaller cohort."
    )

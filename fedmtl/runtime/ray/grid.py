"""The Grid over Ray: sticky actors, each a Flower node that hosts its share of the clients."""

import itertools
import logging
import os
import shutil
import sys
import time
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import ray
from flwr.app import Message
from ray.exceptions import RayActorError, RayTaskError

from fedmtl.client.data_shard import write_shard
from fedmtl.client.state.files import StateError
from fedmtl.data.base import Federation
from fedmtl.data.joined import some_of
from fedmtl.runs.experiment import Experiment
from fedmtl.runtime import scratch
from fedmtl.runtime.local import DirectGrid, new_run_id
from fedmtl.runtime.placement import homes
from fedmtl.runtime.ray.channels import Call, Lane, Way
from fedmtl.runtime.ray.pool import check, get, give_back, hire, is_here, lost, start, take

log = logging.getLogger("fedmtl")

MAX_RESTARTS = 3
"""How often a round starts a dead actor anew before the run gives up."""

CHECK_S = 2.0
"""Seconds between two looks at whether Ray's own processes are alive."""

LONGEST_SOCKET = 80
"""Bytes of a folder's path in which a socket fits."""

SMALL = 2**16
"""Bytes that travel with a call: an object of its own costs more."""


class RayGrid(DirectGrid):
    """Nodes in Ray actors, on this machine or a cluster.

    Large arrays go into Ray's object store, equal ones once for all nodes. An actor that dies is started anew, reads
    the private state that it stored last, and gets the round's message again.

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
        self._parts = min(experiment.workers, len(federation.clients))
        self._kind = hire(experiment, self._parts)
        self._scratch = scratch.make()
        self._sockets = _sockets(self._scratch)
        self._folder = state_folder or str(self._scratch / "state")
        self._pickled = cloudpickle.dumps((experiment, federation.schema))
        self._paths = list(sys.path)
        self._actors = take(self._kind)
        data = self._scratch / "data"
        self._data = str(data)
        for part, clients in enumerate(homes(experiment, federation, self._parts)):
            write_shard(data / str(part), some_of(federation.clients, clients))
        loading = [self._load(part) for part in range(self._parts)]
        try:
            loaded = [self._loaded(part, loading[part]) for part in range(self._parts)]
        finally:
            shutil.rmtree(data)  # the files may go when they are mapped: their pages stay as long as the actors do
        self.pids: list[int] = [pid for pid, _ in loaded]
        """Process of each actor, in the order of nodes."""
        self._stored: dict[tuple[int, int], Any] = {}
        """Where a round's large arrays are in Ray's object store, by where they are here."""
        self._by_socket = all(address for _, address in loaded)
        self._checked = time.monotonic()
        self._ways = [self._way(part, pid, address) for part, (pid, address) in enumerate(loaded)]

    def _load(self, part: int) -> Any:
        device = "cuda" if self._kind.gpus > 0 else "cpu"
        return self._actors[part].load.remote(  # pyright: ignore[reportAttributeAccessIssue]
            self.run_id,
            part + 1,
            self._pickled,
            part,
            self._parts,
            self._folder,
            self._data,
            device,
            self._paths,
            self._sockets,
        )

    def _loaded(self, part: int, loading: Any) -> tuple[int, str]:
        """Process and address of an actor that loads its part; one that dies meanwhile is started anew."""
        for restarts in itertools.count(1):
            try:
                return get(loading)
            except RayActorError as error:
                if restarts > MAX_RESTARTS:
                    raise RuntimeError(_died(restarts, part, "while it started", error)) from error
                log.warning("the actor of node %d died while it started; started anew", part + 1)
                self._actors[part] = start(self._kind)
                loading = self._load(part)
        raise AssertionError  # the count has no end

    def _way(self, part: int, pid: int, address: str) -> Way:
        """The way to an actor that has loaded its part; one that has died since is started anew."""
        for restarts in itertools.count(1):
            self.pids[part] = pid
            try:
                return (Lane if self._by_socket else Call)(self._actors[part], address, self._put)
            except RayActorError as error:
                if restarts > MAX_RESTARTS:
                    raise RuntimeError(_died(restarts, part, "after it had started", error)) from error
                log.warning("the actor of node %d died; started anew", part + 1)
                self._actors[part] = start(self._kind)
                pid, address = self._loaded(part, self._load(part))
        raise AssertionError  # the count has no end

    def get_node_ids(self) -> list[int]:
        return [part + 1 for part in range(self._parts)]

    def exchange(self, messages: list[Message], timeout: float | None) -> list[Message]:
        deadline = None if timeout is None else time.monotonic() + timeout
        self._stored.clear()
        pending: dict[Way, int] = {}
        for index, message in enumerate(messages):
            way = self._ways[message.metadata.dst_node_id - 1]
            way.post(message)
            pending[way] = index
        restarts = 0
        replies: dict[int, Message] = {}
        while pending:
            self._check()
            left = CHECK_S if deadline is None else deadline - time.monotonic()
            ready = self._ready(list(pending), min(CHECK_S, max(0.0, left)))
            if not ready and left > 0:
                continue
            if not ready:
                log.warning("%d of %d nodes did not answer within %g s", len(pending), len(messages), timeout or 0)
                break
            for way in ready:
                index = pending.pop(way)
                try:
                    reply = way.receive()
                except RayActorError as error:
                    restarts += 1
                    part = messages[index].metadata.dst_node_id - 1
                    if restarts > MAX_RESTARTS:
                        raise RuntimeError(_died(restarts, part, "in one round", error)) from error
                    log.warning("the actor of node %d died; started anew from its stored private state", part + 1)
                    way = self._start_anew(part)
                    way.post(messages[index])
                    pending[way] = index
                except RayTaskError as error:
                    cause = error.cause
                    raise cause if isinstance(cause, OSError | StateError) else error.as_instanceof_cause() from None
                else:
                    if reply is None:
                        pending[way] = index
                    else:
                        replies[index] = reply
        return [replies[index] for index in sorted(replies)]

    def _ready(self, pending: list[Way], timeout: float | None) -> list[Way]:
        if not self._by_socket:
            called = {way.reference: way for way in pending if isinstance(way, Call)}
            return [called[reference] for reference in ray.wait(list(called), num_returns=1, timeout=timeout)[0]]
        return wait(pending, timeout)  # pyright: ignore[reportArgumentType, reportReturnType]

    def _check(self) -> None:
        """Stop soon after Ray itself is lost, whether or not anything is waited for."""
        if time.monotonic() - self._checked > CHECK_S:
            check()
            self._checked = time.monotonic()

    def _start_anew(self, part: int) -> Way:
        self._ways[part].close()
        self._actors[part] = start(self._kind)
        self._ways[part] = self._way(part, *self._loaded(part, self._load(part)))
        return self._ways[part]

    def _put(self, array: np.ndarray) -> Any:
        """An array as an argument of a call: messages that share a buffer find it once in Ray's object store."""
        if array.size < SMALL:
            return array
        place = (array.ctypes.data, array.size)
        if place not in self._stored:
            self._stored[place] = ray.put(array)
        return self._stored[place]

    def close(self) -> None:
        """The actors forget the run and wait for the next one of this process."""
        for way in self._ways:
            way.close()
        if not lost():
            try:
                ray.get([actor.unload.remote() for actor in self._actors], timeout=30)  # pyright: ignore
                give_back(self._kind, self._actors)
            except Exception as error:  # a dying cluster must not hide the run's own error
                log.warning("actors were not given back: %s", error)
        self._remove()

    def abandon(self) -> None:
        """End the actors, whatever they are doing."""
        for actor in self._actors:
            ray.kill(actor)
        self._remove()

    def _remove(self) -> None:
        for folder in {self._scratch, Path(self._sockets or self._scratch)}:
            scratch.remove(folder)


def _sockets(folder: Path) -> str:
    """A folder for sockets of actors of this machine; empty where there is none, or the actors may be elsewhere."""
    if not is_here():
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

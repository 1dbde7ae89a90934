"""Grids without a network: their common base, and the Grid with nodes in this process."""

import itertools
import os
import time
from abc import abstractmethod
from collections.abc import Iterable

from flwr.app import Context, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from fedmtl.client.data_shard import shard_of
from fedmtl.data.base import Federation
from fedmtl.data.joined import some_of
from fedmtl.runs.experiment import Experiment
from fedmtl.runtime.flower.client_app import reply as client_reply
from fedmtl.runtime.node import Node, host, make_client_pool, make_store
from fedmtl.runtime.placement import place_clients

_run_ids = itertools.count(os.getpid() << 20)


def new_run_id() -> int:
    """Return a number that no other run of this machine's processes has."""
    return next(_run_ids)


def node_context(run_id: int, node_id: int) -> Context:
    return Context(run_id, node_id, {}, RecordDict(), {})


class DirectGrid(Grid):
    """A Grid without a SuperLink; its kinds differ in ``exchange`` alone."""

    shares_memory = True
    """True: equal packets need to be in a message only once."""

    def __init__(self, run_id: int) -> None:
        self.run_id = run_id
        self._run: Run | None = None
        self._replies: dict[str, Message] = {}
        # Flower's Message reads its sender from here.
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = run_id, 0, run_id

    @abstractmethod
    def exchange(self, messages: list[Message], timeout: float | None) -> list[Message]:
        """Send messages, and return the replies that arrive in time."""

    @abstractmethod
    def close(self) -> None:
        """Release the grid's resources."""

    def abandon(self) -> None:
        """Release the grid's resources without the wait for running work."""
        self.close()

    def set_run(self, run: Run) -> None:
        self._run = run

    @property
    def run(self) -> Run:
        if self._run is None:
            raise RuntimeError("This grid has no Flower run: it serves a ServerApp directly.")
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return Message(content, dst_node_id, message_type, group_id=group_id, ttl=ttl)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = []
        for message in messages:
            ids.append(f"{self.run_id}-{time.monotonic_ns()}-{len(self._replies)}")
            for reply in self.exchange([message], None):
                self._replies[ids[-1]] = reply
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        return [self._replies.pop(id) for id in message_ids if id in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        return self.exchange(list(messages), timeout)


class LocalGrid(DirectGrid):
    """Nodes in this process: for tests, debugging, notebooks, and runs beside others. Errors reach the caller.

    Args:
        experiment: of the run.
        federation: its data.
        state_folder: folder of private state; None keeps it in memory.
        parts: number of nodes, which have the clients of as many Ray workers: sums over a node's clients, and so
            results, are bit-identical to those of a run over Ray.
    """

    def __init__(
        self, experiment: Experiment, federation: Federation, state_folder: str | None = None, parts: int = 1
    ) -> None:
        super().__init__(new_run_id())
        schema = federation.schema
        device = "cuda" if experiment.gpus_per_worker > 0 else "cpu"
        hosted = place_clients(experiment, federation, parts) if parts > 1 else [None]
        self._contexts = {}
        for node_id, some in enumerate(hosted, 1):
            clients = federation.clients if some is None else some_of(federation.clients, some)
            client_pool = make_client_pool(experiment, schema, shard_of(clients), device)
            host(self.run_id, node_id, Node(client_pool, make_store(experiment, schema, state_folder)))
            self._contexts[node_id] = node_context(self.run_id, node_id)

    def get_node_ids(self) -> list[int]:
        return list(self._contexts)

    def exchange(self, messages: list[Message], timeout: float | None) -> list[Message]:
        return [client_reply(message, self._contexts[message.metadata.dst_node_id]) for message in messages]

    def close(self) -> None:
        for node_id in self._contexts:
            host(self.run_id, node_id, None)

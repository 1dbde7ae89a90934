"""The common base of Grids without a network, which pass messages on instead of sending them to a SuperLink."""

import itertools
import os
import time
from abc import abstractmethod
from collections.abc import Iterable

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from fedmtl.client.state.base import StateStore

_run_ids = itertools.count(os.getpid() << 20)


def new_run_id() -> int:
    """Return a number that no other run of this machine's processes has."""
    return next(_run_ids)


class DirectGrid(Grid):
    """A Grid that passes messages on; its kinds differ in ``send_and_receive``, ``close`` and ``abandon`` alone."""

    shares_memory = True
    """True: equal packets need to be in a message only once."""

    def __init__(self, run_id: int) -> None:
        self.run_id = run_id
        self._run: Run | None = None
        self._replies: dict[str, Message] = {}
        # Flower's Message reads its sender from here.
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = run_id, 0, run_id

    @abstractmethod
    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Send messages, and return the replies that arrive in time."""

    @abstractmethod
    def close(self) -> None:
        """Release the grid's resources."""

    def private_states(self) -> StateStore | None:
        """Return private states that are in no folder of the caller's, to outlive the grid; None: on other machines."""
        return None

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
            for reply in self.send_and_receive([message]):
                self._replies[ids[-1]] = reply
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        return [self._replies.pop(id) for id in message_ids if id in self._replies]

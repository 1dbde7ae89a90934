"""Application bytes of a run over a network: Flower's objects of all messages, and the records that announce them."""

from collections.abc import Iterable
from typing import Any

from flwr.app import Message
from flwr.app.message import remove_content_from_message
from flwr.common.config import get_project_dir
from flwr.common.serde import message_to_proto
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree, no_object_id_recompute
from flwr.supercore.run import Run

from fedmtl.protocol.wire_model import NOTHING_CARRIED, Carried
from fedmtl.runs.transport import counts_of

CONTENT = ".info/CONTENT"
"""The bundle's list of its files: name, SHA-256, bits. It is not among those that are unpacked."""


def carried(message: Message) -> Carried:
    """Return what Flower carries of a message: each object once, and the message's record with the tree of objects.

    These are the bytes that Flower itself counts, but for requests without a message and for its lists of objects that
    are still to be sent.
    """
    with no_object_id_recompute():
        objects = get_all_nested_objects(message)
        tree = get_object_tree(message)
    record = message_to_proto(remove_content_from_message(message) if message.has_content() else message)
    total = sum(len(part.deflate()) for part in objects.values())
    return Carried(1, len(objects), total + record.ByteSize() + tree.ByteSize())


class CountedGrid(Grid):
    """A grid over a network, with what it has carried."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._down = self._up = NOTHING_CARRIED
        self._begun: set[int] = set()
        """Nodes that were sent a message."""
        self._new = 0
        """Those among them that are not taken yet."""

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Send messages, and return the replies that arrive in time; both are counted."""
        messages = list(messages)
        replies = list(self._grid.send_and_receive(messages, timeout=timeout))
        for message in messages:  # after sending, which gives them their ids
            self._down += carried(message)
            node = message.metadata.dst_node_id
            self._new += node not in self._begun
            self._begun.add(node)
        for reply in replies:
            if reply.has_content():  # else there is no reply: Flower's own words about it
                self._up += carried(reply)
        return replies

    def take(self) -> dict[str, int]:
        """Return the counts since the last call."""
        found = counts_of(self._down, self._up, self._new, self.app_size if self._new else 0)
        self._down, self._up, self._new = NOTHING_CARRIED, NOTHING_CARRIED, 0
        return found

    @property
    def app_size(self) -> int:
        """Bytes of the app's bundle, which each node downloads once: its files, as they are, in a zip archive."""
        run = self.run
        folder = get_project_dir(run.fab_id, run.fab_version, run.fab_hash)
        size, content = 22, 0
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                bytes_, name = path.stat().st_size, len(str(path.relative_to(folder)))
                size += bytes_ + 76 + 2 * name
                content += name + 64 + len(str(8 * bytes_)) + 3
        return size + content + 76 + 2 * len(CONTENT)

    def set_run(self, run: Run) -> None:
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        return self._grid.run

    def create_message(self, *given: Any, **named: Any) -> Message:
        return self._grid.create_message(*given, **named)

    def get_node_ids(self) -> Iterable[int]:
        return self._grid.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return self._grid.pull_messages(message_ids)

"""The exchange before the first round: clients send summaries, and receive what is agreed by them."""

from collections import Counter
from collections.abc import Callable, Container
from typing import NamedTuple

import numpy as np
from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from fedmtl.data.prepared import Prepared
from fedmtl.data.schema import Schema
from fedmtl.protocol.preparation import agreed_packet, read_agreed
from fedmtl.protocol.rejections import Refused, Rejection, count, report
from fedmtl.runtime.direct_grid import DirectGrid
from fedmtl.runtime.flower.discovery import NodeMap
from fedmtl.runtime.flower.failures import explained, sender
from fedmtl.runtime.flower.messages import packet_bytes
from fedmtl.runtime.flower.preparation_messages import query_content, read_reply
from fedmtl.server.agreement import Summaries, agree


class Exchanged(NamedTuple):
    """Bytes of an exchange of summaries."""

    up: tuple[NDArray[np.int64], NDArray[np.int64]]
    """Clients whose summaries arrived, and the bytes of their packets."""
    down: tuple[NDArray[np.int64], NDArray[np.int64]]
    """Clients that were sent what was agreed, and the bytes of their packets."""
    messages: dict[str, int]
    """Bytes of packets in messages, down and up."""


class PreparationExchange:
    """The preparation of one run.

    Args:
        grid: of the nodes.
        schema: with the clients, and their preparation.
        run: name of the run.
        seconds: longest wait for replies.
        rejected: counter of rejections by kind, which is increased.
        packet: with what was agreed when the run began; empty for a run that begins.
    """

    def __init__(
        self, grid: Grid, schema: Schema, run: str, seconds: float, rejected: Counter[str], packet: bytes = b""
    ) -> None:
        assert schema.prepared is not None
        self._grid, self._schema, self._run, self._seconds, self._rejected = grid, schema, run, seconds, rejected
        self._prepared: Prepared = schema.prepared
        self._trusted = isinstance(grid, DirectGrid) and grid.shares_memory
        self.packet = packet
        """With what was agreed, which all clients receive."""

    @property
    def schema(self) -> Schema:
        """The schema of the data, whose inputs are made by what was agreed."""
        agreed = read_agreed(self.packet, self._prepared.digest)
        return self._schema if agreed == self._prepared.agreed else self._prepared.remake(agreed).schema

    def agree(self, node_map: NodeMap, max_weight: float) -> Exchanged:
        """Ask all nodes for their clients' summaries, and send what they agree on.

        A node whose reply cannot be used has no part in it, as in a round, and is named.

        Raises:
            RuntimeError: no summary can be used.
            ValueError: summaries by which nothing can be agreed.
        """
        asked, found = self._by_node(node_map), list[Summaries]()

        def read(node: int, content: RecordDict) -> None:
            found.append(Summaries(node, asked[node], read_reply(content, asked[node])))

        up = sum(map(packet_bytes, self._exchange(self._messages(asked), read)))
        found.sort(key=lambda each: each.node)
        digest, bound = self._prepared.digest, 0.0 if self._trusted else max_weight
        agreed, left_out = agree(self._prepared.rule, digest, found, self._schema, bound)
        self._note(left_out)
        self.packet = agreed_packet(digest, agreed)
        down, received = self.send(node_map), np.concatenate(list(asked.values()))
        return Exchanged(
            (np.concatenate([each.clients for each in found]), np.concatenate([e.packets.lengths for e in found])),
            (received, np.full(len(received), len(self.packet), np.int64)),
            {"down": down, "up": up},
        )

    def send(self, node_map: NodeMap, known: Container[int] = ()) -> int:
        """Send what was agreed to all nodes but those that know it; return the messages' bytes."""
        asked = self._by_node(node_map)
        messages = self._messages({node: asked[node] for node in asked if node not in known}, self.packet)
        self._exchange(messages, lambda node, content: None)
        return sum(map(packet_bytes, messages))

    def _by_node(self, node_map: NodeMap) -> dict[int, NDArray[np.int64]]:
        clients = self._schema.owners.clients
        return {node: clients[node_map.node_index == index] for index, node in enumerate(node_map.nodes)}

    def _messages(self, asked: dict[int, NDArray[np.int64]], packet: bytes | None = None) -> list[Message]:
        digest, share = self._prepared.digest, self._trusted
        return [
            Message(query_content(self._run, digest, clients, packet, share), node, MessageType.QUERY)
            for node, clients in asked.items()
        ]

    def _exchange(self, messages: list[Message], read: Callable[[int, RecordDict], None]) -> list[Message]:
        """Send messages, read the first reply of each node, and note what cannot be read; return all replies."""
        replies = list(self._grid.send_and_receive(messages, timeout=self._seconds)) if messages else []
        sent = [message.metadata for message in messages]
        waiting, left_out = {metadata.dst_node_id for metadata in sent}, list[Rejection]()
        for reply in replies:
            node = sender(reply, sent)
            try:
                if node not in waiting:
                    raise Refused("round", "nothing was asked of this node, or it has replied already")
                waiting.discard(node)
                if not reply.has_content():
                    raise Refused("error", f"the node failed: {explained(reply)}")
                read(node, reply.content)
            except Refused as error:
                left_out.append(Rejection(error.kind, str(error), node, None, "summary"))
            except Exception as damage:  # of a kind that no rule names
                reason = f"it cannot be read: {type(damage).__name__}"
                left_out.append(Rejection("message", reason, node, None, "summary"))
        left_out += [Rejection("error", "the node did not reply", node, None, "summary") for node in sorted(waiting)]
        self._note(left_out)
        return replies

    def _note(self, left_out: list[Rejection]) -> None:
        report("preparation", left_out)
        self._rejected.update(count(left_out))

"""The Flower strategy, which exchanges the messages of the server's rounds."""

import logging
import time
from collections.abc import Iterable, Mapping

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, Metadata, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fedmtl.core.text import escaped
from fedmtl.core.types import ClientId
from fedmtl.protocol.exchange import Exchange
from fedmtl.protocol.rejections import Refused, Rejection
from fedmtl.protocol.requests import Replies, Requests, replies_of
from fedmtl.runtime.direct_grid import DirectGrid
from fedmtl.runtime.flower.discovery import NodeMap, discover, node_map_of
from fedmtl.runtime.flower.failures import explained, sender
from fedmtl.runtime.flower.messages import requests_content
from fedmtl.runtime.flower.prepare import PreparationExchange
from fedmtl.runtime.flower.received import EXTRA_ROWS, check_replies, read_replies
from fedmtl.server.node_requests import NodeRequests, packet_limits
from fedmtl.server.round_result import RoundResult
from fedmtl.server.server import Server

log = logging.getLogger("fedmtl")


class FedMTL(Strategy):
    """Messages of the server's exchanges: ``ask`` makes them, ``aggregate`` closes the exchange with the replies.

    As a strategy of Flower's, ``configure_train`` of round t asks for exchange t, and ``configure_evaluate`` of the
    last round for the one that only measures. The server samples clients, never nodes.

    Args:
        server: of the rounds.
        node_map: node of each client.
        run: name of the run, which separates its private state from that of other runs.
        wait_seconds: most seconds to wait for lost nodes.
        add: let nodes of this machine add up the uploads of an algorithm that is ``mean_aggregated``: less to copy and
            to check, and equal to the server's own sum to the rounding of float64.
        preparation: sends what clients agreed on to nodes that are new.
    """

    def __init__(
        self,
        server: Server,
        node_map: NodeMap | Mapping[ClientId, int],
        run: str,
        wait_seconds: float,
        add: bool = False,
        preparation: PreparationExchange | None = None,
    ) -> None:
        self.server = server
        self._preparation = preparation
        single = server.plan.up_codec.traits.receiver_memory  # the server remembers each client's upload
        self._add = add and server.plan.algorithm.traits.mean_aggregated and server.policy.needs_all and not single
        self.outcome: RoundResult | None = None
        """The outcome of the last closed round."""
        clients = server.roster.clients
        self._set_node_map(node_map if isinstance(node_map, NodeMap) else node_map_of(clients, node_map))
        self._run = run
        self._wait_seconds = wait_seconds
        self.seconds: dict[str, float] = {}
        """Seconds of the last closed round by phase, each of the slowest node."""
        self._requests: Requests | None = None
        self._by_node: dict[int, NodeRequests] = {}
        self._sent = time.monotonic()
        self._metadata: list[Metadata] = []
        """Metadata of the round's messages, which get their ids when they are sent."""
        self._failing: set[int] = set()
        """Nodes without a usable update since the last round that had one."""

    def _set_node_map(self, node_map: NodeMap) -> None:
        self._node_map = node_map
        self.server.set_hosted(node_map.node_index >= 0)

    def ask(self, exchange: Exchange, grid: Grid) -> list[Message]:
        """Open an exchange, and return a message for each node that hosts one of its clients."""
        server = self.server
        if not self._node_map.present(grid.get_node_ids()):  # nodes restart under another id
            known = self._node_map.nodes
            self._set_node_map(discover(grid, server.roster, self._wait_seconds, self._node_map, server.rejected))
            if self._preparation is not None:
                self._preparation.send(self._node_map, known)
        self._requests = server.open_round(exchange)
        nodes, node_index = self._node_map
        node_index = node_index[server.roster.rows(self._requests.clients)]
        share = isinstance(grid, DirectGrid) and grid.shares_memory
        updates, reports = packet_limits(server.plan.at(exchange.version), server.kinds, self._requests)
        self._by_node, messages = {}, []
        for index in np.unique(node_index).tolist():
            rows = np.flatnonzero(node_index == index)
            requests, node = self._requests.select(rows), nodes[index]
            self._by_node[node] = NodeRequests(node, requests, updates[rows], reports[rows], share)
            content = requests_content(server.plan, self._run, requests, share, share and self._add)
            kind = MessageType.TRAIN if exchange.train else MessageType.EVALUATE
            messages.append(Message(content, node, kind, group_id=str(exchange.number)))
        self._sent, self._metadata = time.monotonic(), [message.metadata for message in messages]
        return messages

    def aggregate(self, replies: Iterable[Message]) -> RoundResult:
        """Read the nodes' replies to the messages of ``ask``, and close the exchange."""
        requests = self._requests
        if requests is None:
            raise RuntimeError("No exchange is open; ask for one before its replies are aggregated.")
        number, good = requests.exchange.number, dict[int, Replies]()
        left_out: list[Rejection] = []
        self.seconds = {}
        for message in replies:
            node = sender(message, self._metadata)
            sent, error = self._by_node.get(node), None
            try:
                if sent is None or node in good:
                    reason = "no request was sent to this node" if sent is None else "a second reply"
                    raise Refused("round", reason)
                if not message.has_content():
                    raise Refused("error", f"the node failed: {explained(message)}")
                if message.metadata.group_id != str(number):
                    raise Refused("round", f"a reply to {escaped(message.metadata.group_id, 40)!r} in round {number}")
                rows, add = len(sent.requests) + EXTRA_ROWS, sent.trusted and self._add
                read = read_replies(message.content, number, rows, add)
                good[node], some = check_replies(read, sent, self.server.roster, time.monotonic() - self._sent)
                left_out += some
            except Refused as refused:
                error = refused
            except Exception as damage:  # of a kind that no rule above names
                log.debug("reply of node %d", node, exc_info=True)
                error = Refused("message", f"it cannot be read: {type(damage).__name__}")
            if error is not None:
                left_out.append(Rejection(error.kind, str(error), node))
                if sent is not None and node not in good:
                    good[node] = _nothing(node, sent, str(error))
        for read in good.values():
            for phase, spent in read.phases.items():
                self.seconds[phase] = max(spent, self.seconds.get(phase, 0.0))
        trusted = all(sent.trusted for sent in self._by_node.values())
        self._failing |= {node for node, sent in self._by_node.items() if sent.requests.train.any()}
        others = set(self._node_map.nodes) - self._failing
        self.outcome = self.server.close_round(
            requests,
            list(good.values()),
            rejections=left_out,
            trusted=trusted,
            needs_update=trusted or not others,
        )
        if len(self.outcome.trained):
            self._failing.clear()
        return self.outcome

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        exchange = self.server.schedule.exchange(server_round - 1, self.server.best)
        return [] if exchange is None else self.ask(exchange, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        outcome = self.aggregate(replies)
        return None, MetricRecord({"updates": len(outcome.trained), "problems": len(outcome.problems)})

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        exchange = self.server.schedule.exchange(server_round, self.server.best)
        return [] if exchange is None or exchange.train else self.ask(exchange, grid)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        return self.aggregate_train(server_round, replies)[1] if server_round == self.server.schedule.rounds else None

    def summary(self) -> None:
        """Log algorithm, clients and codecs."""
        plan = self.server.plan
        log.info(
            "%r, %d clients, up %r, down %r", plan.algorithm, len(self.server.roster), plan.up_codec, plan.down_codec
        )


def _nothing(node: int, sent: NodeRequests, reason: str) -> Replies:
    """Return replies without a usable one, for a node whose reply was refused."""
    replies = replies_of([])
    why = f"the reply of its node {node} was left out: {reason}"
    problems = dict.fromkeys(sent.requests.clients.tolist(), why)
    return Replies(replies.clients, replies.reports, replies.updates, replies.seconds, problems, node=node)

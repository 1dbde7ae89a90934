"""The Flower strategy: a round of messages around a round of the server."""

import logging
import time
from collections.abc import Iterable

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fedmtl.federation.outcome import Outcome
from fedmtl.federation.server import Server
from fedmtl.federation.visits import Replies, Visits, visits_of
from fedmtl.runtime.messages import read_phases, read_replies, read_roster, visits_content
from fedmtl.types import ClientId, TaskSet

log = logging.getLogger("fedmtl")

Placement = dict[ClientId, int]
"""Client -> the Flower node where it lives now."""


def discover(
    grid: Grid, expected: Iterable[ClientId], wait_seconds: float
) -> tuple[dict[ClientId, TaskSet], Placement]:
    """Ask nodes who lives there until everybody expected is found.

    Raises:
        RuntimeError: clients are still missing when the time is over.
    """
    wanted = set(expected)
    roster: dict[ClientId, TaskSet] = {}
    placement: Placement = {}
    asked: set[int] = set()
    deadline = time.monotonic() + wait_seconds
    while True:
        new = sorted(set(grid.get_node_ids()) - asked)
        messages = [Message(RecordDict(), node, MessageType.QUERY) for node in new]
        left = max(1.0, deadline - time.monotonic())
        for reply in grid.send_and_receive(messages, timeout=left) if messages else []:
            node = reply.metadata.src_node_id
            if reply.has_content():
                asked.add(node)
                for client, tasks in read_roster(reply.content).items():
                    if client in placement:
                        log.warning(
                            "client %d lives on nodes %d and %d; the first is used", client, placement[client], node
                        )
                        continue
                    roster[client], placement[client] = tasks, node
            else:
                log.warning("node %d did not answer: %s", node, reply.error.reason)
        missing = sorted(wanted - set(roster))
        if roster and not missing:
            return roster, placement
        if time.monotonic() >= deadline:
            raise RuntimeError(
                f"After {wait_seconds:g} s, {len(asked)} node(s) host {len(roster)} client(s); missing: "
                f"{missing[:10] if missing else 'everybody'}. Start nodes that host them, or raise wait_seconds."
            )
        time.sleep(min(1.0, wait_seconds / 20))


class FedMTL(Strategy):
    """``configure_train`` is the server's ``open_round``, ``aggregate_train`` its ``close_round``.

    Evaluation of a model rides on the next round's training message; the message after the last round,
    ``configure_evaluate``, only evaluates. The server samples clients, never nodes.

    Args:
        server: whose rounds these are.
        placement: where clients live.
        run: tells private state of this run from that of others.
        wait_seconds: how long to wait for nodes that went away.
        add: let nodes of this machine add up the uploads of an ``additive`` algorithm: less to copy and to check, and
            equal to the server's own sum to the rounding of float64.
    """

    def __init__(self, server: Server, placement: Placement, run: str, wait_seconds: float, add: bool = False) -> None:
        self.server = server
        self._add = add and bool(getattr(server.plan.algorithm, "additive", False))
        self.outcome: Outcome | None = None
        """What the last closed round brought."""
        self._place(placement)
        self._run = run
        self._wait_seconds = wait_seconds
        self.seconds: dict[str, float] = {}
        """Where the nodes' time went in the last closed round, by phase: the longest node's each."""
        self._visits: Visits = visits_of([])

    def _place(self, placement: Placement) -> None:
        """Who lives where, as arrays: a round looks up its cohort and not the population."""
        clients = sorted(placement)
        self._nodes = sorted(set(placement.values()))
        number = {node: index for index, node in enumerate(self._nodes)}  # ids may need all of 64 bits
        self._clients = np.array(clients, np.int64)
        self._lives = np.array([number[placement[client]] for client in clients], np.int64)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        self._visits = self.server.open_round(server_round)
        return self._messages(server_round, MessageType.TRAIN, grid)

    def _messages(self, round: int, message_type: str, grid: Grid) -> list[Message]:
        if not set(self._nodes) <= set(grid.get_node_ids()):  # nodes restart under another id
            self._place(discover(grid, self.server.roster, self._wait_seconds)[1])
        lives = self._lives[np.searchsorted(self._clients, self._visits.clients)]
        share = bool(getattr(grid, "shares_memory", False))
        return [
            Message(
                visits_content(
                    self.server.plan,
                    self._run,
                    round,
                    self._visits.select(np.flatnonzero(lives == index)),
                    share,
                    share and self._add,
                ),
                self._nodes[index],
                message_type,
                group_id=str(round),
            )
            for index in np.unique(lives).tolist()
        ]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        good: list[Replies] = []
        self.seconds = {}
        for message in replies:
            node = message.metadata.src_node_id
            if not message.has_content():
                log.warning("round %d: node %d failed: %s", server_round, node, message.error.reason)
                continue
            try:
                good.append(read_replies(message.content, server_round))
                for phase, spent in read_phases(message.content).items():
                    self.seconds[phase] = max(spent, self.seconds.get(phase, 0.0))
            except (KeyError, ValueError) as error:
                log.warning("round %d: reply of node %d left out: %s", server_round, node, error)
        self.outcome = self.server.close_round(server_round, self._visits, good)
        updates = len(self.outcome.trained)
        return None, MetricRecord({"updates": updates, "problems": len(self.outcome.problems)})

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        if server_round < self.server.rounds:
            return []
        self._visits = self.server.open_round(server_round + 1)
        return self._messages(server_round + 1, MessageType.EVALUATE, grid)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        if server_round < self.server.rounds:
            return None
        return self.aggregate_train(server_round + 1, replies)[1]

    def summary(self) -> None:
        """Log what is about to run."""
        plan = self.server.plan
        log.info(
            "%r, %d clients, up %r, down %r", plan.algorithm, len(self.server.roster), plan.up_codec, plan.down_codec
        )

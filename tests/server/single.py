"""Rounds of single clients: no rows, no cohorts. What a node and a server with four clients must agree with.

Every client is called by itself, with its own broadcast, its own private state and codec state, its own packet of one.
A client whose update is not finite sends nothing and keeps what it had; a packet that is damaged or late is the
sender's loss alone, who has kept its state as if it had arrived.
"""

import math
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fedmtl.core.context import NO_CONTEXT
from fedmtl.core.random import rng
from fedmtl.core.trees import tree_leaves
from fedmtl.core.types import ClientId, Payload, Trained, Upload
from fedmtl.data.base import Federation
from fedmtl.data.batches import make_batches
from fedmtl.protocol.packets import DOWN, UP
from fedmtl.protocol.plan import Plan
from fedmtl.tables.schemas import TRAIN_LOSS
from tests.algorithms.rounds import epoch
from tests.engines.jobs import context
from tests.single_packets import pack_payload, unpack_payload


def can_fail(tree: Any) -> bool:
    """Whether there is a floating-point number that could be NaN."""
    return any(
        isinstance(leaf, torch.Tensor) and leaf.is_floating_point() and leaf.numel() for leaf in tree_leaves(tree)
    )


class Single:
    """The server's state, and each client's, after some rounds."""

    def __init__(self, plan: Plan, federation: Federation) -> None:
        self.plan = plan
        self.clients = federation.clients
        self.server: Any = plan.first_server({c: data.tasks for c, data in federation.clients.items()})
        self.private: dict[ClientId, Any] = {}
        self.codec: dict[ClientId, Any] = {}
        for client, data in self.clients.items():
            self.private[client] = plan.init_client(data.tasks, len(data.train.x))
            self.codec[client] = plan.uplink(client, data.tasks).init()
        self.packets: dict[tuple[int, ClientId], bytes] = {}
        """(round, client) -> the update that was sent."""

    def down(self, client: ClientId, round: int) -> Payload:
        """What the client makes of its own broadcast."""
        owned = self.clients[client].tasks
        payload = self.plan.broadcast(self.server, client, owned, round)
        link = self.plan.downlink(client, owned)
        draw = rng(self.plan.seed, round, client, "down")
        packet, _ = pack_payload(payload, link, link.init(), draw, kind=DOWN, round=round)
        return unpack_payload(packet, link, kind=DOWN, round=round)[0]

    def sums(self, client: ClientId, round: int) -> dict[str, NDArray[np.float64]]:
        """The client's measurement, all its test examples at once."""
        data = self.clients[client]
        batches = make_batches(data.test.x, data.test.y, None, None)
        found = self.plan.measure(data.tasks)(self.down(client, round), self.private[client], batches, NO_CONTEXT)
        return {task: np.asarray(values, np.float64) for task, values in found.items()}

    def round(
        self,
        round: int,
        cohort: Collection[ClientId],
        private_fails: Collection[ClientId] = (),
        upload_fails: Collection[ClientId] = (),
        lost: Collection[ClientId] = (),
    ) -> None:
        """One round.

        Args:
            cohort: clients that train.
            private_fails: those whose private state comes out with a NaN.
            upload_fails: those whose upload does.
            lost: those whose packet does not arrive, or not undamaged.
        """
        uploads: list[tuple[ClientId, Upload]] = []
        for client in sorted(cohort):
            data = self.clients[client]
            down = self.down(client, round)
            batches = epoch(self.plan, data, client, round)
            ctx = context(self.plan, client, data.tasks, round)
            result: Trained[Any] = self.plan.training(data.tasks)(down, self.private[client], batches, ctx)
            failed = (client in private_fails and can_fail(result.private)) or (
                client in upload_fails and can_fail(result.upload.payload)
            )
            if failed:
                continue
            link = self.plan.uplink(client, data.tasks)
            payload, num_examples = result.upload
            packet, self.codec[client] = pack_payload(
                payload, link, self.codec[client], rng(self.plan.seed, round, client, "up"),
                kind=UP, round=round, num_examples=float(num_examples), reference=down,
                train_loss=float(result.metrics.get(TRAIN_LOSS, math.nan)),
            )  # fmt: skip
            self.private[client] = result.private
            self.packets[round, client] = packet
            if client not in lost:
                received, weight = unpack_payload(packet, link, kind=UP, round=round, reference=down)
                uploads.append((client, Upload(received, weight)))
        self.server = self.plan.algorithm.aggregate(self.server, uploads, self.plan.server_context(round, "aggregate"))

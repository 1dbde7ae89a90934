"""Updates that are under way on the simulated clock, where rounds are asynchronous.

A client is in flight from the exchange that sends it a version until the simulated time at which its upload ends. Its
nodes train at once, so the server holds its update until then, with the version's numbers that it was sent.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fedmtl.core.trees import tree_index
from fedmtl.core.types import ClientId
from fedmtl.core.uploads import Stack, Uploads
from fedmtl.protocol.packets import DOWN, Packets
from fedmtl.protocol.packing import raise_error, unpack_payloads
from fedmtl.server.broadcast import broadcasts
from fedmtl.server.replies import RoundReplies
from fedmtl.timing.policies.base import AsynchronousPolicy


class HeldUpdate(NamedTuple):
    """An update of a client in flight."""

    version: int
    """The version that it was trained on."""
    task_set: int
    vector: NDArray[np.float32]
    """w_k."""
    num_examples: float


class InFlight:
    """The clients in flight.

    Args:
        policy: of the asynchronous rounds.
    """

    def __init__(self, policy: AsynchronousPolicy) -> None:
        self._policy = policy
        self.ends: dict[ClientId, float] = {}
        """Client -> simulated time at which its upload ends."""
        self.held: dict[ClientId, HeldUpdate] = {}
        self.sent: dict[tuple[int, int], NDArray[np.float32]] = {}
        """Version and set of tasks -> w_v."""
        self._arrived: list[ClientId] = []

    @property
    def clients(self) -> NDArray[np.int64]:
        """Clients in flight, ascending."""
        return np.array(sorted(self.ends), np.int64)

    def arrive(self, begin: float, size: int) -> float | None:
        """Let the updates of the next step arrive, and return its time; None where none is under way.

        Args:
            begin: of the exchange.
            size: of the experiment's cohort.
        """
        first = sorted(self.ends, key=lambda client: (self.ends[client], client))
        if not first:
            self._arrived = []
            return None
        count, time = self._policy.arrivals(np.array([self.ends[client] for client in first]), begin, size)
        self._arrived = first[:count]
        return time

    def exchange(self, uploads: Uploads, received: RoundReplies, state: Any) -> Uploads:
        """Hold the updates of an exchange, and return those that have arrived, as the policy weighs them.

        Args:
            uploads: of the clients that were asked.
            received: their replies.
            state: the server's, of the version that was sent.
        """
        plan, version, requests = received.plan, received.requests.exchange.version, received.requests
        for stack in uploads.stacks:
            client, index = int(stack.clients[0]), int(received.roster.task_set(stack.clients[:1])[0])
            link = plan.uplink(client, received.roster.task_sets[index])
            place = np.searchsorted(requests.clients, stack.clients[:1])
            self.sent[version, index] = _numbers(received, client, index, requests.packets.select(place))
            payloads = [tree_index(stack.payload, k) for k in range(len(stack.clients))]
            for k, vector in enumerate(link.vectors(payloads)):
                self.held[int(stack.clients[k])] = HeldUpdate(version, index, vector, float(stack.num_examples[k]))
        arrived = sorted(client for client in self._arrived if client in self.held)
        stacks = []
        for index in sorted({self.held[client].task_set for client in arrived}):
            own = [client for client in arrived if self.held[client].task_set == index]
            stacks.append(self._stack(own, index, received, state))
        for client in [*self._arrived, *(client for client in list(self.ends) if client not in self.held)]:
            self.held.pop(client, None)
            self.ends.pop(client, None)
        kept = {(held.version, held.task_set) for held in self.held.values()}
        self.sent = {key: vector for key, vector in self.sent.items() if key in kept}
        self._arrived = []
        return Uploads(stacks)

    def _stack(self, clients: list[ClientId], index: int, received: RoundReplies, state: Any) -> Stack:
        """Return updates of clients with one set of tasks."""
        plan, exchange = received.plan, received.requests.exchange
        link = plan.uplink(clients[0], received.roster.task_sets[index])
        held = [self.held[client] for client in clients]
        some = np.array(clients[:1])
        packet = None if received.references is not None else broadcasts(plan, state, received.roster, exchange, some)
        now = _numbers(received, clients[0], index, packet)
        vectors = np.stack(
            [
                self._policy.weigh(each.vector, self.sent[each.version, index], now, exchange.version - each.version)
                for each in held
            ]
        )
        examples = np.array([each.num_examples for each in held])
        return Stack(np.array(clients, np.int64), link.arrays(torch.from_numpy(vectors)), examples)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all as named arrays, for ``load_arrays``."""
        ends = [(client, self.ends[client], self.held[client]) for client in sorted(self.held)]
        found: dict[str, NDArray[Any]] = {
            "clients": np.array([client for client, _, _ in ends], np.int64),
            "ends": np.array([end for _, end, _ in ends], np.float64),
            "versions": np.array([held.version for _, _, held in ends], np.int64),
            "task_sets": np.array([held.task_set for _, _, held in ends], np.int64),
            "examples": np.array([held.num_examples for _, _, held in ends], np.float64),
        }
        found |= {f"update {client}": held.vector for client, _, held in ends}
        return found | {f"sent {version} {index}": vector for (version, index), vector in self.sent.items()}

    def load_arrays(self, found: Mapping[str, NDArray[Any]]) -> None:
        """Go on where ``arrays`` were taken.

        Raises:
            KeyError, ValueError: arrays that no run writes.
        """
        columns = (found[name].tolist() for name in ("clients", "ends", "versions", "task_sets", "examples"))
        for client, end, version, index, examples in zip(*columns, strict=True):
            self.ends[client] = end
            self.held[client] = HeldUpdate(version, index, found[f"update {client}"], examples)
            self.sent[version, index] = found[f"sent {version} {index}"]


def _numbers(received: RoundReplies, client: ClientId, index: int, packet: Packets | None) -> NDArray[np.float32]:
    """Return the numbers of a broadcast as the client unpacked them, in the order of its upload; 0 for others.

    Where broadcasts are changes (``References``), updates are on the server's own model: then that, without a packet.
    """
    plan, owned = received.plan, received.roster.task_sets[index]
    link = plan.downlink(client, owned)
    if packet is None or received.references is not None:
        return received.references.sent(link, plan.uplink(client, owned))
    unpacked = unpack_payloads(packet, link, kind=DOWN, round=received.round, on_error=raise_error)
    payload = link.arrays(torch.from_numpy(unpacked.vectors[0].copy()))
    return plan.uplink(client, owned).vectors([payload])[0]

"""Requests and replies of a round: columns, a row a client."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.types import ClientId, TaskSet
from fedmtl.protocol.exchange import Exchange
from fedmtl.protocol.packets import Packets, concat

PHASES = ("state", "evaluate", "train", "encode", "add")
"""Phases of a node's time."""


START_ANEW = -1
"""In place of the version that a client has trained for: a private state that is lost may begin anew."""


class Request(NamedTuple):
    """A request to one client: a packet, and the work to be done with it."""

    client: ClientId
    packet: bytes
    """The broadcast; empty when the algorithm sends nothing."""
    evaluate: bool
    """Measure what the client would predict with, before training."""
    train: bool
    raw_data: bool
    """Send the raw training data; for centralized algorithms, once."""


class Requests(Sequence[Request]):
    """The requests of an exchange, or of one node in it."""

    def __init__(
        self,
        exchange: Exchange,
        clients: NDArray[np.int64],
        packets: Packets,
        evaluate: NDArray[np.bool_],
        train: NDArray[np.bool_],
        raw_data: NDArray[np.bool_],
        since: NDArray[np.int64] | None = None,
        memories: NDArray[np.int64] | None = None,
    ) -> None:
        self.exchange = exchange
        self.clients = clients
        self.packets = packets
        """Clients with the same packet may share its bytes; each is counted."""
        self.evaluate = evaluate
        self.train = train
        self.raw_data = raw_data
        self.since = np.zeros(len(clients), np.int64) if since is None else since
        """The newest version that each client has trained for, so that it has a private state of that version or a
        later one; 0: none. START_ANEW: it may begin anew where that state is lost."""
        self.memories = np.zeros(len(clients), np.int64) if memories is None else memories
        """The version of the server's memory of each client's uploads, see ``memories``; 0: none."""

    def __len__(self) -> int:
        return len(self.clients)

    def __getitem__(self, row: Any) -> Any:
        """Return one request, or those of a slice."""
        if isinstance(row, slice):
            return self.select(np.arange(len(self))[row])
        flags = (bool(column[row]) for column in (self.evaluate, self.train, self.raw_data))
        return Request(int(self.clients[row]), self.packets[row], *flags)

    def __iter__(self) -> Iterator[Request]:
        return (self[row] for row in range(len(self)))

    def select(self, rows: NDArray[Any]) -> "Requests":
        """Select the requests of some rows."""
        evaluate, train, raw_data = (column[rows] for column in (self.evaluate, self.train, self.raw_data))
        columns = (self.clients[rows], self.packets.select(rows), evaluate, train, raw_data)
        return Requests(self.exchange, *columns, self.since[rows], self.memories[rows])

    def without(self, clients: Iterable[ClientId]) -> "Requests":
        """Select the requests of all clients but these."""
        return self.select(np.flatnonzero(~np.isin(self.clients, list(clients))))


class Reply(NamedTuple):
    """The reply of one client."""

    client: ClientId
    report: bytes
    """Packet of metric sums; empty when nothing was measured."""
    update: bytes
    """Packet of the upload, or of the raw data."""
    seconds: float
    """Measured training time."""
    problem: str
    """The reason why a requested update is missing; "" when it is there."""


class Total(NamedTuple):
    """Uploads of clients with one set of tasks, added up after they were packed and unpacked."""

    owned: TaskSet
    clients: NDArray[np.int64]
    """Ascending."""
    vector: NDArray[np.float64]
    """Σ n_k w_k in the order of the Spec."""
    num_examples: NDArray[np.float64]
    """n_k, [K]."""
    train_loss: NDArray[np.float32]
    """In the header of each packet, [K]; NaN where there is none."""
    metrics: NDArray[np.float32]
    """Behind the body of each packet, [K, M]."""
    ideal_bits: NDArray[np.int64]
    """Ideal bits of each packet, [K]; empty where the codec declares none."""


class Replies(Sequence[Reply]):
    """The replies of one node.

    Where it added the uploads up (``totals``), ``updates`` has the lengths of the packets that were made, and no bytes.
    """

    def __init__(
        self,
        clients: NDArray[np.int64],
        reports: Packets,
        updates: Packets,
        seconds: NDArray[np.float64],
        problems: dict[ClientId, str],
        totals: Sequence[Total] = (),
        phases: Mapping[str, float] | None = None,
        node: int | None = None,
    ) -> None:
        self.clients = clients
        self.reports = reports
        self.updates = updates
        self.seconds = seconds
        self.problems = problems
        self.totals = totals
        self.phases = phases or {}
        """Phase -> seconds that the node spent in it."""
        self.node = node
        """Flower's id of the node that sent them; None where they did not come by a message."""

    def select(self, rows: NDArray[Any]) -> "Replies":
        """The replies of some rows; problems, totals and phases stay as they are."""
        reports, updates = self.reports.select(rows), self.updates.select(rows)
        kept = (self.seconds[rows], self.problems, self.totals, self.phases, self.node)
        return Replies(self.clients[rows], reports, updates, *kept)

    def __len__(self) -> int:
        return len(self.clients)

    def __getitem__(self, row: Any) -> Any:
        """One reply, or a list of them."""
        if isinstance(row, slice):
            return [self[k] for k in range(len(self))[row]]
        client = int(self.clients[row])
        problem = self.problems.get(client, "")
        return Reply(client, self.reports[row], self.updates[row], float(self.seconds[row]), problem)

    def __iter__(self) -> Iterator[Reply]:
        return (self[row] for row in range(len(self)))


def replies_of(replies: Iterable[Reply]) -> Replies:
    """Make columns from rows."""
    rows = list(replies)
    return Replies(
        np.array([reply.client for reply in rows], np.int64),
        concat([reply.report for reply in rows]),
        concat([reply.update for reply in rows]),
        np.array([reply.seconds for reply in rows], np.float64),
        {reply.client: reply.problem for reply in rows if reply.problem},
    )

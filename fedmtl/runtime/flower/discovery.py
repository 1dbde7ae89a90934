"""Discovery of the clients of each node, by a query that is checked against the server's roster."""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from fedmtl.core.text import escaped
from fedmtl.core.types import ClientId
from fedmtl.data.roster import Roster
from fedmtl.protocol.rejections import Refused, Rejection, count, report
from fedmtl.runtime.flower.failures import explained, sender
from fedmtl.runtime.flower.records import ROSTER, column, only, record, same_length, value

log = logging.getLogger("fedmtl")


class NodeMap(NamedTuple):
    """The Flower nodes, and the node of each client, in which a round looks up its cohort, not the population."""

    nodes: list[int]
    """Flower's ids, which may need all of 64 bits."""
    node_index: NDArray[np.int64]
    """Index of the node of each client of the roster, [K]; -1 where none hosts it."""

    def present(self, nodes: Iterable[int]) -> bool:
        """Return True if all nodes are among those of the grid."""
        return set(self.nodes) <= set(nodes)


def node_map_of(clients: NDArray[np.int64], nodes: Mapping[ClientId, int]) -> NodeMap:
    """Return a node map from a mapping of clients to nodes."""
    ids = sorted(set(nodes.values()))
    number = {node: index for index, node in enumerate(ids)}
    node_index = [number[nodes[client]] if client in nodes else -1 for client in clients.tolist()]
    return NodeMap(ids, np.array(node_index, np.int64))


def discover(
    grid: Grid,
    roster: Roster,
    wait_seconds: float,
    before: NodeMap | None = None,
    rejected: Counter[str] | None = None,
) -> NodeMap:
    """Query the rosters of nodes until all clients are found.

    A client that two nodes claim stays with the known node, or the first to reply. Claims of clients that the
    federation does not have, or with other tasks, are excluded and named. After the time is over, missing clients are
    an error, unless some roster was excluded: one bad node must not end the run of the others.

    Args:
        grid: of the nodes.
        roster: the server's clients and their tasks.
        wait_seconds: time for all clients to be found.
        before: the node map so far; clients of nodes that are still connected keep their node, and clients that no
            node hosted are not required.
        rejected: counter of rejections by kind, which is increased.

    Raises:
        RuntimeError: clients are still missing when the time is over.
    """
    nodes: list[int] = []
    node_index = np.full(len(roster.clients), -1, np.int64)
    wanted = np.ones(len(node_index), bool) if before is None else before.node_index >= 0
    queried: set[int] = set()
    if before is not None:
        there = set(grid.get_node_ids())
        for index, node in enumerate(before.nodes):
            if node in there:
                node_index[before.node_index == index] = len(nodes)
                nodes.append(node)
                queried.add(node)
    left_out: list[Rejection] = []
    logged: set[tuple[int, str]] = set()
    deadline = time.monotonic() + wait_seconds
    while True:
        new = sorted(set(grid.get_node_ids()) - queried)
        messages = [Message(RecordDict(), node, MessageType.QUERY) for node in new]
        left = max(1.0, deadline - time.monotonic())
        for reply in grid.send_and_receive(messages, timeout=left) if messages else []:
            node = sender(reply, [message.metadata for message in messages])
            if node not in new or node in queried:
                some = [Rejection("round", "no roster was requested of this node", node)]
            elif reply.has_content():
                queried.add(node)
                some = _enter(reply.content, node, roster, nodes, node_index)
            else:
                some = []
                if (node, why := explained(reply)) not in logged:
                    log.warning("node %d did not reply: %s", node, why)
                logged.add((node, why))
            report("roster", some)
            left_out += some
            if rejected is not None:
                rejected += count(some)
        missing = roster.clients[(node_index < 0) & wanted]
        found = int((node_index >= 0).sum())
        if found and not len(missing):
            return _tidy(nodes, node_index)
        if time.monotonic() >= deadline:
            text = (
                f"After {wait_seconds:g} s, {len(queried)} node(s) host {found} client(s); missing: "
                f"{missing[:10].tolist() if found else 'all clients'}."
            )
            if not left_out or not found:
                raise RuntimeError(f"{text} Start nodes that host them, or raise wait_seconds.")
            log.warning("%s The run goes on without them: %d roster entries were left out.", text, len(left_out))
            return _tidy(nodes, node_index)
        time.sleep(min(1.0, wait_seconds / 20))


def _enter(
    content: RecordDict, node: int, roster: Roster, nodes: list[int], node_index: NDArray[np.int64]
) -> list[Rejection]:
    """Enter the clients of a node's roster, and return what was excluded of it."""
    try:
        clients, owns, sets = read_roster(content)
    except Refused as error:
        return [Rejection(error.kind, str(error), node)]
    except Exception as error:  # damage of a kind that no rule names
        log.debug("roster of node %d", node, exc_info=True)
        return [Rejection("message", f"it cannot be read: {type(error).__name__}", node)]
    texts = {",".join(owned): index for index, owned in enumerate(roster.task_sets)}
    index_of = np.array([texts.get(text, -1) for text in sets], np.int64)
    left_out: list[Rejection] = []
    place = np.minimum(roster.rows(clients), len(roster.clients) - 1)
    known = roster.clients[place] == clients
    if unknown := int((~known).sum()):
        reason = f"{unknown} clients that the federation does not have, such as {clients[~known][0]}"
        left_out.append(Rejection("roster", reason, node))
    clients, owns, place = clients[known], owns[known], place[known]
    _, first = np.unique(place, return_index=True)
    if len(first) < len(place):
        left_out.append(Rejection("roster", f"{len(place) - len(first)} clients more than once", node))
        clients, owns, place = clients[first], owns[first], place[first]
    fits = index_of[owns] == roster.task_set(clients) if len(clients) else np.zeros(0, bool)
    for k in np.flatnonzero(~fits)[:1000].tolist():
        tasks = ",".join(roster.task_sets[int(roster.task_set(clients[k : k + 1])[0])])
        reason = f"tasks are {tasks} by the server's data, {escaped(sets[int(owns[k])], 60)} by the node's"
        left_out.append(Rejection("roster", reason, node, int(clients[k]), "roster"))
    clients, place = clients[fits], place[fits]
    taken = node_index[place] >= 0
    for k in np.flatnonzero(taken)[:1000].tolist():
        reason = f"node {nodes[node_index[place[k]]]} hosts it already"
        left_out.append(Rejection("owner", reason, node, int(clients[k]), "claim"))
    if not taken.all():
        node_index[place[~taken]] = len(nodes)
        nodes.append(node)
    return left_out


def _tidy(nodes: list[int], node_index: NDArray[np.int64]) -> NodeMap:
    """Return the node map with nodes ascending, without those that host no client."""
    used = sorted(nodes[index] for index in np.unique(node_index[node_index >= 0]).tolist())
    place = {node: index for index, node in enumerate(used)}
    number = np.array([place.get(node, -1) for node in nodes] + [-1], np.int64)  # the last is for index -1
    return NodeMap(used, number[node_index])


def read_roster(content: RecordDict) -> tuple[NDArray[np.int64], NDArray[np.int64], list[str]]:
    """Read the clients of a node, the index of each client's set of tasks, and the sets.

    Raises:
        Refused: anything that ``roster_content`` cannot have written.
    """
    only(content, ROSTER)
    config = record(content, ROSTER, ConfigRecord)
    clients, owns = (column(config, key, "<i8") for key in ("clients", "owns"))
    same_length(clients, owns)
    sets = value(config, "tasks", list)
    if len(sets) > len(clients) or not all(type(owned) is str for owned in sets):
        raise Refused("roster", f"sets of tasks are at most {len(clients)} texts, got {len(sets)} values")
    if len(owns) and not 0 <= owns.min() <= owns.max() < len(sets):
        raise Refused("roster", "each client has one of the roster's sets of tasks, got one outside them")
    return clients, owns, sets

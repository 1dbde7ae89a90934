"""Aggregation that one node's uploads cannot end: those that an algorithm fails on are found, and left out.

Names, shapes, norms and weights are checked before; what an algorithm reads from numbers, such as a cluster's index, is
its own. Where it raises, or ends in numbers that are not finite, the round is aggregated again without the uploads of
each node in turn. Where that does not help, the error, or the state, is the algorithm's own.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.trees import all_finite, tree_map
from fedmtl.core.types import ClientId
from fedmtl.core.uploads import Stack, Uploads


def aggregate(
    step: Callable[[Uploads], Any], state: Any, uploads: Uploads, node_of: Callable[[ClientId], int | None]
) -> tuple[Any, Uploads, dict[ClientId, str]]:
    """Return the server's next state, the uploads that made it, and the clients of the others, with the reason.

    Args:
        step: uploads -> the next state.
        state: the server's.
        uploads: of the round, in client order.
        node_of: the node that a client's upload came from.

    Raises:
        Exception: the algorithm's own, where no node's uploads alone explain it.
    """
    after, error = _tried(step, state, uploads)
    if error is not None:
        clients = uploads.clients
        nodes = [node_of(client) for client in clients.tolist()]
        for node in sorted(set(nodes), key=str) if len(set(nodes)) > 1 else ():
            some = clients[np.array([other == node for other in nodes])]
            rest = without(uploads, some)
            better, still = _tried(step, state, rest)
            if still is None:
                reason = f"the algorithm cannot use the uploads of its node: {type(error).__name__}"
                return better, rest, dict.fromkeys(some.tolist(), reason)
        if not isinstance(error, NotFinite):
            raise error
    return after, uploads, {}


class NotFinite(ValueError):
    """The algorithm's state after a round holds NaN or infinity, and the one before did not."""


def _tried(step: Callable[[Uploads], Any], state: Any, uploads: Uploads) -> tuple[Any, Exception | None]:
    """Return the state after a round, and the error for which it cannot be used."""
    try:
        after = step(uploads)
    except Exception as error:  # of whatever type an algorithm raises on numbers that it did not expect
        return None, error
    unusable = not all_finite(after) and all_finite(state)
    return after, NotFinite("not finite") if unusable else None


def without(uploads: Uploads, clients: NDArray[np.int64]) -> Uploads:
    """Return the uploads of other clients."""
    stacks = []
    for stack in uploads.stacks:
        rows = np.flatnonzero(~np.isin(stack.clients, clients))
        if len(rows):
            payload = tree_map(lambda leaf, rows=rows: leaf[rows], stack.payload)
            stacks.append(Stack(stack.clients[rows], payload, stack.num_examples[rows]))
    return Uploads(stacks)

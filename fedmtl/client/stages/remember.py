"""The memories of uploads that a client keeps beside its private state, where the server has them too.

``protocol/memories.py`` has the equations: a client goes on from the memory of the version that the server names.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.trees import tree_leaves, tree_map, tree_unflatten
from fedmtl.protocol.memories import ANEW


class Begun(NamedTuple):
    """Codec states that the uploads of K clients are coded from."""

    codec: Any
    """The codec's states, arrays [K, …]."""
    bases: NDArray[np.int64]
    """Their versions, [K]; ANEW for the codec's first one."""

    def stored(self, rows: NDArray[np.int64], version: int) -> dict[str, Any]:
        """Return the part of the states of some of the K clients which says what was coded from what.

        Args:
            version: of the codec's next states, which are stored beside.
        """
        before = tree_map(lambda leaf: leaf[rows], self.codec)
        return {"version": np.full(len(rows), version), "base": self.bases[rows], "before": before}


def no_memories(first: Any) -> dict[str, Any]:
    """Return that part of a client's state before its first upload, from the codec's first state."""
    return {"version": np.array(ANEW, np.int64), "base": np.array(ANEW, np.int64), "before": first}


def begin(states: dict[str, Any], held: NDArray[np.int64], first: Any) -> Begun:
    """Choose what the uploads of K clients are coded from.

    Args:
        states: theirs, arrays [K, …].
        held: versions of the server's memories, [K].
        first: the codec's first state.
    """
    sent, known = states["sent"], held != ANEW
    newest, before = known & (sent["version"] == held), known & (sent["base"] == held)
    leaves = zip(tree_leaves(first), tree_leaves(states["codec"]), tree_leaves(sent["before"]), strict=True)
    chosen = []
    for none, new, old in leaves:
        found = np.where(_like(before, old), old, np.asarray(none))
        chosen.append(np.where(_like(newest, new), new, found))
    return Begun(tree_unflatten(states["codec"], chosen), np.where(newest | before, held, ANEW))


def _like(mask: NDArray[np.bool_], leaf: NDArray[Any]) -> NDArray[np.bool_]:
    """View a mask of rows, [K], so that it fits arrays [K, …]."""
    return mask.reshape(len(mask), *[1] * (np.ndim(leaf) - 1))

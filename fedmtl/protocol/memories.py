"""Memories of uploads: a codec whose receiver remembers each client (its trait ``receiver_memory``), such as ``EF21``.

With g_k the memory of client k, x its update, C the codec and R what its receiver makes of bytes and memory:

    c, g_k' = C(x, g_k)          on the client                                                    (1)
    x', g_k' = R(c, g_k)         on the server, the same g_k' bit by bit                          (2)

Both are 0 first. A memory has the version of the model that its update makes. The server's count: it takes g_k' when it
takes the update, and a reply that is lost, late, dropped, damaged or left out moves its memory no more than its model.
So

- a request holds the version of the server's memory of each client, 0 for none;
- a client keeps the memory that it coded last, and the one before, of the version that the server had. It codes from
  the one of the request's version. One that has neither, as its state is lost, starts anew from 0;
- an upload holds, in four bytes behind its body, the version that it was coded from, 0 for anew. The server refuses
  any other than its own or 0.

The two can differ only where a node's file is altered by hand: then by numbers, and the update is that node's own.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.protocol.packets import PacketError

ANEW = 0
"""In place of the version of a memory: there is none, or it is not used."""


class Memories(NamedTuple):
    """The server's memories of K clients."""

    versions: NDArray[np.int64]
    """[K]; ANEW for none."""
    numbers: NDArray[np.float32]
    """g_k in the order of the spec, [K, size]."""


def as_tail(versions: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return versions as they are behind bodies, [K, 1]: the bytes of uint32, seen as float32 like those before."""
    return versions.astype("<u4").view("<f4")[:, None]


def starting_memories(
    tail: NDArray[np.float32], held: Memories, on_error: Callable[[int, PacketError], None]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the rows of the uploads that are coded from the server's memory or anew, and the g_k of these, [P, size].

    Args:
        tail: of ``as_tail``, [K].
        held: of the K clients.
        on_error: called with the row and the error of each other upload.
    """
    versions = np.ascontiguousarray(tail, "<f4").view("<u4").astype(np.int64)
    good = (versions == held.versions) | (versions == ANEW)
    for k in np.flatnonzero(~good).tolist():
        what = f"The upload is coded from a memory of version {versions[k]}, the server's is of {held.versions[k]}"
        on_error(k, PacketError(f"{what}; it is 0 of one that starts anew."))
    rows = np.flatnonzero(good)
    return rows, np.where(versions[rows, None] == ANEW, np.float32(0), held.numbers[rows])

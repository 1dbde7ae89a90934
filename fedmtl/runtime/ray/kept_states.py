"""Private states of a run without a folder, which its actors wrote and its result keeps."""

import os
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.client.state.base import StateStore
from fedmtl.client.state.mmap import MmapStateStore
from fedmtl.runtime import scratch


def keep_states(folder: str, clients: NDArray[np.int64], runtime: Any) -> StateStore | None:
    """Move private states to a temporary folder that lasts as long as the store that is returned.

    Args:
        folder: that the actors wrote into, while they live.
        clients: of the federation, ascending.
        runtime: of the run. Where its machines are several, there is no folder of all states: None.
    """
    if runtime.traits.several_machines:
        return None
    if not os.path.isdir(folder):  # no state was written
        return MmapStateStore(clients)
    kept = scratch.make()
    os.rename(folder, kept / "state")
    store = MmapStateStore(clients, kept / "state")
    weakref.finalize(store, scratch.remove, kept)
    return store

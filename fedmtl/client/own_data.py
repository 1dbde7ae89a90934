"""Data that a device had when a run began: a node that restarts with other data must not go on as if nothing was new.

Beside the private states of a run lies ``data.json``: client -> fingerprint of its examples and labels, written before
the client's first work. In a run's own folder the server does the like for simulations, see ``fedmtl.runs.same_run``.
"""

import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fedmtl.client.state.base import StateError, StateStore
from fedmtl.client.state.files import VersionedFileStore
from fedmtl.core.fingerprint import fingerprint
from fedmtl.core.types import ClientId
from fedmtl.data.base import ClientData

NAME = "data.json"


class OtherData(ValueError):
    """All clients of a message have other data than when the run began."""


def changed(
    store: StateStore, data: Mapping[ClientId, ClientData], clients: NDArray[np.int64], restart: bool = False
) -> list[ClientId]:
    """Return the clients whose data are not those that this run began with; those that are new to the run are recorded.

    Args:
        store: of the private states; without files, no client has changed.
        data: of the node's clients.
        clients: of them, those that the message is about.
        restart: let such clients begin anew with what they have now; their private states are deleted.

    Raises:
        StateError: the note is damaged.
    """
    files = store.files if isinstance(store, VersionedFileStore) else None
    if files is None:
        return []
    known: dict[str, str] = {}
    if files.exists(NAME):
        try:
            known = json.loads(files.read(NAME))
            if not isinstance(known, dict) or not all(isinstance(one, str) for one in known.values()):
                raise ValueError
        except (ValueError, RecursionError):
            if not restart:
                raise StateError(
                    f"{files.path(NAME)} is damaged, so it cannot be known whether clients have the data that the run "
                    "began with. Restore it, or go on knowingly with restart-clients=true in the node's configuration."
                ) from None
            known = {}
    found = {f"{client}": _of(data[client]) for client in clients.tolist()}
    other = [client for client, one in found.items() if known.get(client, one) != one]
    new = {client: one for client, one in found.items() if client not in known or (restart and client in other)}
    if restart and isinstance(store, VersionedFileStore):
        for client in other:
            store.delete_client(int(client))
    if new:
        files.write(NAME, json.dumps(known | new, indent=1).encode(), mode=0o600)
    return [] if restart else [int(client) for client in other]


def _of(client: ClientData) -> str:
    return fingerprint([(split.x, dict(split.y)) for split in (client.train, client.test)])

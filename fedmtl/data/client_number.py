"""A client that is given by its number or its name."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.bounds import shown
from fedmtl.core.suggest import did_you_mean
from fedmtl.core.types import ClientId
from fedmtl.tasks.names import clean

SHOWN = 8
"""Clients that an error about an unknown one names."""


def client_number(what: str, client: Any, clients: NDArray[np.int64], names: Mapping[ClientId, str]) -> ClientId:
    """Return the number of a client that is given by its number or its name.

    Args:
        what: begins the message of an error, such as "The run".
        client: a whole number, or a name; a text of digits that is no name is a number.
        clients: all of them, ascending.
        names: of those that have one.

    Raises:
        ValueError: no such client.
    """
    found = None
    if isinstance(client, str):
        found = next((one for one, name in names.items() if name in (client, clean(client))), None)
        if found is None and client.isdecimal() and len(client) < 12:
            found = int(client)
    elif isinstance(client, int | np.integer) and not isinstance(client, bool):
        found = int(client)
    place = -1 if found is None else int(np.searchsorted(clients, found))
    if found is None or not 0 <= place < len(clients) or clients[place] != found:
        known = [names.get(one, str(one)) for one in clients[:1000].tolist()]
        some = ", ".join(known[:SHOWN]) + (", …" if len(clients) > SHOWN else "")
        raise ValueError(
            f"{what} has no client {shown(client)}; its {len(clients)} are {some}.{did_you_mean(client, known)}"
        )
    return found

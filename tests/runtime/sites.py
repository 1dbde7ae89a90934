"""Data that lies where its clients are: a machine has stand-ins for the clients of others, and the server for all."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fedmtl.data import Standardised, from_frame
from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.tasks import Binary

CLIENTS = 4


class Disk:
    """The machine that the running code is on, by the clients whose data it has."""

    here: frozenset[int] = frozenset()


def at(clients: Iterable[int]) -> None:
    """Go to a machine."""
    Disk.here = frozenset(clients)


def rows_of(client: int) -> Any:
    """The rows of a client, [N, 3], whose first feature is a year."""
    draw = np.random.default_rng(client)
    x = draw.normal(client, 1 + client, (8 + 3 * client, 3))
    x[:, 0] += 2000
    return x.astype(np.float32)


@dataclass(frozen=True)
class Numbers:
    """Features in units of their own."""

    def load(self, seed: int) -> Federation:
        clients = {}
        for client in range(CLIENTS):
            x = rows_of(client)
            x = x if client in Disk.here else np.zeros_like(x)
            y = {"up": (x[:, 1] > client).astype(np.float32)}
            clients[client] = ClientData(Split(x, y), Split(x[:3], {"up": y["up"][:3]}))
        return Federation({"up": Binary()}, (3,), clients)


@dataclass(frozen=True)
class Scaled:
    """``Numbers``, standardised."""

    def load(self, seed: int) -> Federation:
        return Standardised(Numbers()).load(seed)


TEXTS = (
    ("good lens", "bad lens", "good good case"),
    ("bad phone", "a phone", "good phone"),
    ("blue shirt", "red shirt", "a bad shirt"),
    ("long book", "good book", "good story"),
)
"""Reviews of each client, thrice."""


@dataclass(frozen=True)
class Reviews:
    """Texts, a number and a category of each client; stand-ins have one word and no category of theirs."""

    def load(self, seed: int) -> Federation:
        parts = []
        for client, texts in enumerate(TEXTS):
            own = client in Disk.here
            frame = pd.DataFrame({"review": (list(texts) if own else ["x"] * 3) * 3})
            frame["shop"], frame["good"] = client, [0, 1, 1] * 3
            frame["part"] = ["train"] * 6 + ["test"] * 3
            parts.append(frame)
        table = pd.concat(parts, ignore_index=True)
        data = from_frame(table, "shop", {"good": Binary()}, text="review", split="part", length=4, min_count=1)
        return data.load(seed)

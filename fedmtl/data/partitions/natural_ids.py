"""NaturalIds: examples go to the clients that they came from, such as a user, a hospital or a sensor."""

from dataclasses import dataclass

import numpy as np

from fedmtl.core.bounds import shown
from fedmtl.data.partitions.base import Dealt, ExampleFacts


@dataclass(frozen=True)
class NaturalIds:
    """Each id is a client, in the order of ids; names are kept."""

    min_size: int = 2
    """The fewest examples a client has: one to train and one to test on."""
    drop: bool = False
    """True leaves out clients with fewer; else they are an error."""

    def __post_init__(self) -> None:
        if self.min_size < 1:
            raise ValueError(f"NaturalIds: a client has an example or more, got min_size={self.min_size}; use 2.")

    def deal(self, examples: ExampleFacts, clients: int, seed: int) -> Dealt:
        if examples.ids is None:
            raise ValueError(
                "NaturalIds() goes by a column of clients, and these examples have none; name it, or use IID()."
            )
        ids, owner = np.unique(examples.ids, return_inverse=True)
        if clients not in (0, len(ids)):
            raise ValueError(f"NaturalIds() finds {len(ids)} clients, got clients={clients}; leave the number out.")
        sizes = np.bincount(owner)
        short = np.flatnonzero(sizes < self.min_size)
        if len(short) and not self.drop:
            raise ValueError(
                f"Client {shown(ids[short[0]].item())} has {sizes[short[0]]} example(s), one of {len(short)} clients "
                f"with fewer than {self.min_size}; use NaturalIds(drop=True) to leave them out."
            )
        if len(short) == len(ids):
            raise ValueError(f"No client has {self.min_size} examples; lower min_size.")
        order = np.argsort(owner, kind="stable")
        rows = np.split(order, np.cumsum(sizes)[:-1])
        kept = np.flatnonzero(sizes >= self.min_size).tolist()
        return Dealt([rows[k] for k in kept], [str(ids[k]) for k in kept])

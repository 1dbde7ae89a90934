"""Any data set with inputs that are standardised: by statistics that clients agree on, or by their own."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.bounds import shown
from fedmtl.core.types import ClientId
from fedmtl.data.base import ClientData, Federation
from fedmtl.data.joined import Joined
from fedmtl.data.moments import FeatureMoments, moments_of
from fedmtl.data.scaling import Scale, pooled_scale, scaled
from fedmtl.data.source import DataSource
from fedmtl.data.synthetic import Synthetic

SCALES = ("pooled", "client")


@dataclass(frozen=True)
class Standardised:
    """A data set whose inputs have mean 0 and standard deviation 1, number by number, over training examples.

    With ``scale="pooled"`` over those of all clients: before the first round each client sends the count, the mean and
    the squared deviations of each number of an example, and receives the pooled mean and deviation, which are exact
    (``moments.py``); a run counts these bytes, with the purpose ``prepare``. With ``scale="client"`` each takes its
    own, and sends nothing.

    The standardised inputs are in memory, also where those of the data set are on disk.
    """

    data: Any = field(default=Synthetic(), metadata={"component": ("data",)})
    """The data set: inputs that are numbers, and no tokens."""
    scale: str = "pooled"
    """"pooled" or "client"."""

    source: ClassVar[DataSource] = DataSource(
        name="standardised",
        clients="those of its data set",
        tasks=(),
        examples=None,
        address="",
        licence="that of the data set",
        citation="",
    )

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ValueError(f"Standardised: scale is one of {', '.join(SCALES)}, got {self.scale!r}.")

    def load(self, seed: int, agreed: bytes | None = None) -> Federation:
        """The federation, by the statistics of its clients, or by those that were agreed elsewhere."""
        federation = self.data.load(seed)
        if federation.tokens:
            raise ValueError(
                f"Standardised takes numbers, but the inputs of {shown(self.data)} are tokens, whose mean means "
                "nothing; give the data set alone."
            )
        if federation.forms:
            raise ValueError(
                f"Standardised takes examples of one shape, and those of {shown(self.data)} have several inputs with "
                "names; standardise each before the federation is made."
            )
        if federation.prepared is not None:
            raise ValueError(
                f"Standardised: the inputs of {shown(self.data)} are standardised already; give the data set alone, or "
                "load it with scale='none'."
            )
        clients = federation.clients
        train = {int(client): clients[client].train.x for client in federation.ids().tolist()}
        if self.scale == "client":
            own = {client: moments_of(x) for client, x in train.items()}
            return replace(federation, clients={client: _by(clients[client], own[client]) for client in train})
        total, prepared = pooled_scale(train, partial(self.load, seed), agreed)
        return replace(federation, clients=_all_by(clients, total), prepared=prepared)


def _all_by(clients: Mapping[ClientId, ClientData], total: Scale) -> Mapping[ClientId, ClientData]:
    if isinstance(clients, Joined):
        return clients.with_inputs(lambda arrays: [_floats(x, total) for x in arrays])
    return {client: _by(data, total) for client, data in clients.items()}


def _by(data: ClientData, by: Scale | FeatureMoments) -> ClientData:
    return ClientData(*(split._replace(x=_floats(split.x, by)) for split in data))


def _floats(x: NDArray[Any], by: Scale | FeatureMoments) -> NDArray[np.float32]:
    return scaled(x, by).astype(np.float32)

"""Placement of the training examples: on the clients, or once they have sent them, at the server."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.types import ClientId
from fedmtl.protocol.exchange import Exchange
from fedmtl.server.policy import RoundPolicy
from fedmtl.server.replies import RoundReplies
from fedmtl.server.round_result import TrainingMetric


class Asked(NamedTuple):
    """The clients of an exchange, without those that only measure."""

    train: NDArray[np.int64]
    """Train on the broadcast."""
    send: NDArray[np.int64]
    """Send their training examples."""


class Update(NamedTuple):
    """The model that an exchange has made."""

    state: Any
    trained: NDArray[np.int64]
    """The clients whose uploads it holds, ascending."""
    training: Mapping[str, TrainingMetric] = {}
    """Name -> a metric of the clients' training."""


class Placement(Protocol):
    """Decides where training runs: the server asks it at both ends of each exchange."""

    @property
    def raw_data(self) -> dict[ClientId, bytes]:
        """Packets of examples that clients have sent; a checkpoint keeps them."""
        ...

    def ask(self, exchange: Exchange, present: NDArray[np.int64], policy: RoundPolicy) -> Asked:
        """Return the clients that train, and those that send their examples.

        Args:
            exchange: that is opened.
            present: clients that some node hosts, ascending.
            policy: draws cohorts.
        """
        ...

    def update(self, state: Any, received: RoundReplies, trusted: bool, needs_all: bool, altered: bool) -> Update:
        """Return the model after an exchange.

        Args:
            state: the server's.
            received: the replies.
            trusted: the nodes are workers of this machine, whose numbers need no bounds.
            needs_all: no client's examples may be missing.
            altered: a node's reply was altered, so that its clients can be left out.

        Raises:
            Diverged: the model is not finite.
            RuntimeError: examples that the run cannot do without are missing.
        """
        ...

"""Pooled: all raw data in one place, one trunk, a head for each task; what federated learning is compared with.

    Multitask learning with a shared hidden layer: Caruana. Multitask Learning. Machine Learning 28, 1997.

    w <- w − η ∇ f(w)        epochs passes over the union of all clients' data        (1)

A batch mixes examples of all tasks; each task's loss is the mean over those examples that carry its label,
and f is the mean over the tasks. It is FedAvg with one client that owns everything, which a test checks bit
for bit.

Down: w, to those who are to predict with it.  Up: the raw data, once.  Private: nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fedmtl.algorithms.common.checks import check_descent
from fedmtl.algorithms.fedavg import FedAvg
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.context import Context
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.optimizers import SGD, Optimizer


@dataclass(frozen=True)
class Pooled:
    """Central training; ``central`` makes the server gather the raw data and run the local update itself."""

    traits = Traits(
        sends=Sends(down="model", up="raw data", private="nothing", up_note="once"),
        technique="distribution learning",
        centralized=True,
        uniform_broadcast=True,
        independent_heads=True,
    )

    lr: float = 0.05
    """η."""
    epochs: int = 5
    """Passes over the union in a round."""
    optimizer: Optimizer = SGD()
    """Optimizer."""

    def __post_init__(self) -> None:
        check_descent(self, self.lr, self.epochs, self.optimizer)

    @property
    def _whole(self) -> FedAvg:
        return FedAvg(self.lr, self.epochs, self.optimizer)

    def init_server(self, params: Params, ctx: Context) -> Params:
        return self._whole.init_server(params, ctx)

    def init_client(self, params: Params, num_examples: int) -> None:
        return None

    def broadcast(self, server: Params, client: ClientId, ctx: Context) -> Payload:
        return self._whole.broadcast(server, client, ctx)

    def local_update(
        self, loss: LossFn, down: Payload, private: None, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[None]:
        return self._whole.local_update(loss, down, private, batches, ctx)  # (1)

    def aggregate(self, server: Params, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Params:
        return self._whole.aggregate(server, uploads, ctx)

    def personal_params(self, down: Payload, private: None) -> Params:
        return self._whole.personal_params(down, private)

"""Local: every client learns alone; the floor that every other algorithm must beat.

    Single-task learning in: Caruana. Multitask Learning. Machine Learning 28, 1997.

    w_k <- w_k − η ∇ f_k(w_k)        epochs passes over the client's own data        (1)

Down: nothing.  Up: nothing.  Private: w_k = (θ_k, φ_k).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fedmtl.algorithms.common.checks import check_descent
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.context import Context
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.optimizers import SGD, Optimizer


@dataclass(frozen=True)
class Local:
    """No communication."""

    traits = Traits(
        sends=Sends(down="nothing", up="nothing", private="model"),
        technique="learning alone",
        uniform_broadcast=True,
        independent_heads=True,
    )

    lr: float = 0.05
    """η."""
    epochs: int = 5
    optimizer: Optimizer = SGD()
    """Client optimizer."""

    def __post_init__(self) -> None:
        check_descent(self, self.lr, self.epochs, self.optimizer)

    def init_server(self, params: Params, ctx: Context) -> None:
        return None

    def init_client(self, params: Params, num_examples: int) -> Params:
        return dict(params)

    def broadcast(self, server: None, client: ClientId, ctx: Context) -> Payload:
        return {}

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        w = sgd(loss, private, batches, self.lr, self.epochs, self.optimizer, ctx=ctx)  # (1)
        return LocalResult(w, Upload({}, num_examples(batches)))

    def aggregate(self, server: None, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> None:
        if not list(uploads):
            raise ValueError("Local was given no upload to aggregate; a round needs at least one client.")

    def personal_params(self, down: Payload, private: Params) -> Params:
        return private

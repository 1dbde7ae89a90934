"""FedAvg: one model for all clients, heads included.

    McMahan, Moore, Ramage, Hampson, Agüera y Arcas. AISTATS 2017, Algorithm 1. arXiv:1602.05629

With w = (θ, φ) the whole model and f_k the mean loss of client k on its n_k examples:

    w_k <- w_k − η ∇ f_k(w_k)        epochs passes from w, over mini-batches        (1)
    w   <- Σ n_k w_k / Σ n_k         on the server, for each parameter over the     (2)
                                     clients of the cohort that have it

The second half of (2) is what makes it a multi-task algorithm: the head of a task is averaged over the
clients that own the task, and sent to them alone. A head that no client of the cohort owns stays as it was.

Down: w (the trunk and the heads of the client's tasks).  Up: w_k.  Private: nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fedmtl.algorithms.common.checks import check_descent
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.context import Context
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.core.uploads import mean_upload
from fedmtl.optimizers import SGD, Optimizer


@dataclass(frozen=True)
class FedAvg:
    """The whole model is shared, heads included."""

    traits = Traits(
        sends=Sends(down="model", up="model", private="nothing"),
        technique="federated learning",
        mean_aggregated=True,
        uniform_broadcast=True,
        independent_heads=True,
    )

    lr: float = 0.05
    """η."""
    epochs: int = 5
    """E."""
    optimizer: Optimizer = SGD()
    """Client optimizer."""

    def __post_init__(self) -> None:
        check_descent(self, self.lr, self.epochs, self.optimizer)

    def init_server(self, params: Params, ctx: Context) -> Params:
        return dict(params)

    def init_client(self, params: Params, num_examples: int) -> None:
        return None

    def broadcast(self, server: Params, client: ClientId, ctx: Context) -> Payload:
        return {"model": server}

    def local_update(
        self, loss: LossFn, down: Payload, private: None, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[None]:
        w = sgd(loss, down["model"], batches, self.lr, self.epochs, self.optimizer, ctx=ctx)  # (1)
        return LocalResult(None, Upload({"model": w}, num_examples(batches)))

    def aggregate(self, server: Params, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Params:
        mean = mean_upload(uploads, "model")  # (2)
        return {**server, **mean}

    def personal_params(self, down: Payload, private: None) -> Params:
        return down["model"]

"""LG-FedAvg: a trunk of each client's own, shared heads; FedPer turned round.

    Liang, Liu, Ziyin, Allen, Auerbach, Brent, Salakhutdinov, Morency. 2020, Algorithm 1. arXiv:2001.01523

    (θ_k, φ_k) <- (θ_k, φ_k) − η ∇ f_k(θ_k, φ_k)     epochs passes from (θ_k, φ)                          (1)
    φ          <- Σ n_k φ_k / Σ n_k                  on the server, each task's head over those clients   (2)
                                                     of the cohort that own the task

Clients learn from each other through the heads of tasks that they have in common, and through nothing else.

Down: φ (the heads of the client's tasks).  Up: φ_k.  Private: θ_k.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fedmtl.algorithms.common.checks import check_descent
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.context import Context
from fedmtl.core.trees import select
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.core.uploads import mean_upload
from fedmtl.optimizers import SGD, Optimizer


@dataclass(frozen=True)
class LGFedAvg:
    """Local representations, global predictors."""

    traits = Traits(
        sends=Sends(down="heads", up="heads", private="trunk"),
        technique="weight sharing",
        mean_aggregated=True,
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

    def init_server(self, params: Params, ctx: Context) -> Params:
        return select(params, "head.")

    def init_client(self, params: Params, num_examples: int) -> Params:
        return select(params, "trunk.")

    def broadcast(self, server: Params, client: ClientId, ctx: Context) -> Payload:
        return {"heads": server}

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        w = sgd(loss, {**private, **down["heads"]}, batches, self.lr, self.epochs, self.optimizer, ctx=ctx)  # (1)
        return LocalResult(select(w, "trunk."), Upload({"heads": select(w, "head.")}, num_examples(batches)))

    def aggregate(self, server: Params, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Params:
        return {**server, **mean_upload(uploads, "heads")}  # (2)

    def personal_params(self, down: Payload, private: Params) -> Params:
        return {**private, **down["heads"]}

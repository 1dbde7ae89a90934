"""FedRep: learn the head first, then the trunk; share only the trunk.

    Collins, Hassani, Mokhtari, Shakkottai. ICML 2021, Algorithm 1. arXiv:2102.07078

    φ_k <- φ_k − η ∇_φ f_k(θ, φ_k)        head_epochs passes, the received trunk held        (1)
    θ_k <- θ_k − η ∇_θ f_k(θ_k, φ_k)      trunk_epochs passes from θ, the new head held      (2)
    θ   <- Σ n_k θ_k / Σ n_k              on the server                                      (3)

Down: θ.  Up: θ_k.  Private: φ_k.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from fedmtl.algorithms.common.checks import check_epochs, check_lr, check_optimizer
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.context import Context
from fedmtl.core.trees import select
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.core.uploads import mean_upload
from fedmtl.optimizers import SGD, Optimizer


@dataclass(frozen=True)
class FedRep:
    """Heads are fitted to the trunk before the trunk moves."""

    traits = Traits(
        sends=Sends(down="trunk", up="trunk", private="heads"),
        technique="weight sharing",
        mean_aggregated=True,
        uniform_broadcast=True,
        independent_heads=True,
    )

    lr: float = 0.05
    """η, of both phases."""
    head_epochs: int = 5
    trunk_epochs: int = 1
    optimizer: Optimizer = SGD()
    """Client optimizer."""

    def __post_init__(self) -> None:
        check_lr(self, lr=self.lr)
        check_epochs(self, head_epochs=self.head_epochs, trunk_epochs=self.trunk_epochs)
        check_optimizer(self, self.optimizer)

    def init_server(self, params: Params, ctx: Context) -> Params:
        return select(params, "trunk.")

    def init_client(self, params: Params, num_examples: int) -> Params:
        return select(params, "head.")

    def broadcast(self, server: Params, client: ClientId, ctx: Context) -> Payload:
        return {"trunk": server}

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        trunk = down["trunk"]

        def head_loss(head: Params, batch: Batch) -> Tensor:
            return loss({**trunk, **head}, batch)

        head = sgd(head_loss, private, batches, self.lr, self.head_epochs, self.optimizer, ctx=ctx.fold("head"))  # (1)

        def trunk_loss(theta: Params, batch: Batch) -> Tensor:
            return loss({**theta, **head}, batch)

        theta = sgd(trunk_loss, trunk, batches, self.lr, self.trunk_epochs, self.optimizer, ctx=ctx)  # (2)
        return LocalResult(head, Upload({"trunk": theta}, num_examples(batches)))

    def aggregate(self, server: Params, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Params:
        return {**server, **mean_upload(uploads, "trunk")}  # (3)

    def personal_params(self, down: Payload, private: Params) -> Params:
        return {**down["trunk"], **private}

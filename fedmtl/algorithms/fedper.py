"""FedPer: a shared trunk, private heads; the default.

    Arivazhagan, Aggarwal, Singh, Choudhary. 2019, Algorithms 1 and 2. arXiv:1912.00818

    (θ_k, φ_k) <- (θ_k, φ_k) − η ∇ f_k(θ_k, φ_k)     epochs passes from (θ, φ_k)     (1)
    θ          <- Σ n_k θ_k / Σ n_k                  on the server                   (2)

Down: θ.  Up: θ_k.  Private: φ_k.
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
class FedPer:
    """Trunk and head learn together; only the trunk travels. The paper uses lr 0.01, 5 epochs and batches of 10."""

    traits = Traits(
        sends=Sends(down="trunk", up="trunk", private="heads"),
        technique="weight sharing",
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
        return select(params, "trunk.")

    def init_client(self, params: Params, num_examples: int) -> Params:
        return select(params, "head.")

    def broadcast(self, server: Params, client: ClientId, ctx: Context) -> Payload:
        return {"trunk": server}

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        w = sgd(loss, {**down["trunk"], **private}, batches, self.lr, self.epochs, self.optimizer, ctx=ctx)  # (1)
        return LocalResult(select(w, "head."), Upload({"trunk": select(w, "trunk.")}, num_examples(batches)))

    def aggregate(self, server: Params, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Params:
        return {**server, **mean_upload(uploads, "trunk")}  # (2)

    def personal_params(self, down: Payload, private: Params) -> Params:
        return {**down["trunk"], **private}

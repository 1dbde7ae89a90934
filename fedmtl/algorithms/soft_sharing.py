"""SoftSharing: a trunk of each client's own, pulled to the mean of all by an L2 penalty.

    Duong, Cohn, Bird, Cook. Low Resource Dependency Parsing: Cross-lingual Parameter Sharing in a Neural Network
    Parser. ACL 2015.

Between two trunks there; here, between each client's and the mean of K, the penalty of the objective

    J = Σ p_k f_k(θ_k, φ_k) + λ/2 Σ p_k ‖θ_k − θ̄‖²,   θ̄ = Σ p_k θ_k                                      (1)

The proximal step of its second term for a step of τ, pull = τ λ, has a closed form, and costs no gradient:

    θ_k        <- (θ_k + pull θ̄) / (1 + pull)        what the client begins with and predicts with        (2)
    (θ_k, φ_k) <- (θ_k, φ_k) − η ∇ f_k(θ_k, φ_k)     epochs passes                                        (3)
    θ̄          <- Σ n_k θ_k / Σ n_k                  on the server                                        (4)

With one full-batch step a round and pull = η λ, (2) to (4) are proximal gradient descent on (1). Pull 0 is Local;
pull → ∞ is FedPer; both bit for bit.

Down: θ̄.  Up: θ_k.  Private: θ_k, φ_k.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from fedmtl.algorithms.common.checks import check_descent, check_strength
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.context import Context
from fedmtl.core.trees import select
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.core.uploads import mean_upload
from fedmtl.optimizers import SGD, Optimizer


@dataclass(frozen=True)
class SoftSharing:
    """Between Local and FedPer."""

    traits = Traits(
        sends=Sends(
            down="trunk",
            up="trunk",
            private="model",
            private_sent=True,
            down_note="mean of trunks",
            private_note="it predicts with its own trunk",
        ),
        technique="weight sharing, soft",
        mean_aggregated=True,
        uniform_broadcast=True,
        independent_heads=True,
    )

    lr: float = 0.05
    """η."""
    epochs: int = 5
    pull: float = 1.0
    """Weight of the mean against a client's own trunk: 1 is halfway."""
    optimizer: Optimizer = SGD()
    """Client optimizer."""

    def __post_init__(self) -> None:
        check_descent(self, self.lr, self.epochs, self.optimizer)
        check_strength(self, pull=self.pull)

    def init_server(self, params: Params, ctx: Context) -> Params:
        return select(params, "trunk.")

    def init_client(self, params: Params, num_examples: int) -> Params:
        return dict(params)

    def broadcast(self, server: Params, client: ClientId, ctx: Context) -> Payload:
        return {"trunk": server}

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        w = sgd(
            loss, self.personal_params(down, private), batches, self.lr, self.epochs, self.optimizer, ctx=ctx
        )  # (2), (3)
        return LocalResult(w, Upload({"trunk": select(w, "trunk.")}, num_examples(batches)))

    def aggregate(self, server: Params, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Params:
        return {**server, **mean_upload(uploads, "trunk")}  # (4)

    def personal_params(self, down: Payload, private: Params) -> Params:
        share = self.pull / (1 + self.pull)  # 1 from 1e16 on
        # ``lerp`` gives the one or the other bit for bit at 0 and 1, and where both are equal.
        trunk = {name: torch.lerp(private[name], mean, share) for name, mean in down["trunk"].items()}  # (2)
        return {**private, **trunk}

"""Ditto: FedAvg's model for all, and a personal model of each client that is held near it.

    Li, Hu, Beirami, Smith. ICML 2021, Algorithm 1. arXiv:2012.04221

    w_k    <- w_k − η ∇f_k(w_k)                      epochs passes from the received w           (1)
    h_k(v)  = f_k(v) + λ/2 ‖v − w‖²                  w as received                               (2)
    v_k    <- v_k − η ∇h_k(v_k)                      personal_epochs passes from its own v_k     (3)
    w      <- Σ n_k w_k / Σ n_k                      on the server                               (4)

v_k never leaves, so w is FedAvg's whatever λ is.

Down: w.  Up: w_k.  Private: v_k.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fedmtl.algorithms.common.checks import check_epochs, check_lr, check_optimizer, check_strength
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.common.proximal import pulled
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.context import Context
from fedmtl.core.trees import sq_distance
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.core.uploads import mean_upload
from fedmtl.optimizers import SGD, Optimizer


@dataclass(frozen=True)
class Ditto:
    """λ = 0 is Local, bit for bit, in what clients predict with; as λ grows, they predict with FedAvg's model."""

    traits = Traits(
        sends=Sends(down="model", up="model", private="model"),
        technique="personal models",
        mean_aggregated=True,
        uniform_broadcast=True,
        independent_heads=True,
    )

    lr: float = 0.05
    """η."""
    epochs: int = 5
    """Passes over the data for the shared model."""
    personal_epochs: int = 5
    """Passes over the data for the personal model."""
    lam: float = 1.0
    """λ."""
    optimizer: Optimizer = SGD()
    """Client optimizer."""

    def __post_init__(self) -> None:
        check_lr(self, lr=self.lr)
        check_epochs(self, epochs=self.epochs, personal_epochs=self.personal_epochs)
        check_optimizer(self, self.optimizer)
        check_strength(self, lam=self.lam)

    def init_server(self, params: Params, ctx: Context) -> Params:
        return dict(params)

    def init_client(self, params: Params, num_examples: int) -> Params:
        return dict(params)

    def broadcast(self, server: Params, client: ClientId, ctx: Context) -> Payload:
        return {"model": server}

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        received = down["model"]
        h = pulled(loss, self.lam, to=received)  # (2)
        w = sgd(loss, received, batches, self.lr, self.epochs, self.optimizer, counts=False, ctx=ctx)  # (1)
        v = sgd(h, private, batches, self.lr, self.personal_epochs, self.optimizer, ctx=ctx.fold("v"))  # (3)
        distance = sq_distance(v, received).sqrt()
        return LocalResult(v, Upload({"model": w}, num_examples(batches)), {"distance": distance})

    def aggregate(self, server: Params, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Params:
        return {**server, **mean_upload(uploads, "model")}  # (4)

    def personal_params(self, down: Payload, private: Params) -> Params:
        return private

"""MR-MTL: mean-regularised multi-task learning; each client keeps a model of its own, pulled to the mean of all.

    Liu, Hu, Wu, Smith. NeurIPS 2022. arXiv:2206.07902

    h_k(w) = f_k(w) + λ/2 ‖w − w̄‖²                  what client k descends on             (1)
    w_k   <- w_k − η ∇h_k(w_k)                       epochs passes from its own w_k        (2)
    w̄     <- 1/K Σ w_k                               on the server, a plain mean           (3)

Full-batch rounds of all K clients end at the minimum of Σ f_k(w_k) + λ/2 Σ ‖w_k − w̄‖², whose gradient in w_k is that
of (1): the deviations from a plain mean sum to 0. Where a cohort is sampled, w̄ is the mean of the cohort.

Down: w̄.  Up: w_k.  Private: w_k, the model that was sent.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fedmtl.algorithms.common.checks import check_descent, check_strength
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.common.proximal import pulled
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.context import Context
from fedmtl.core.trees import weighted_mean
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.optimizers import SGD, Optimizer


@dataclass(frozen=True)
class MRMTL:
    """λ = 0 is Local, bit for bit; as λ grows, the clients' models become one. Useful are 0.1 to 3."""

    traits = Traits(
        sends=Sends(down="model", up="model", private="model", private_sent=True, down_note="mean of models"),
        technique="personal models",
        uniform_broadcast=True,
        independent_heads=True,
    )

    lr: float = 0.05
    """η."""
    epochs: int = 5
    lam: float = 1.0
    """λ."""
    optimizer: Optimizer = SGD()
    """Client optimizer."""

    def __post_init__(self) -> None:
        check_descent(self, self.lr, self.epochs, self.optimizer)
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
        h = pulled(loss, self.lam, to=down["model"])  # (1)
        w = sgd(h, private, batches, self.lr, self.epochs, self.optimizer, ctx=ctx)  # (2)
        return LocalResult(w, Upload({"model": w}, num_examples(batches)))

    def aggregate(self, server: Params, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Params:
        return {**server, **weighted_mean((upload.payload["model"], 1.0) for _, upload in uploads)}  # (3)

    def personal_params(self, down: Payload, private: Params) -> Params:
        return private

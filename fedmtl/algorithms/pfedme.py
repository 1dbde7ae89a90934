"""pFedMe: the shared model descends on the Moreau envelopes of the clients' objectives.

    Dinh, Tran, Nguyen. NeurIPS 2020, Algorithm 1. arXiv:2006.08848

    F_k(w)    = min_θ h_k(θ; w),   h_k(θ; w) = f_k(θ) + λ/2 ‖θ − w‖²                             (1)
    θ_k      <- θ_k − η_θ ∇h_k(θ_k; w_k)             K steps on one batch, from θ_k = w_k         (2)
    w_k      <- w_k − η λ (w_k − θ_k)                a step along −∇F_k, as θ_k is its minimum    (3)
    w        <- (1 − β) w + β 1/|S| Σ w_k            on the server, a plain mean of the cohort    (4)

(2) and (3) are done for each batch, epochs passes from the received w. The paper leaves the start of (2) open. Of
buffers, w_k takes θ_k's, and w the mean.

Down: w.  Up: w_k.  Private: θ_k of the last batch, to predict with; it is what is sent where that batch has no slope.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from fedmtl.algorithms.common.checks import check_count, check_epochs, check_lr, check_strength
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.common.proximal import pulled
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.buffers import is_buffer, towards
from fedmtl.core.context import Context
from fedmtl.core.trees import weighted_mean
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload


@dataclass(frozen=True)
class PFedMe:
    """The paper's λ of 15 and K of 5. (2) converges where η_θ (λ + the curvature of f_k) < 2.

    It has no field ``optimizer``: (3) needs the minimum in (2), which a decay would move, and clips and schedules miss.
    """

    traits = Traits(
        sends=Sends(down="model", up="model", private="model", private_sent=True),
        technique="personal models",
        uniform_broadcast=True,
        independent_heads=True,
        passes_multiplier="steps",
    )

    lr: float = 0.05
    """η_θ, of the personal model."""
    shared_lr: float = 0.01
    """η, of the shared model."""
    epochs: int = 5
    steps: int = 5
    """K."""
    lam: float = 15.0
    """λ."""
    beta: float = 1.0
    """β; 1 replaces the server's model by the mean."""

    def __post_init__(self) -> None:
        check_lr(self, lr=self.lr, shared_lr=self.shared_lr)
        check_epochs(self, epochs=self.epochs)
        check_count(self, steps=self.steps)
        check_strength(self, lam=self.lam, beta=self.beta)

    def init_server(self, params: Params, ctx: Context) -> Params:
        return dict(params)

    def init_client(self, params: Params, num_examples: int) -> Params:
        return dict(params)

    def broadcast(self, server: Params, client: ClientId, ctx: Context) -> Payload:
        return {"model": server}

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        w, personal = down["model"], private
        for epoch in range(self.epochs):
            for number, batch in enumerate(batches):
                h = pulled(loss, self.lam, to=w)  # (1)
                theta = sgd(h, w, [batch], self.lr, self.steps, ctx=ctx.fold(epoch).fold(number))  # (2)
                w = towards(w, theta, self.shared_lr * self.lam)  # (3)
                real = batch["mask"].sum() > 0  # a padded batch has no θ_k; it leaves w_k as it is, θ_k being w_k
                personal = {name: torch.where(real, theta[name], value) for name, value in personal.items()}
        return LocalResult(personal, Upload({"model": w}, num_examples(batches)))

    def aggregate(self, server: Params, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Params:
        mean = weighted_mean((upload.payload["model"], 1.0) for _, upload in uploads)
        share = {name: 1.0 if is_buffer(name) else self.beta for name in mean}
        return {**server, **{n: (1 - share[n]) * server[n] + share[n] * mean[n] for n in mean}}  # (4)

    def personal_params(self, down: Payload, private: Params) -> Params:
        return private

"""FedEM: each client's data is a mixture, its own, of M distributions that all clients share; a model for each.

    Marfoq, Neglia, Bellet, Kameni, Vidal. NeurIPS 2021, Algorithm 1. arXiv:2108.10252

    q_im   = π_km exp(−ℓ(w_m, i)) / Σ_m' π_km' exp(−ℓ(w_m', i))      each example i of client k                (1)
    π_km  <- 1/n_k Σ_i q_im                                                                                    (2)
    w_km  <- w_km − η ∇ 1/n_k Σ_i q_im ℓ(w_km, i)                    epochs passes from w_m, batch by batch    (3)
    w_m   <- Σ_k n_k w_km / Σ_k n_k                                  on the server                             (4)
    p(y|x) = Σ_m π_km p(y | x; w_m)                                  what client k predicts                    (5)

ℓ(w, i) is the loss of a batch that holds example i alone: the mean over the client's tasks, 0 for one that it has no
label of. So M = 1 is FedAvg where all labels are there. At first w_0 is the initial model and the others differ from it
by noise, else they would stay equal: see ``perturbed_copies``.

(5) is the ``mixed`` of each kind of task; of a Regression it is the mean of M numbers. For a device that holds one
model, ``personal_params`` is the one with the largest π_km, of equal ones the first.

A client that comes after training, the paper's "clients unseen at training", repeats (1) and (2) from π_km = 1/M with
the w_m held: Π_i Σ_m π_m exp(−ℓ(w_m, i)) is log-concave in π, and EM climbs to its maximum. It predicts with (5).

Down: all w_m.  Up: all w_km.  Private: π_k.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fedmtl.algorithms.common.checks import check_count, check_descent, check_strength
from fedmtl.algorithms.common.example_losses import losses
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.common.perturbed_copies import perturbed_copies, pick
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.context import Context
from fedmtl.core.trees import tree_stack, tree_unstack
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.core.uploads import mean_upload
from fedmtl.optimizers import SGD, Optimizer


class Mixture(NamedTuple):
    """A client's private state."""

    pi: Tensor
    """π_k [M], sums to 1."""


@dataclass(frozen=True)
class FedEM:
    """Costs M times FedAvg's bytes, and more than M times its arithmetic: losses are taken example by example."""

    traits = Traits(
        sends=Sends(
            down="model",
            up="model",
            private="nothing",
            down_note="of each component",
            up_note="of each component",
            private_note="but weights of the mixture",
        ),
        technique="similarity measure",
        mean_aggregated=True,
        uniform_broadcast=True,
        passes_multiplier="components",
        mixture=True,
        several_models=True,
    )

    lr: float = 0.05
    """η."""
    epochs: int = 1
    components: int = 3
    """M."""
    spread: float = 0.1
    """Distance between the models at first, relative to their size. The noise follows the experiment's seed."""
    optimizer: Optimizer = SGD()
    """Client optimizer; it takes the steps of all M models at once."""

    def __post_init__(self) -> None:
        check_descent(self, self.lr, self.epochs, self.optimizer)
        check_count(self, components=self.components)
        check_strength(self, spread=self.spread)

    def init_server(self, params: Params, ctx: Context) -> Params:
        return tree_stack(perturbed_copies(params, self.components, self.spread, ctx))

    def init_client(self, params: Params, num_examples: int) -> Mixture:
        return Mixture(torch.full((self.components,), 1 / self.components))

    def broadcast(self, server: Params, client: ClientId, ctx: Context) -> Payload:
        return {"models": server}

    def local_update(
        self, loss: LossFn, down: Payload, private: Mixture, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Mixture]:
        models, prior, n = down["models"], private.pi.log(), num_examples(batches)
        shared, pi = [], torch.zeros_like(private.pi)
        for batch in batches:
            q = torch.softmax(prior - losses(loss, models, batch), dim=1) * batch["mask"][:, None]  # (1)
            pi = pi + q.sum(0) / n  # (2)
            shared.append({**batch, "q": q})

        def objective(w: Params, batch: Batch) -> Tensor:
            return (batch["q"] * losses(loss, w, batch)).sum() / batch["mask"].sum().clamp(min=1)

        w = sgd(objective, models, shared, self.lr, self.epochs, self.optimizer, ctx=ctx)  # (3)
        entropy = torch.special.entr(pi).sum()  # −Σ π log π: 0 where one model explains all, log M where all do alike
        return LocalResult(Mixture(pi.to(private.pi)), Upload({"models": w}, n), {"mixture_entropy": entropy})

    def aggregate(self, server: Params, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Params:
        return {**server, **mean_upload(uploads, "models")}  # (4)

    def mixture(self, down: Payload, private: Mixture) -> tuple[list[Params], Tensor]:
        return tree_unstack(down["models"]), private.pi  # (5)

    def sent_models(self, down: Payload, private: Mixture) -> list[Params]:
        return tree_unstack(down["models"])

    def newcomer_weights(
        self, loss: LossFn, down: Payload, private: Mixture, batches: Sequence[Batch], steps: int
    ) -> Tensor:
        mask, n, pi = torch.cat([batch["mask"] for batch in batches])[:, None], num_examples(batches), private.pi
        each = torch.cat([losses(loss, down["models"], batch) for batch in batches])
        for _ in range(steps):
            pi = (torch.softmax(pi.log() - each, dim=1) * mask).sum(0) / n  # (1), (2)
        return pi

    def personal_params(self, down: Payload, private: Mixture) -> Params:
        return pick(down["models"], private.pi.argmax())

"""FedBABU: the trunk learns under heads that stay as they were drawn; each client fits its head for itself.

    Oh, Kim, Yun. ICLR 2022, Algorithm 1. arXiv:2106.06042

    θ_k <- θ_k − η ∇_θ f_k(θ_k, φ⁰)      epochs passes from θ, the first head held                        (1)
    θ   <- Σ n_k θ_k / Σ n_k             on the server                                                    (2)
    φ_k <- φ_k − η ∇_φ f_k(θ, φ_k)       finetune_epochs passes from φ⁰, the received trunk held          (3)

A client predicts with θ and its φ_k of (3), which never enters (1). The paper fine-tunes once, after the last round,
and the trunk too in its main results; here the head alone, each round anew, so that each round can be measured.

Down: θ.  Up: θ_k.  Private: φ⁰, φ_k.
"""

from collections.abc import Iterable, Mapping, Sequence
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

Heads = Mapping[str, Params]
"""``first``: φ⁰; ``tuned``: φ_k."""


@dataclass(frozen=True)
class FedBABU:
    """Body Aggregation and Body Update."""

    traits = Traits(
        sends=Sends(
            down="trunk", up="trunk", private="heads", private_note="the first ones, and those tuned to predict"
        ),
        technique="transfer learning",
        mean_aggregated=True,
        uniform_broadcast=True,
        independent_heads=True,
    )

    lr: float = 0.05
    """η, of both."""
    epochs: int = 5
    finetune_epochs: int = 5
    optimizer: Optimizer = SGD()
    """Client optimizer."""

    def __post_init__(self) -> None:
        check_lr(self, lr=self.lr)
        check_epochs(self, epochs=self.epochs, finetune_epochs=self.finetune_epochs)
        check_optimizer(self, self.optimizer)

    def init_server(self, params: Params, ctx: Context) -> Params:
        return select(params, "trunk.")

    def init_client(self, params: Params, num_examples: int) -> Heads:
        return {"first": select(params, "head."), "tuned": select(params, "head.")}

    def broadcast(self, server: Params, client: ClientId, ctx: Context) -> Payload:
        return {"trunk": server}

    def local_update(
        self, loss: LossFn, down: Payload, private: Heads, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Heads]:
        trunk, first = down["trunk"], private["first"]

        def trunk_loss(theta: Params, batch: Batch) -> Tensor:
            return loss({**theta, **first}, batch)

        def head_loss(head: Params, batch: Batch) -> Tensor:
            return loss({**trunk, **head}, batch)

        theta = sgd(trunk_loss, trunk, batches, self.lr, self.epochs, self.optimizer, counts=False, ctx=ctx)  # (1)
        tuned = sgd(
            head_loss, first, batches, self.lr, self.finetune_epochs, self.optimizer, ctx=ctx.fold("head")
        )  # (3)
        return LocalResult({"first": first, "tuned": tuned}, Upload({"trunk": theta}, num_examples(batches)))

    def aggregate(self, server: Params, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Params:
        return {**server, **mean_upload(uploads, "trunk")}  # (2)

    def personal_params(self, down: Payload, private: Heads) -> Params:
        return {**down["trunk"], **private["tuned"]}

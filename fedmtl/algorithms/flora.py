"""FLoRA: clients' adapters are stacked, which sums their products, and merged into the weights; then new ones begin.

    Wang, Shen, He, Sun, Wang, Lyu, Li. NeurIPS 2024. arXiv:2409.05976

Of each adapted weight W + s (M + B A), with M what has been merged, 0 at first, and p_k = n_k / Σ n:

    A_k, B_k   <- a new draw from ±1/√in, 0                                 in each round, of each client       (1)
    (A_k, B_k, φ_k) <- (A_k, B_k, φ_k) − η ∇ f_k(M, A_k, B_k, φ_k)          epochs passes, M held               (2)
    M          <- M + [B_1 … B_K] [p_1 A_1; …; p_K A_K]                     on the server                       (3)

The stack of K clients is an adapter of rank K r, and its product Σ p_k B_k A_k: the aggregate is exact. In the paper
the stack is sent and each client merges it. Here the server does, and sends their sum M, so that a client that missed
rounds needs none of them: out · in numbers of a weight, which are fewer than the K r (in + out) of a stack as soon as
K r > in · out / (in + out). A weight of 64 × 64 with r = 4 has 4,096 numbers down, and 512 up as with FedPer, whose
broadcast has 512, too; the paper's stack of 14 clients has 7,168.

Down: M.  Up: A_k, B_k.  Private: φ_k, and the first A, which has the shape of the new ones.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from fedmtl.algorithms.common.checks import check_descent
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.common.low_rank import mean_products, weights_with_adapters
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.adapters import MERGED, A, B, without
from fedmtl.core.context import Context
from fedmtl.core.trees import select
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.optimizers import SGD, Optimizer


@dataclass(frozen=True)
class FLoRA:
    """For models with adapters, ``LoRA(…)``: the sum of all rounds' mean products is merged into the weights."""

    traits = Traits(
        sends=Sends(down="merged adapters", up="trunk", private="heads and A"),
        technique="low-rank adapters",
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
        weights = weights_with_adapters(self, params)
        if rest := without(select(params, "trunk."), weights, A, B):
            raise ValueError(f"FLoRA merges adapters, and has no place for {min(rest)}; freeze it, as LoRA(…) does.")
        return {w + MERGED: params[w + B].new_zeros(len(params[w + B]), params[w + A].shape[1]) for w in weights}

    def init_client(self, params: Params, num_examples: int) -> Params:
        first = {weight + A: params[weight + A] for weight in weights_with_adapters(self, params)}
        return {**select(params, "head."), **first}

    def broadcast(self, server: Params, client: ClientId, ctx: Context) -> Payload:
        return {"merged": server}

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        merged, first = down["merged"], select(private, "trunk.")
        new: dict[str, Tensor] = {}
        for name, like in first.items():  # (1)
            draw = 2 * ctx.fold(name).uniform(like.shape).to(like) - 1
            new[name] = draw / like.shape[1] ** 0.5
        new |= _no_update(merged, first)

        def objective(w: Params, batch: Batch) -> Tensor:
            return loss({**w, **merged}, batch)

        w = sgd(objective, {**new, **select(private, "head.")}, batches, self.lr, self.epochs, self.optimizer, ctx=ctx)
        sent = select(w, "trunk.")  # (2)
        return LocalResult({**select(w, "head."), **first}, Upload({"adapters": sent}, num_examples(batches)))

    def aggregate(self, server: Params, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Params:
        products = mean_products(uploads, "adapters", [name.removesuffix(MERGED) for name in server])
        sums = {weight: server[weight + MERGED] + product for weight, product in products.items()}  # (3)
        return {**server, **{w + MERGED: value.to(server[w + MERGED].dtype) for w, value in sums.items()}}

    def personal_params(self, down: Payload, private: Params) -> Params:
        merged, first = down["merged"], select(private, "trunk.")
        return {**private, **_no_update(merged, first), **merged}


def _no_update(merged: Params, first: Params) -> dict[str, Tensor]:
    """Return B = 0 of each weight."""
    found: dict[str, Tensor] = {}
    for name, value in merged.items():
        weight = name.removesuffix(MERGED)
        found[weight + B] = value.new_zeros(len(value), len(first[weight + A]))
    return found

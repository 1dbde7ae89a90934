"""FlexLoRA: the server averages the products of adapters, and sends the best adapters of their rank.

    Bai, Chen, Qian, Yao, Li. NeurIPS 2024. arXiv:2402.11505

Of each adapted weight W + s B A, with r the rank:

    (A_k, B_k, φ_k) <- (A_k, B_k, φ_k) − η ∇ f_k(A_k, B_k, φ_k)     epochs passes from (A, B, φ_k)     (1)
    P               =  Σ n_k B_k A_k / Σ n_k = U Σ Vᵀ               on the server, by an SVD           (2)
    (B, A)          <- (U_r Σ_r, V_rᵀ)                              the r largest singular values      (3)

The aggregate misses P by the rest, and no other of rank r misses it by less (Eckart and Young, 1936):
‖P − B A‖² = Σ_{j>r} σ_j². All singular values are in B, so that a direction that P does not have yet keeps an A of norm
1, from which it is learnt. Clients of unlike ranks, which the paper also has, are not here: an adapter's rank is the
model's. What is in the trunk beside adapters is averaged.

Down: A, B.  Up: A_k, B_k.  Private: φ_k.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fedmtl.algorithms.common.checks import check_descent
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.common.low_rank import mean_products, truncated, weights_with_adapters
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.adapters import A, B, adapted_weights
from fedmtl.core.context import Context
from fedmtl.core.trees import select
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.core.uploads import Uploads, mean_upload
from fedmtl.optimizers import SGD, Optimizer


@dataclass(frozen=True)
class FlexLoRA:
    """For models with adapters, ``LoRA(…)``: their products are averaged, and cut to their rank."""

    traits = Traits(
        sends=Sends(down="trunk", up="trunk", private="heads"),
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
        weights_with_adapters(self, params)
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
        given = uploads if isinstance(uploads, Uploads) else list(uploads)
        new = {**server, **mean_upload(given, "trunk")}
        for weight, product in mean_products(given, "trunk", adapted_weights(server)).items():  # (2)
            old = server[weight + A]
            b, a = truncated(product, len(old))  # (3)
            new |= {weight + A: a.to(old.dtype), weight + B: b.to(old.dtype)}
        return new

    def personal_params(self, down: Payload, private: Params) -> Params:
        return {**down["trunk"], **private}

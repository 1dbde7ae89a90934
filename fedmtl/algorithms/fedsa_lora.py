"""FedSA-LoRA: of adapters, A is shared and B is each client's own.

    Guo, Zeng, Wang, Fan, Wang, Qu. ICLR 2025. arXiv:2410.01463

Of each adapted weight W + s B_k A:

    (A_k, B_k, φ_k) <- (A_k, B_k, φ_k) − η ∇ f_k(A_k, B_k, φ_k)     epochs passes from (A, B_k, φ_k)     (1)
    A               <- Σ n_k A_k / Σ n_k                            on the server                        (2)

A client predicts with B_k A. The mean of these over clients misses the mean of the products that they trained by the
covariance of the factors, as FedPer's product of means does:

    Σ p_k B_k A − Σ p_k B_k A_k = −Σ p_k (B_k − B̄)(A_k − A)     with B̄ = Σ p_k B_k

``FedPer`` on ``ShareMap(LoRA(…), {"*_lora_B": "private"})`` is the same.

Down: A.  Up: A_k.  Private: φ_k, and B_k.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fedmtl.algorithms.common.checks import check_descent
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.common.low_rank import weights_with_adapters
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.adapters import B, without
from fedmtl.core.context import Context
from fedmtl.core.trees import select
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.core.uploads import mean_upload
from fedmtl.optimizers import SGD, Optimizer


@dataclass(frozen=True)
class FedSALoRA:
    """For models with adapters, ``LoRA(…)``: their factor A is averaged, B stays with the client."""

    traits = Traits(
        sends=Sends(down="trunk but B", up="trunk but B", private="heads and B"),
        technique="low-rank adapters",
        mean_aggregated=True,
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
        return without(select(params, "trunk."), weights_with_adapters(self, params), B)

    def init_client(self, params: Params, num_examples: int) -> Params:
        own = {weight + B: params[weight + B] for weight in weights_with_adapters(self, params)}
        return {**select(params, "head."), **own}

    def broadcast(self, server: Params, client: ClientId, ctx: Context) -> Payload:
        return {"trunk": server}

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        w = sgd(loss, {**down["trunk"], **private}, batches, self.lr, self.epochs, self.optimizer, ctx=ctx)  # (1)
        shared = {name: w[name] for name in down["trunk"]}
        return LocalResult({name: w[name] for name in private}, Upload({"trunk": shared}, num_examples(batches)))

    def aggregate(self, server: Params, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Params:
        return {**server, **mean_upload(uploads, "trunk")}  # (2)

    def personal_params(self, down: Payload, private: Params) -> Params:
        return {**down["trunk"], **private}

"""FFA-LoRA: adapters whose A is frozen as it was drawn, so that the mean of B makes the mean of the products.

    Sun, Li, Li, Ding. ICLR 2024. arXiv:2403.12313

Of each adapted weight W + s B A, with A the first one, the same for all clients:

    (B_k, φ_k) <- (B_k, φ_k) − η ∇ f_k(B_k, A, φ_k)     epochs passes from (B, φ_k)     (1)
    B          <- Σ n_k B_k / Σ n_k                     on the server                   (2)

The aggregate is exact, as Σ p_k (B_k A) = (Σ p_k B_k) A, and half of a round's bytes are saved where weights are
square. ``FedPer`` on ``ShareMap(LoRA(…), {"*_lora_A": "frozen"})`` is the same, with A held once a node.

Down: B.  Up: B_k.  Private: φ_k, and A.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from fedmtl.algorithms.common.checks import check_descent
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.common.low_rank import weights_with_adapters
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.adapters import A, without
from fedmtl.core.context import Context
from fedmtl.core.trees import select
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.core.uploads import mean_upload
from fedmtl.optimizers import SGD, Optimizer


@dataclass(frozen=True)
class FFALoRA:
    """For models with adapters, ``LoRA(…)``: their factor A stays as drawn, B is averaged."""

    traits = Traits(
        sends=Sends(down="trunk but A", up="trunk but A", private="heads and A"),
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
        return without(select(params, "trunk."), weights_with_adapters(self, params), A)

    def init_client(self, params: Params, num_examples: int) -> Params:
        frozen = {weight + A: params[weight + A] for weight in weights_with_adapters(self, params)}
        return {**select(params, "head."), **frozen}

    def broadcast(self, server: Params, client: ClientId, ctx: Context) -> Payload:
        return {"trunk": server}

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        frozen, heads = select(private, "trunk."), select(private, "head.")

        def objective(w: Params, batch: Batch) -> Tensor:
            return loss({**w, **frozen}, batch)

        w = sgd(objective, {**down["trunk"], **heads}, batches, self.lr, self.epochs, self.optimizer, ctx=ctx)  # (1)
        return LocalResult(
            {**select(w, "head."), **frozen}, Upload({"trunk": select(w, "trunk.")}, num_examples(batches))
        )

    def aggregate(self, server: Params, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Params:
        return {**server, **mean_upload(uploads, "trunk")}  # (2)

    def personal_params(self, down: Payload, private: Params) -> Params:
        return {**down["trunk"], **private}

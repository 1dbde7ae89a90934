"""FedProx: FedAvg whose clients are held near the model that they received.

    Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith. MLSys 2020, Algorithm 2. arXiv:1812.06127

    h_k(w) = f_k(w) + μ/2 ‖w − w_t‖²                   what client k descends on          (1)
    w_k   <- w_k − η ∇h_k(w_k)                         epochs passes from w_t             (2)
    w     <- Σ n_k w_k / Σ n_k                         on the server                      (3)

The paper samples clients by their share of the data and takes a plain mean; here they are sampled uniformly and
weighted by it, as FedAvg does.

Down: w_t.  Up: w_k.  Private: nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fedmtl.algorithms.common.checks import check_descent, check_strength
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.common.proximal import pulled
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.context import Context
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.core.uploads import mean_upload
from fedmtl.optimizers import SGD, Optimizer


@dataclass(frozen=True)
class FedProx:
    """μ = 0 is FedAvg, bit for bit. The paper tries μ of 0.001 to 1."""

    traits = Traits(
        sends=Sends(down="model", up="model", private="nothing"),
        technique="federated learning",
        mean_aggregated=True,
        uniform_broadcast=True,
        independent_heads=True,
    )

    lr: float = 0.05
    """η."""
    epochs: int = 1
    mu: float = 0.1
    """μ."""
    optimizer: Optimizer = SGD()
    """Client optimizer."""

    def __post_init__(self) -> None:
        check_descent(self, self.lr, self.epochs, self.optimizer)
        check_strength(self, mu=self.mu)

    def init_server(self, params: Params, ctx: Context) -> Params:
        return params

    def init_client(self, params: Params, num_examples: int) -> None:
        return None

    def broadcast(self, server: Params, client: ClientId, ctx: Context) -> Payload:
        return {"model": server}

    def local_update(
        self, loss: LossFn, down: Payload, private: None, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[None]:
        received = down["model"]
        h = pulled(loss, self.mu, to=received)  # (1)
        w = sgd(h, received, batches, self.lr, self.epochs, self.optimizer, ctx=ctx)  # (2)
        return LocalResult(None, Upload({"model": w}, num_examples(batches)))

    def aggregate(self, server: Params, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Params:
        return {**server, **mean_upload(uploads, "model")}  # (3)

    def personal_params(self, down: Payload, private: None) -> Params:
        return down["model"]

"""FedBN: everything is shared but the norm layers.

    Li, Jiang, Zhang, Kamp, Dou. ICLR 2021, Algorithm 1. arXiv:2102.07623

With w = (s, b_k), where b_k are the weights, biases and running statistics of norm layers and s all other parameters:

    (s_k, b_k) <- (s_k, b_k) − η ∇ f_k(s_k, b_k)     epochs passes from (s, b_k)                             (1)
    s          <- Σ n_k s_k / Σ n_k                  on the server, for each parameter over the clients      (2)
                                                     of the cohort that have it

Running statistics are buffers. Weights and biases are known by shape, since names such as ``trunk.1.weight`` do not
show it: a ``weight`` of one dimension or of its bias's shape, and that ``bias``. It is
true of BatchNorm, GroupNorm, LayerNorm, InstanceNorm and RMSNorm, and of PReLU; not of linear maps, convolutions and
embeddings.

Down: s.  Up: s_k.  Private: b_k.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fedmtl.algorithms.common.checks import check_descent
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.buffers import buffers
from fedmtl.core.context import Context
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.core.uploads import mean_upload
from fedmtl.optimizers import SGD, Optimizer


def norm_layers(params: Params) -> frozenset[str]:
    """The names of the norm layers' weights, biases and running statistics."""
    names = set(buffers(params))
    for name, weight in params.items():
        layer, _, last = name.rpartition(".")
        bias = params.get(f"{layer}.bias")
        if last == "weight" and (weight.ndim == 1 or (bias is not None and bias.shape == weight.shape)):
            names |= {name} if bias is None else {name, f"{layer}.bias"}
    return frozenset(names)


@dataclass(frozen=True)
class FedBN:
    """For models with norm layers: BatchNorm, GroupNorm, LayerNorm, InstanceNorm or RMSNorm."""

    traits = Traits(
        sends=Sends(down="all but norm layers", up="all but norm layers", private="norm layers"),
        technique="weight sharing",
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
        norm = norm_layers(params)
        if not norm:
            raise ValueError(
                "FedBN keeps norm layers at home, but the model has none; give it BatchNorm or GroupNorm, or use "
                "FedAvg, which is the same without them."
            )
        return {name: value for name, value in params.items() if name not in norm}

    def init_client(self, params: Params, num_examples: int) -> Params:
        return {name: params[name] for name in sorted(norm_layers(params))}

    def broadcast(self, server: Params, client: ClientId, ctx: Context) -> Payload:
        return {"shared": server}

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        w = sgd(loss, {**down["shared"], **private}, batches, self.lr, self.epochs, self.optimizer, ctx=ctx)  # (1)
        shared = {name: w[name] for name in down["shared"]}
        return LocalResult({name: w[name] for name in private}, Upload({"shared": shared}, num_examples(batches)))

    def aggregate(self, server: Params, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Params:
        return {**server, **mean_upload(uploads, "shared")}  # (2)

    def personal_params(self, down: Payload, private: Params) -> Params:
        return {**down["shared"], **private}

"""FedAMP: each client descends near a mixture of all clients' models, in which those like its own weigh more.

    Huang, Chu, Zhou, Wang, Liu, Pei, Zhang. AAAI 2021, Algorithm 1. arXiv:2007.03797

    ξ_kl   = α/σ exp(−‖θ_k − θ_l‖²/σ)   for l ≠ k,    ξ_kk = 1 − Σ_{l≠k} ξ_kl               (1)
    u_k    = Σ_l ξ_kl w_l                             on the server                         (2)
    h_k(w) = f_k(w) + λ/(2α) ‖w − u_k‖²               what client k descends on             (3)
    w_k   <- w_k − η ∇h_k(w_k)                        epochs passes from its own w_k        (4)

α is the length of the server's step on the attraction 1 − exp(−‖·‖²/σ), and 1/α the strength of the pull to where it
leads; u_k lies among the models as long as α(K − 1) ≤ σ. Likeness is that of trunks, which all clients have; a head is
mixed over those that own its task, what the others would weigh being its own. The server mixes the last model of every
client.

Down: u_k.  Up: w_k.  Private: w_k, the model that was sent.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fedmtl.algorithms.common.by_client import ascending, received
from fedmtl.algorithms.common.checks import check_descent, check_positive, check_strength
from fedmtl.algorithms.common.client_rows import flat
from fedmtl.algorithms.common.laplacian import pull
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.common.proximal import pulled
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.context import Context
from fedmtl.core.trees import select
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.optimizers import SGD, Optimizer


class Clouds(NamedTuple):
    """The server's state, by ``str(client)``."""

    models: Mapping[str, Params]
    """w_k, as last received."""
    mixed: Mapping[str, Params]
    """u_k."""


@dataclass(frozen=True)
class FedAMP:
    """A σ far below all distances leaves each client alone, held to where it was; a large one mixes all alike."""

    traits = Traits(
        sends=Sends(down="model", up="model", private="model", private_sent=True, down_note="its own mixture"),
        technique="similarity measure",
        independent_heads=True,
        equal_trunks=True,
        register_clients=True,
        diagnostics=True,
    )

    lr: float = 0.05
    """η."""
    epochs: int = 5
    lam: float = 1.0
    """λ."""
    alpha: float = 1.0
    """α."""
    sigma: float = 10.0
    """σ, a squared distance; should be at least α times the number of clients."""
    optimizer: Optimizer = SGD()
    """Client optimizer."""

    def __post_init__(self) -> None:
        check_descent(self, self.lr, self.epochs, self.optimizer)
        check_strength(self, lam=self.lam)
        check_positive(self, alpha=self.alpha, sigma=self.sigma)

    def init_server(self, params: Params, ctx: Context) -> Clouds:
        return Clouds({}, {})

    def register_clients(self, server: Clouds, owned: Mapping[ClientId, Params]) -> Clouds:
        if not any(select(params, "trunk.") for params in owned.values()):
            raise ValueError(
                "FedAMP mixes clients by the likeness of their trunks, and the model's trunk has no parameter; take "
                "MRMTL or FedU, or a model whose trunk learns."
            )
        first = {str(client): params for client, params in owned.items()}
        return Clouds(first, first)

    def init_client(self, params: Params, num_examples: int) -> Params:
        return dict(params)

    def broadcast(self, server: Clouds, client: ClientId, ctx: Context) -> Payload:
        return {"model": server.mixed[str(client)]}

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        h = pulled(loss, self.lam / self.alpha, to=down["model"])  # (3)
        w = sgd(h, private, batches, self.lr, self.epochs, self.optimizer, ctx=ctx)  # (4)
        return LocalResult(w, Upload({"model": w}, num_examples(batches)))

    def aggregate(self, server: Clouds, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Clouds:
        models = ascending({**server.models, **received(self, uploads, "model")})
        mixed = pull([*models.values()], self._xi(models))  # (2)
        return Clouds(models, dict(zip(models, mixed, strict=True)))

    def _xi(self, models: Mapping[str, Params]) -> Tensor:
        """ξ [K, K], float64, clients ascending."""
        theta = flat([select(model, "trunk.") for model in models.values()]).double()
        apart = torch.cdist(theta, theta, compute_mode="donot_use_mm_for_euclid_dist").square()
        xi = self.alpha / self.sigma * torch.exp(-apart / self.sigma)  # (1)
        xi = xi.masked_fill(torch.eye(len(xi), dtype=torch.bool), 0)
        return xi + torch.diag(1 - xi.sum(1))

    def diagnostics(self, server: Clouds) -> dict[str, Tensor]:
        """ξ [K, K], of the models as last received."""
        return {"xi": self._xi(ascending(server.models))}

    def personal_params(self, down: Payload, private: Params) -> Params:
        return private

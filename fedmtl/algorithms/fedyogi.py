"""FedYogi: Yogi on the server, Adam whose v falls slowly, around any algorithm that averages.

    Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan. ICLR 2021, Algorithm 2. arXiv:2003.00295

With g = w − w̄ the pseudo-gradient, w̄ what the wrapped algorithm makes of the uploads:

    m <- β₁m + (1 − β₁)g                   first 0            (1)
    v <- v − (1 − β₂)g² sign(v − g²)       first τ²           (2)
    w <- w − ηm / (√v + τ)                                    (3)

number by number, without Adam's correction for the first steps.

Down / Up / Private: those of the wrapped algorithm.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from fedmtl.algorithms.base import Algorithm, Prediction
from fedmtl.algorithms.common.checks import check_fraction, check_lr, check_positive
from fedmtl.algorithms.common.server_optimizer import Moments, check_wrapped, first_moments, pseudo_gradient
from fedmtl.algorithms.fedavg import FedAvg
from fedmtl.algorithms.traits import Traits
from fedmtl.core.context import Context
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload


@dataclass(frozen=True)
class FedYogi:
    """v moves by the square of the pseudo-gradient and not by its own size. The paper tunes η and τ."""

    algorithm: Algorithm[Params, Any] = FedAvg()
    """Algorithm on the clients, whose server takes means: FedAvg, FedProx, FedPer, FedRep."""
    server_lr: float = 0.01
    """η."""
    beta1: float = 0.9
    """β₁."""
    beta2: float = 0.99
    """β₂."""
    tau: float = 0.001
    """τ: how small a pseudo-gradient counts as noise."""

    def __post_init__(self) -> None:
        check_wrapped(self, self.algorithm)
        check_lr(self, server_lr=self.server_lr)
        check_fraction(self, beta1=self.beta1, beta2=self.beta2)
        check_positive(self, tau=self.tau)

    @property
    def traits(self) -> Traits:
        return replace(self.algorithm.traits, technique="server optimiser")

    def mixture(self, down: Payload, private: Any) -> Prediction:
        wrapped: Any = self.algorithm
        return wrapped.mixture(down, private)

    def init_server(self, params: Params, ctx: Context) -> Moments:
        return first_moments(self, params, ctx)

    def init_client(self, params: Params, num_examples: int) -> Any:
        return self.algorithm.init_client(params, num_examples)

    def broadcast(self, server: Moments, client: ClientId, ctx: Context) -> Payload:
        return self.algorithm.broadcast(server.w, client, ctx)

    def local_update(
        self, loss: LossFn, down: Payload, private: Any, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Any]:
        return self.algorithm.local_update(loss, down, private, batches, ctx)

    def aggregate(self, server: Moments, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Moments:
        g, held = pseudo_gradient(self.algorithm, server.w, uploads, ctx)
        m = {name: self.beta1 * value + (1 - self.beta1) * g[name] for name, value in server.m.items()}  # (1)
        v = {
            name: v - (1 - self.beta2) * g[name] ** 2 * torch.sign(v - g[name] ** 2) for name, v in server.v.items()
        }  # (2)
        w = {
            name: server.w[name] - self.server_lr * m[name] / (torch.sqrt(v[name]) + self.tau)  # (3)
            for name in g
        }
        return Moments({**server.w, **w, **held}, m, v)

    def personal_params(self, down: Payload, private: Any) -> Params:
        return self.algorithm.personal_params(down, private)

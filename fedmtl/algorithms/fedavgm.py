"""FedAvgM: momentum on the server, around any algorithm that averages.

    Hsu, Qi, Brown. 2019, section 4.3. arXiv:1909.06335

With g = w − w̄ the pseudo-gradient, w̄ what the wrapped algorithm makes of the uploads:

    m <- βm + g            first 0            (1)
    w <- w − ηm                               (2)

Down / Up / Private: those of the wrapped algorithm.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from fedmtl.algorithms.base import Algorithm, Prediction
from fedmtl.algorithms.common.checks import check_fraction, check_lr
from fedmtl.algorithms.common.server_optimizer import check_wrapped, first_model, pseudo_gradient, zeros_like
from fedmtl.algorithms.fedavg import FedAvg
from fedmtl.algorithms.traits import Traits
from fedmtl.core.context import Context
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload


class Momentum(NamedTuple):
    """The server's state."""

    w: Params
    m: Params


@dataclass(frozen=True)
class FedAvgM:
    """momentum = 0 and server_lr = 1 are the wrapped algorithm, to rounding. The paper uses momentum 0.9."""

    algorithm: Algorithm[Params, Any] = FedAvg()
    """Algorithm on the clients, whose server takes means: FedAvg, FedProx, FedPer, FedRep."""
    server_lr: float = 1.0
    """η."""
    momentum: float = 0.9
    """β."""

    def __post_init__(self) -> None:
        check_wrapped(self, self.algorithm)
        check_lr(self, server_lr=self.server_lr)
        check_fraction(self, momentum=self.momentum)

    @property
    def traits(self) -> Traits:
        return replace(self.algorithm.traits, technique="server optimiser")

    def mixture(self, down: Payload, private: Any) -> Prediction:
        wrapped: Any = self.algorithm
        return wrapped.mixture(down, private)

    def init_server(self, params: Params, ctx: Context) -> Momentum:
        w = first_model(self, params, ctx)
        return Momentum(w, zeros_like(w))

    def init_client(self, params: Params, num_examples: int) -> Any:
        return self.algorithm.init_client(params, num_examples)

    def broadcast(self, server: Momentum, client: ClientId, ctx: Context) -> Payload:
        return self.algorithm.broadcast(server.w, client, ctx)

    def local_update(
        self, loss: LossFn, down: Payload, private: Any, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Any]:
        return self.algorithm.local_update(loss, down, private, batches, ctx)

    def aggregate(self, server: Momentum, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Momentum:
        g, held = pseudo_gradient(self.algorithm, server.w, uploads, ctx)
        m = {name: self.momentum * server.m[name] + value for name, value in g.items()}  # (1)
        w = {name: server.w[name] - self.server_lr * m[name] for name in g}  # (2)
        return Momentum({**server.w, **w, **held}, m)

    def personal_params(self, down: Payload, private: Any) -> Params:
        return self.algorithm.personal_params(down, private)

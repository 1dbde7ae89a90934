"""ServerOptimizer: any algorithm that averages, with an optimizer's step on the server in place of the mean.

    Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan. ICLR 2021, Algorithm 1. arXiv:2003.00295

With w̄ the wrapped algorithm's new model, and d, s of any optimizer of ``fedmtl/optimizers``:

    g    = w − w̄                             the pseudo-gradient, 0 for a head that no client of the cohort owns   (1)
    d, s <- direction(s, g, w, t)            t the round, for schedules                                            (2)
    w    <- w − ηd                                                                                                 (3)

Buffers take no step: they are those of w̄. FedAvgM, FedAdam and FedYogi are names for settings of it.

Down / Up / Private: those of the wrapped algorithm.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fedmtl.algorithms.base import Algorithm, Prediction, Weights
from fedmtl.algorithms.common.checks import check_inner, check_lr
from fedmtl.algorithms.fedavg import FedAvg
from fedmtl.algorithms.traits import Traits
from fedmtl.core.buffers import buffers, trainable
from fedmtl.core.context import Context
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.optimizers import Momentum, Optimizer
from fedmtl.optimizers.checks import check_optimizer


class OptimizedServer(NamedTuple):
    """The server's state."""

    w: Params
    s: Any
    """State of the optimizer, a tree of tensors."""


@dataclass(frozen=True)
class ServerOptimizer:
    """With SGD() and server_lr = 1 it is the wrapped algorithm, to rounding."""

    algorithm: Algorithm[Params, Any] = FedAvg()
    """Algorithm on the clients, whose server takes means: FedAvg, FedProx, FedPer, FedRep."""
    server_optimizer: Optimizer = field(default=Momentum(), metadata={"component": ("optimizer",)})
    """Optimizer of the server; its state goes on from round to round."""
    server_lr: float = 1.0
    """η."""

    def __post_init__(self) -> None:
        check_wrapped(self, self.algorithm)
        check_optimizer(self, self.server_optimizer, "server_optimizer")
        check_lr(self, server_lr=self.server_lr)

    @property
    def traits(self) -> Traits:
        return replace(self.algorithm.traits, technique="server optimiser")

    def mixture(self, down: Payload, private: Any) -> Prediction:
        wrapped: Any = self.algorithm
        return wrapped.mixture(down, private)

    def sent_models(self, down: Payload, private: Any) -> Sequence[Params]:
        wrapped: Any = self.algorithm
        return wrapped.sent_models(down, private)

    def newcomer_weights(
        self, loss: LossFn, down: Payload, private: Any, batches: Sequence[Batch], steps: int
    ) -> Weights:
        wrapped: Any = self.algorithm
        return wrapped.newcomer_weights(loss, down, private, batches, steps)

    def init_server(self, params: Params, ctx: Context) -> OptimizedServer:
        w = self.algorithm.init_server(params, ctx)
        if not isinstance(w, Mapping) or not w or not all(isinstance(value, Tensor) for value in w.values()):
            raise ValueError(
                "An optimizer on the server steps in the parameters that the server keeps, but the server of "
                f"{self.algorithm!r} keeps something else."
            )
        return OptimizedServer(w, self.server_optimizer.init(trainable(w)))

    def init_client(self, params: Params, num_examples: int) -> Any:
        return self.algorithm.init_client(params, num_examples)

    def broadcast(self, server: OptimizedServer, client: ClientId, ctx: Context) -> Payload:
        return self.algorithm.broadcast(server.w, client, ctx)

    def local_update(
        self, loss: LossFn, down: Payload, private: Any, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Any]:
        return self.algorithm.local_update(loss, down, private, batches, ctx)

    def aggregate(
        self, server: OptimizedServer, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context
    ) -> OptimizedServer:
        w, mean = trainable(server.w), self.algorithm.aggregate(server.w, uploads, ctx)
        g = {name: value - mean[name] for name, value in w.items()}  # (1)
        t = ctx.round if self.server_optimizer.traits.scheduled else torch.zeros(())
        d, s = self.server_optimizer.direction(server.s, g, w, t)  # (2)
        new = {name: value - self.server_lr * d[name] for name, value in w.items()}  # (3)
        return OptimizedServer({**server.w, **new, **buffers(mean)}, s)

    def personal_params(self, down: Payload, private: Any) -> Params:
        return self.algorithm.personal_params(down, private)


def check_wrapped(owner: Any, algorithm: Any) -> None:
    """Refuse an algorithm that does not run on clients, or whose server has a state of each client."""
    check_inner(owner, algorithm, "FedAvg(epochs=1)")
    if algorithm.traits.centralized or algorithm.traits.register_clients:
        raise ValueError(
            f"{type(owner).__name__} wraps algorithms that average one set of parameters, got algorithm={algorithm!r}."
        )

"""ServerPCGrad: FedPer whose server takes the conflicts out of the clients' updates before it averages them.

    Yu, Kumar, Gupta, Levine, Hausman, Finn. NeurIPS 2020, Algorithm 1. arXiv:2001.06782

    (θ_k, φ_k) <- (θ_k, φ_k) − η ∇ f_k(θ_k, φ_k)     epochs passes from (θ, φ_k)                       (1)
    Δ_k         = θ_k − θ                            on the server, from here on                       (2)
    u_k        <- Δ_k made orthogonal to each Δ_j that it conflicts with, ⟨u_k, Δ_j⟩ < 0              (3)
    θ          <- θ + Σ n_k u_k / Σ n_k                                                                (4)

The order in which u_k meets the Δ_j is drawn anew each round. The paper's vectors are gradients of tasks; here they are
updates of clients, and one that conflicts with none is FedPer's.

Down: θ.  Up: θ_k.  Private: φ_k.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fedmtl.algorithms.common.checks import check_epochs, check_lr, check_optimizer
from fedmtl.algorithms.common.gradient_similarity import Conflicts, cosine_diagnostics, no_conflicts, observed
from fedmtl.algorithms.common.gradient_surgery import flat, pcgrad, shaped
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.buffers import buffers
from fedmtl.core.context import Context
from fedmtl.core.random import SERVER, rng
from fedmtl.core.trees import select, weighted_mean
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.optimizers import SGD, Optimizer


class PCGradServer(NamedTuple):
    """State of the server."""

    trunk: Params
    round: Tensor
    """Number of rounds so far; a scalar."""
    conflicts: Conflicts


@dataclass(frozen=True)
class ServerPCGrad:
    """FedPer where no two updates point against each other."""

    traits = Traits(
        sends=Sends(down="trunk", up="trunk", private="heads"),
        technique="conflict of tasks",
        uniform_broadcast=True,
        independent_heads=True,
        register_clients=True,
        diagnostics=True,
    )

    lr: float = 0.05
    """η."""
    epochs: int = 5
    optimizer: Optimizer = SGD()
    """Client optimizer."""

    def __post_init__(self) -> None:
        check_lr(self, lr=self.lr)
        check_epochs(self, epochs=self.epochs)
        check_optimizer(self, self.optimizer)

    def init_server(self, params: Params, ctx: Context) -> PCGradServer:
        return PCGradServer(select(params, "trunk."), torch.tensor(0), no_conflicts([]))

    def register_clients(self, server: PCGradServer, owned: Mapping[ClientId, Params]) -> PCGradServer:
        return server._replace(conflicts=no_conflicts([*owned]))

    def init_client(self, params: Params, num_examples: int) -> Params:
        return select(params, "head.")

    def broadcast(self, server: PCGradServer, client: ClientId, ctx: Context) -> Payload:
        return {"trunk": server.trunk}

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        w = sgd(loss, {**down["trunk"], **private}, batches, self.lr, self.epochs, self.optimizer, ctx=ctx)  # (1)
        return LocalResult(select(w, "head."), Upload({"trunk": select(w, "trunk.")}, num_examples(batches)))

    def aggregate(self, server: PCGradServer, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> PCGradServer:
        cohort = sorted(uploads, key=lambda pair: pair[0])
        if not cohort:
            raise ValueError("ServerPCGrad needs at least one client, got none.")
        start = flat([server.trunk])
        rows = flat([upload.payload["trunk"] for _, upload in cohort]) - start  # (2)
        counts = np.array([float(upload.num_examples) for _, upload in cohort])
        random = rng(0, int(server.round), SERVER, "pcgrad")
        update = pcgrad(rows, counts / counts.sum(), random)  # (3)
        held = weighted_mean((buffers(upload.payload["trunk"]), upload.num_examples) for _, upload in cohort)
        trunk = {**shaped(start[0] + update, server.trunk), **held}  # (4)
        conflicts = observed(server.conflicts, [client for client, _ in cohort], rows)
        return PCGradServer(trunk, server.round + 1, conflicts)

    def personal_params(self, down: Payload, private: Params) -> Params:
        return {**down["trunk"], **private}

    def diagnostics(self, server: PCGradServer) -> dict[str, Tensor]:
        """``cosine``: between the updates of the last round, [K, K]."""
        return cosine_diagnostics(server.conflicts)

"""ServerCAGrad: FedPer whose server steps where the client that gains least gains most, near the mean.

    Liu, Liu, Jin, Stone, Liu. NeurIPS 2021, Algorithm 1. arXiv:2110.14048

    (θ_k, φ_k) <- (θ_k, φ_k) − η ∇ f_k(θ_k, φ_k)           epochs passes from (θ, φ_k)                 (1)
    Δ_k         = θ_k − θ,   g_0 = Σ n_k Δ_k / Σ n_k       on the server, from here on                 (2)
    U           = argmax_u min_k ⟨u, Δ_k⟩                  subject to ‖u − g_0‖ ≤ c ‖g_0‖              (3)
    θ          <- θ + U                                                                                (4)

The paper's vectors are gradients of tasks, all of weight 1 / K; here they are updates of clients, weighted as FedPer
weights them.

Down: θ.  Up: θ_k.  Private: φ_k.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from fedmtl.algorithms.common.checks import check_epochs, check_lr, check_optimizer, check_strength
from fedmtl.algorithms.common.gradient_similarity import Conflicts, cosine_diagnostics, no_conflicts, observed
from fedmtl.algorithms.common.gradient_surgery import cagrad, flat, shaped
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.buffers import buffers
from fedmtl.core.context import Context
from fedmtl.core.trees import select, weighted_mean
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.optimizers import SGD, Optimizer


class CAGradServer(NamedTuple):
    """State of the server."""

    trunk: Params
    conflicts: Conflicts


@dataclass(frozen=True)
class ServerCAGrad:
    """c = 0 is FedPer. The paper takes c of 0.2 to 0.8, and below 1 for its proof."""

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
    c: float = 0.4
    """Largest distance of the step from the mean, in lengths of the mean."""
    optimizer: Optimizer = SGD()
    """Client optimizer."""

    def __post_init__(self) -> None:
        check_lr(self, lr=self.lr)
        check_epochs(self, epochs=self.epochs)
        check_optimizer(self, self.optimizer)
        check_strength(self, c=self.c)

    def init_server(self, params: Params, ctx: Context) -> CAGradServer:
        return CAGradServer(select(params, "trunk."), no_conflicts([]))

    def register_clients(self, server: CAGradServer, owned: Mapping[ClientId, Params]) -> CAGradServer:
        return server._replace(conflicts=no_conflicts([*owned]))

    def init_client(self, params: Params, num_examples: int) -> Params:
        return select(params, "head.")

    def broadcast(self, server: CAGradServer, client: ClientId, ctx: Context) -> Payload:
        return {"trunk": server.trunk}

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        w = sgd(loss, {**down["trunk"], **private}, batches, self.lr, self.epochs, self.optimizer, ctx=ctx)  # (1)
        return LocalResult(select(w, "head."), Upload({"trunk": select(w, "trunk.")}, num_examples(batches)))

    def aggregate(self, server: CAGradServer, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> CAGradServer:
        cohort = sorted(uploads, key=lambda pair: pair[0])
        if not cohort:
            raise ValueError("ServerCAGrad needs at least one client, got none.")
        start = flat([server.trunk])
        rows = flat([upload.payload["trunk"] for _, upload in cohort]) - start  # (2)
        counts = np.array([float(upload.num_examples) for _, upload in cohort])
        update = cagrad(rows, counts / counts.sum(), self.c)  # (3)
        conflicts = observed(server.conflicts, [client for client, _ in cohort], rows)
        held = weighted_mean((buffers(upload.payload["trunk"]), upload.num_examples) for _, upload in cohort)
        return CAGradServer({**shaped(start[0] + update, server.trunk), **held}, conflicts)  # (4)

    def personal_params(self, down: Payload, private: Params) -> Params:
        return {**down["trunk"], **private}

    def diagnostics(self, server: CAGradServer) -> dict[str, Tensor]:
        """``cosine``: between the updates of the last round, [K, K]."""
        return cosine_diagnostics(server.conflicts)

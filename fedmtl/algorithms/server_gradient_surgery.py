"""ServerGradientSurgery: FedPer whose server combines the clients' updates by a rule against conflicts.

    Yu, Kumar, Gupta, Levine, Hausman, Finn. NeurIPS 2020 (PCGrad). arXiv:2001.06782

    (θ_k, φ_k) <- (θ_k, φ_k) − η ∇ f_k(θ_k, φ_k)     epochs passes from (θ, φ_k)                       (1)
    Δ_k         = θ_k − θ,   p_k = n_k / Σ n         on the server, from here on                       (2)
    U           = rule(Δ, p)                         one vector of the cohort's updates                (3)
    θ          <- θ + U                                                                                (4)

The rule is a weighting that combines vectors too: PCGrad() or CAGrad(). Their papers' vectors are gradients of tasks;
here they are updates of clients. What a rule draws follows the experiment's seed and the round. ServerPCGrad and
ServerCAGrad are names for settings of it.

Down: θ.  Up: θ_k.  Private: φ_k.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from fedmtl.algorithms.common.checks import check_descent
from fedmtl.algorithms.common.client_rows import flat, shaped
from fedmtl.algorithms.common.gradient_similarity import Conflicts, cosine_diagnostics, no_conflicts, observed
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.buffers import buffers
from fedmtl.core.context import Context
from fedmtl.core.trees import select, weighted_mean
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.optimizers import SGD, Optimizer
from fedmtl.weightings.base import Weighting
from fedmtl.weightings.checks import check_weighting
from fedmtl.weightings.pcgrad import PCGrad


class SurgeryServer(NamedTuple):
    """State of the server."""

    trunk: Params
    conflicts: Conflicts


@dataclass(frozen=True)
class ServerGradientSurgery:
    """Without conflicts between updates it is FedPer."""

    traits = Traits(
        sends=Sends(down="trunk", up="trunk", private="heads"),
        technique="conflict of tasks",
        uniform_broadcast=True,
        independent_heads=True,
        equal_trunks=True,
        register_clients=True,
        diagnostics=True,
    )

    rule: Weighting = field(default=PCGrad(), metadata={"component": ("weighting",)})
    """Rule of the server: PCGrad() or CAGrad()."""
    lr: float = 0.05
    """η."""
    epochs: int = 5
    optimizer: Optimizer = SGD()
    """Client optimizer."""

    def __post_init__(self) -> None:
        check_weighting(self, self.rule, "rule")
        if not self.rule.traits.combine_vectors:
            raise ValueError(f"ServerGradientSurgery needs the rule PCGrad() or CAGrad(), got rule={self.rule!r}.")
        check_descent(self, self.lr, self.epochs, self.optimizer)

    def init_server(self, params: Params, ctx: Context) -> SurgeryServer:
        return SurgeryServer(select(params, "trunk."), no_conflicts([]))

    def register_clients(self, server: SurgeryServer, owned: Mapping[ClientId, Params]) -> SurgeryServer:
        return server._replace(conflicts=no_conflicts([*owned]))

    def init_client(self, params: Params, num_examples: int) -> Params:
        return select(params, "head.")

    def broadcast(self, server: SurgeryServer, client: ClientId, ctx: Context) -> Payload:
        return {"trunk": server.trunk}

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        w = sgd(loss, {**down["trunk"], **private}, batches, self.lr, self.epochs, self.optimizer, ctx=ctx)  # (1)
        return LocalResult(select(w, "head."), Upload({"trunk": select(w, "trunk.")}, num_examples(batches)))

    def aggregate(
        self, server: SurgeryServer, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context
    ) -> SurgeryServer:
        cohort = sorted(uploads, key=lambda pair: pair[0])
        if not cohort:
            raise ValueError("Surgery on the server needs at least one client, got none.")
        start = flat([server.trunk])
        rows = flat([upload.payload["trunk"] for _, upload in cohort]) - start  # (2)
        counts = np.array([float(upload.num_examples) for _, upload in cohort])
        rule: Any = self.rule
        update = rule.combine_vectors(rows, counts / counts.sum(), ctx.fold("order").rng())  # (3)
        conflicts = observed(server.conflicts, [client for client, _ in cohort], rows)
        held = weighted_mean((buffers(upload.payload["trunk"]), upload.num_examples) for _, upload in cohort)
        trunk = {**shaped(start[0] + update, server.trunk), **held}  # (4)
        return SurgeryServer(trunk, conflicts)

    def personal_params(self, down: Payload, private: Params) -> Params:
        return {**down["trunk"], **private}

    def diagnostics(self, server: SurgeryServer) -> dict[str, Tensor]:
        """``cosine``: between the updates of the last round, [K, K]."""
        return cosine_diagnostics(server.conflicts)

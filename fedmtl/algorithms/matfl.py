"""MaTFL: clients whose trunks stray from the mean in the same direction share a trunk.

    Cai, Chen, Liu, Srinivasa, Lee, Kompella, Wang. CVPR workshop FedVision 2023, pages 5036-5044.

    (θ_k, φ_k) <- (θ_k, φ_k) − η ∇ f_k(θ_k, φ_k)     epochs passes from (θ_k, φ_k)                         (1)
    δ_k         = θ_k − Σ n_l θ_l / Σ n_l            on the server, from here on                           (2)
    groups     <- agglomerated by average linkage of 1 − cos(δ_k, δ_l), until the given number remains     (3)
    θ_k        <- Σ n_l θ_l / Σ n_l                  over the l in the group of k                          (4)

Means are over the cohort; a client outside it keeps its trunk. The paper weights clients alike.

Down: θ_k.  Up: θ_k.  Private: φ_k.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.algorithms.common.by_client import ascending
from fedmtl.algorithms.common.checks import check_count, check_descent
from fedmtl.algorithms.common.client_rows import flat
from fedmtl.algorithms.common.gradient_similarity import Conflicts, cosine_diagnostics, cosines, no_conflicts, observed
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.context import Context
from fedmtl.core.trees import select, weighted_mean
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.optimizers import SGD, Optimizer


class MaTFLServer(NamedTuple):
    """State of the server for each client."""

    trunks: Mapping[str, Params]
    group: Mapping[str, Tensor]
    """Group of the last round, from 0; −1 for a client outside the cohort. A scalar."""
    conflicts: Conflicts


@dataclass(frozen=True)
class MaTFL:
    """One group is FedPer."""

    traits = Traits(
        sends=Sends(down="trunk", up="trunk", private="heads", down_note="of its group"),
        technique="similarity measure",
        independent_heads=True,
        equal_trunks=True,
        register_clients=True,
        diagnostics=True,
    )

    lr: float = 0.05
    """η."""
    epochs: int = 5
    groups: int = 2
    """Number of groups of a cohort; at most one for each client."""
    optimizer: Optimizer = SGD()
    """Client optimizer."""

    def __post_init__(self) -> None:
        check_descent(self, self.lr, self.epochs, self.optimizer)
        check_count(self, groups=self.groups)

    def init_server(self, params: Params, ctx: Context) -> MaTFLServer:
        return MaTFLServer({}, {}, no_conflicts([]))

    def register_clients(self, server: MaTFLServer, owned: Mapping[ClientId, Params]) -> MaTFLServer:
        trunks = {str(client): select(params, "trunk.") for client, params in owned.items()}
        return MaTFLServer(trunks, {key: torch.tensor(-1) for key in trunks}, no_conflicts([*owned]))

    def init_client(self, params: Params, num_examples: int) -> Params:
        return select(params, "head.")

    def broadcast(self, server: MaTFLServer, client: ClientId, ctx: Context) -> Payload:
        return {"trunk": server.trunks[str(client)]}

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        w = sgd(loss, {**down["trunk"], **private}, batches, self.lr, self.epochs, self.optimizer, ctx=ctx)  # (1)
        return LocalResult(select(w, "head."), Upload({"trunk": select(w, "trunk.")}, num_examples(batches)))

    def aggregate(self, server: MaTFLServer, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> MaTFLServer:
        cohort = sorted(uploads, key=lambda pair: pair[0])
        sent = [(upload.payload["trunk"], upload.num_examples) for _, upload in cohort]
        mean = weighted_mean(sent)
        rows = flat([trunk for trunk, _ in sent]) - flat([mean])  # (2)
        found = agglomerate(cosines(rows).double().numpy(), self.groups)  # (3)
        trunks, group = dict(server.trunks), {key: torch.tensor(-1) for key in server.group}
        for g in range(found.max() + 1):
            shared = weighted_mean(pair for pair, label in zip(sent, found, strict=True) if label == g)  # (4)
            for (client, _), label in zip(cohort, found, strict=True):
                if label == g:
                    trunks[str(client)], group[str(client)] = shared, torch.tensor(g)
        return MaTFLServer(trunks, group, observed(server.conflicts, [client for client, _ in cohort], rows))

    def personal_params(self, down: Payload, private: Params) -> Params:
        return {**down["trunk"], **private}

    def diagnostics(self, server: MaTFLServer) -> dict[str, Tensor]:
        """``group`` of the last round, −1: not in it, [K]; ``cosine`` between the δ_k, [K, K]."""
        group = torch.stack([*ascending(server.group).values()])
        return {"group": group, **cosine_diagnostics(server.conflicts)}


def agglomerate(cosine: NDArray[np.float64], groups: int) -> NDArray[np.int64]:
    """The group of each of K, [K], numbered in the order of their first members."""
    count = len(cosine)
    if count <= groups:
        return np.arange(count)
    from scipy.cluster.hierarchy import cut_tree, linkage

    apart = 1 - cosine[np.triu_indices(count, 1)]
    return cut_tree(linkage(apart, "average"), n_clusters=groups)[:, 0].astype(np.int64)

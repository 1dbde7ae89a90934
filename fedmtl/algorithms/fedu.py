"""FedU: each client has a model of its own; the server draws neighbours in a given graph together.

    Dinh, Vu, Tran, Dao, Zhang. 2021, Algorithm 1. arXiv:2102.07148

    w_k <- w_k − η ∇ f_k(w_k)                        epochs passes from its own w_k              (1)
    w_k <- w_k − η R β Σ_l a_kl (w_k − w_l)          on the server, for the cohort, at once       (2)

(2) is a step on β/2 Σ_{k<l} a_kl ‖w_k − w_l‖² whose length is that of the R local steps. The server knows no number of
steps, so R is the number of passes. A client outside the cohort stays where it is, and its neighbours are drawn to
where it is. A head is drawn to the same head of those that own its task. ηRβ Σ_l a_kl beyond 1 overshoots.

With a = 1 between all m clients, Σ_l (w_k − w_l) = m (w_k − w̄): (2) is a step on MR-MTL's λ/2 ‖w_k − w̄‖² with λ = βm.

Down: w_k.  Up: w_k.  Private: nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fedmtl.algorithms.common.by_client import ascending, received
from fedmtl.algorithms.common.checks import check_descent, check_strength
from fedmtl.algorithms.common.client_graph import parse_edges, read
from fedmtl.algorithms.common.laplacian import pull
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.context import Context
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.optimizers import SGD, Optimizer


@dataclass(frozen=True)
class FedU:
    """β = 0 is Local. The authors' scripts try β of 0.001 to 0.1."""

    traits = Traits(
        sends=Sends(down="model", up="model", private="nothing", down_note="its own"),
        technique="similarity measure, given",
        independent_heads=True,
        register_clients=True,
    )

    lr: float = 0.05
    """η."""
    epochs: int = 5
    """R."""
    beta: float = 0.01
    """β."""
    edges: tuple[str, ...] = ()
    """Clients that are neighbours, as in GraphStructured: "0-1", or "0-1:0.5" for a_01 = 0.5. None: all, with a = 1."""
    optimizer: Optimizer = SGD()
    """Client optimizer."""

    def __post_init__(self) -> None:
        check_descent(self, self.lr, self.epochs, self.optimizer)
        check_strength(self, beta=self.beta)
        read(self, "edges", parse_edges)

    def init_server(self, params: Params, ctx: Context) -> dict[str, Params]:
        return {}

    def register_clients(self, server: Mapping[str, Params], owned: Mapping[ClientId, Params]) -> dict[str, Params]:
        return {str(client): params for client, params in owned.items()}

    def init_client(self, params: Params, num_examples: int) -> None:
        return None

    def broadcast(self, server: Mapping[str, Params], client: ClientId, ctx: Context) -> Payload:
        return {"model": server[str(client)]}

    def local_update(
        self, loss: LossFn, down: Payload, private: None, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[None]:
        w = sgd(loss, down["model"], batches, self.lr, self.epochs, self.optimizer, ctx=ctx)  # (1)
        return LocalResult(None, Upload({"model": w}, num_examples(batches)))

    def aggregate(
        self, server: Mapping[str, Params], uploads: Iterable[tuple[ClientId, Upload]], ctx: Context
    ) -> dict[str, Params]:
        sent = received(self, uploads, "model")
        models = ascending({**server, **sent})
        step = self.lr * self.epochs * self.beta
        moved = pull([*models.values()], step * self._weights([*models]))  # (2)
        return {**server, **{k: model for k, model in zip(models, moved, strict=True) if k in sent}}

    def _weights(self, clients: Sequence[str]) -> Tensor:
        """a [K, K]."""
        a = torch.zeros(len(clients), len(clients), dtype=torch.float64)
        if not self.edges:
            return a + 1
        place = {client: k for k, client in enumerate(clients)}
        for k, other, weight in parse_edges(self.edges):
            if k not in place:
                raise ValueError(f"FedU has an edge of client {k}, but the clients are {[*map(int, clients)]}.")
            a[place[k], place[other]] += weight
        return a

    def personal_params(self, down: Payload, private: None) -> Params:
        return down["model"]

"""Transfer: a trunk is pre-trained on source clients, then frozen; every client fits heads to it.

    Yosinski, Clune, Bengio, Lipson. NeurIPS 2014. arXiv:1411.1792

In the first ``pretrain`` rounds, for the clients of ``sources``:

    (θ_k, φ_k) <- (θ_k, φ_k) − η ∇ f_k(θ_k, φ_k)     epochs passes from (θ, φ_k)                          (1)
    θ          <- Σ n_k θ_k / Σ n_k                  on the server, over the sources of the cohort        (2)

For all others in these rounds, and for all clients afterwards:

    φ_k        <- φ_k − η ∇_φ f_k(θ, φ_k)            epochs passes, θ held                                (3)

A client does not know its number: the server sends a 1 or a 0, whether it moves the trunk.

Down: θ, and whether to move it.  Up: θ_k, which is θ where it was held.  Private: φ_k.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fedmtl.algorithms.common.checks import check_clients, check_count, check_descent
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.context import Context
from fedmtl.core.trees import select, weighted_mean
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.optimizers import SGD, Optimizer


class Trunk(NamedTuple):
    """The server's state."""

    params: Params
    """θ."""


@dataclass(frozen=True)
class Transfer:
    """Features learnt on some clients' data serve the others. Until a source has trained, they are as drawn."""

    traits = Traits(
        sends=Sends(down="trunk", up="trunk", private="heads", down_extra=("moves",)),
        technique="transfer learning",
        independent_heads=True,
    )

    lr: float = 0.05
    """η."""
    epochs: int = 5
    sources: tuple[int, ...] = (0,)
    """The clients on which the trunk is trained."""
    pretrain: int = 20
    """Rounds, of this many or few sources each, after which the trunk is frozen."""
    optimizer: Optimizer = SGD()
    """Client optimizer."""

    def __post_init__(self) -> None:
        check_descent(self, self.lr, self.epochs, self.optimizer)
        check_clients(self, sources=self.sources)
        check_count(self, pretrain=self.pretrain)

    def _moves(self, client: ClientId, ctx: Context) -> bool:
        return client in self.sources and int(ctx.round) < self.pretrain

    def init_server(self, params: Params, ctx: Context) -> Trunk:
        return Trunk(select(params, "trunk."))

    def init_client(self, params: Params, num_examples: int) -> Params:
        return select(params, "head.")

    def broadcast(self, server: Trunk, client: ClientId, ctx: Context) -> Payload:
        return {"trunk": server.params, "role": {"moves": torch.tensor(float(self._moves(client, ctx)))}}

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        trunk, moves = down["trunk"], down["role"]["moves"] > 0.5  # a lossy codec may give 0.99

        def objective(w: Params, batch: Batch) -> Tensor:
            held = {name: torch.where(moves, w[name], value) for name, value in trunk.items()}  # else no gradient: (3)
            return loss({**w, **held}, batch)

        w = sgd(objective, {**trunk, **private}, batches, self.lr, self.epochs, self.optimizer, ctx=ctx)  # (1), (3)
        theta = {name: torch.where(moves, w[name], value) for name, value in trunk.items()}  # no gradient, but a decay
        return LocalResult(select(w, "head."), Upload({"trunk": theta}, num_examples(batches)))

    def aggregate(self, server: Trunk, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Trunk:
        sent = list(uploads)
        if not sent:
            raise ValueError("Transfer was given no upload to aggregate; a round needs at least one client.")
        moved = [(upload.payload["trunk"], upload.num_examples) for client, upload in sent if self._moves(client, ctx)]
        return Trunk({**server.params, **weighted_mean(moved)} if moved else server.params)  # (2)

    def personal_params(self, down: Payload, private: Params) -> Params:
        return {**down["trunk"], **private}

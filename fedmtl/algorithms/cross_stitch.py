"""CrossStitch: each client trains a mix of all clients' trunks; how they are mixed, layer by layer, is learnt.

    Misra, Shrivastava, Gupta, Hebert. Cross-stitch Networks for Multi-task Learning. CVPR 2016. arXiv:1604.03539

There a unit between two layers mixes what K networks compute of one input. Where that is linear in the weights, it is a
mix of the weights: Σ_l a_kl (θ_l x) = (Σ_l a_kl θ_l) x. The federated form mixes weights, which no input has to leave
its client for. A layer ℓ is what has one name but for its last part, such as ``trunk.1``; θ_l is its part of client l.

    θ̃_k        = Σ_l A_kl θ_l                              sent to k, for each layer                   (1)
    (θ_k, φ_k) <- (θ_k, φ_k) − η ∇ f_k(θ_k, φ_k)           epochs passes from (θ̃_k, φ_k)               (2)
    A_k·       <- simplex(A_k· + ζ ⟨θ_k − θ̃_k, θ_l⟩_l)     the θ_l of (1); for the k of the cohort     (3)

By the chain rule ∂f_k/∂A_kl = ⟨∇f_k(θ̃_k), θ_l⟩. With one full-batch step θ_k − θ̃_k is −η ∇f_k, and (3) is a step of
length ζη down this gradient, then to the nearest row that is ≥ 0 and sums to 1; with more steps, their sum stands for
the gradient. At first A_kl is ε/K and A_kk the rest, near the identity for a small ε.

The server keeps every trunk and K² numbers for each layer.

Down: θ̃_k.  Up: θ_k.  Private: φ_k.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fedmtl.algorithms.common.by_client import received
from fedmtl.algorithms.common.checks import check_descent, check_strength
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.common.stitching import layer_of, rows, shaped, simplex, trained
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.context import Context
from fedmtl.core.trees import select
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.optimizers import SGD, Optimizer


class Stitched(NamedTuple):
    """The server's state; trunks by ``str(client)``."""

    trunks: Mapping[str, Params]
    """θ_k, as last received."""
    mixed: Mapping[str, Params]
    """θ̃_k."""
    shift: Mapping[str, Tensor]
    """Layer -> what A has moved by from its start, [K, K] float64, clients ascending."""


@dataclass(frozen=True)
class CrossStitch:
    """ε = ζ = 0 is Local, bit for bit; ε = 1 and ζ = 0 is FedPer where clients have equally many examples."""

    traits = Traits(
        sends=Sends(down="trunk", up="trunk", private="heads", down_note="own mix of trunks"),
        technique="weight sharing, soft; similarity measure",
        independent_heads=True,
        equal_trunks=True,
        register_clients=True,
        diagnostics=True,
    )

    lr: float = 0.05
    """η."""
    epochs: int = 5
    mix: float = 0.5
    """ε of the first A, at most 1: how far it is from the identity."""
    rate: float = 0.1
    """ζ."""
    optimizer: Optimizer = SGD()
    """Client optimizer."""

    def __post_init__(self) -> None:
        check_descent(self, self.lr, self.epochs, self.optimizer)
        check_strength(self, mix=self.mix, rate=self.rate)
        if self.mix > 1:
            raise ValueError(f"CrossStitch starts from a mix of at most 1, which is the mean, got mix={self.mix!r}.")

    def init_server(self, params: Params, ctx: Context) -> Stitched:
        layers = sorted({layer_of(name) for name in select(params, "trunk.")})
        return Stitched({}, {}, {layer: torch.zeros(0, 0, dtype=torch.float64) for layer in layers})

    def register_clients(self, server: Stitched, owned: Mapping[ClientId, Params]) -> Stitched:
        first, count = {str(client): select(params, "trunk.") for client, params in owned.items()}, len(owned)
        still = torch.zeros((), dtype=torch.float64).expand(count, count)  # takes no memory
        return Stitched(first, first, dict.fromkeys(server.shift, still))

    def init_client(self, params: Params, num_examples: int) -> Params:
        return select(params, "head.")

    def broadcast(self, server: Stitched, client: ClientId, ctx: Context) -> Payload:
        return {"trunk": server.mixed[str(client)]}

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        w = sgd(loss, {**down["trunk"], **private}, batches, self.lr, self.epochs, self.optimizer, ctx=ctx)  # (2)
        return LocalResult(select(w, "head."), Upload({"trunk": select(w, "trunk.")}, num_examples(batches)))

    def aggregate(self, server: Stitched, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Stitched:
        sent = received(self, uploads, "trunk")
        clients = sorted(server.trunks, key=int)
        moving = [k for k, client in enumerate(clients) if client in sent]
        trunks, shift = {**server.trunks, **sent}, {}
        mixed: dict[str, dict[str, Tensor]] = {client: {} for client in clients}
        for layer, moved in server.shift.items():
            start = self._start(len(clients))
            before, mixture, after = (rows(kept, clients, layer) for kept in (server.trunks, server.mixed, trunks))
            a = start + moved
            step = trained(after[moving] - mixture[moving], trunks[clients[0]], layer)
            a[moving] = simplex(a[moving] + self.rate * step @ before.T)  # (3)
            shift[layer] = a - start
            for client, vector in zip(clients, a @ after, strict=True):  # (1)
                mixed[client] |= shaped(vector, trunks[client], layer)
        return Stitched(trunks, mixed, shift)

    def _start(self, count: int) -> Tensor:
        even = torch.full((count, count), self.mix / count, dtype=torch.float64)
        return even + (1 - self.mix) * torch.eye(count, dtype=torch.float64)

    def personal_params(self, down: Payload, private: Params) -> Params:
        return {**down["trunk"], **private}

    def diagnostics(self, server: Stitched) -> dict[str, Tensor]:
        """The mean of A over layers, [K, K]."""
        return {"mix": self._start(len(server.trunks)) + torch.stack([*server.shift.values()]).mean(0)}

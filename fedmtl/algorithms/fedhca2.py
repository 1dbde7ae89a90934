"""FedHCA2: each client's model takes up, by weights that the server learns, what the others learnt.

    Lu, Huang, Yang, Sirejiding, Ding, Lu. CVPR 2024, Algorithm 1. arXiv:2311.13250

    w_k <- w_k − η ∇ f_k(w_k)                    epochs passes from w_k = (θ_k, φ_k); Δ_k its change       (1)
    α_k <- clip01(α_k + ζ ⟨U_k, Δ_k⟩)            on the server, from here on; over θ; U_k the last round's (2)
    β_k <- clip01(β_k + ζ ⟨A_k, Δ_k⟩)            for each layer of φ_k, all its tensors; A_k the last's    (3)
    U   <- CAGrad of the cohort's Δ_k            over θ, weighted alike                                    (4)
    A_k <- softmax(Δ_k Δᵀ / √d) Δ                for each tensor of φ_k, of d numbers                      (5)
    θ_k <- θ_k + Δ_k + α_k U                                                                               (6)
    φ_k <- φ_k + Δ_k + β_k A_k                                                                             (7)

A layer is what has one name but for its last part, so weight and bias share a β, as in the authors' code
(github.com/innovator-zero/FedHCA2, models/hyperweight.py). That code divides U by 1 + c²; (4) does not, as CAGrad's
paper does not: with α_k < 1 this factor is α_k's.

(2) and (3) are gradient steps on the sum of the clients' losses after (6) and (7), with −Δ_k for the gradient there. In
(5), Δ has a row for each head's tensor in the cohort of equal name within its head, and shape. U_k and A_k begin at 0.

Down: w_k.  Up: w_k.  Private: nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fedmtl.algorithms.common.attention import attention
from fedmtl.algorithms.common.by_client import ascending, received
from fedmtl.algorithms.common.checks import check_descent, check_strength
from fedmtl.algorithms.common.client_rows import flat, shaped
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.common.stitching import layer_of
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.buffers import trainable
from fedmtl.core.context import Context
from fedmtl.core.trees import select, zeros_like
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.optimizers import SGD, Optimizer
from fedmtl.weightings.common.surgery import cagrad


class HCAClient(NamedTuple):
    """The server's state of a client: α_k is a scalar, β_k one for each layer of the heads."""

    model: Params
    alpha: Tensor
    beta: Params
    pull: Params
    """Factor of α_k and β_k in the client's last round: U_k, and A_k of each tensor of the heads."""


HCAClients = Mapping[str, HCAClient]
"""By ``str(client)``."""


@dataclass(frozen=True)
class FedHCA2:
    """α = β = ζ = 0 is Local, bit for bit."""

    traits = Traits(
        sends=Sends(down="model", up="model", private="nothing", down_note="its own"),
        technique="conflict of tasks",
        independent_heads=True,
        equal_trunks=True,
        register_clients=True,
        diagnostics=True,
    )

    lr: float = 0.05
    """η."""
    epochs: int = 5
    c: float = 0.4
    """CAGrad's c: largest distance of U from the mean, in lengths of the mean."""
    alpha: float = 0.1
    """The first α_k of every client."""
    beta: float = 0.1
    """The first β_k of every client."""
    hyper_lr: float = 0.01
    """ζ."""
    optimizer: Optimizer = SGD()
    """Client optimizer."""

    def __post_init__(self) -> None:
        check_descent(self, self.lr, self.epochs, self.optimizer)
        check_strength(self, c=self.c, alpha=self.alpha, beta=self.beta, hyper_lr=self.hyper_lr)

    def init_server(self, params: Params, ctx: Context) -> HCAClients:
        return {}

    def register_clients(self, server: HCAClients, owned: Mapping[ClientId, Params]) -> HCAClients:
        alpha, beta = torch.tensor(float(self.alpha)), torch.tensor(float(self.beta))
        layers = {k: {layer_of(name): beta for name in select(w, "head.")} for k, w in owned.items()}
        return {str(k): HCAClient(w, alpha, layers[k], zeros_like(trainable(w))) for k, w in owned.items()}

    def init_client(self, params: Params, num_examples: int) -> None:
        return None

    def broadcast(self, server: HCAClients, client: ClientId, ctx: Context) -> Payload:
        return {"model": server[str(client)].model}

    def local_update(
        self, loss: LossFn, down: Payload, private: None, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[None]:
        w = sgd(loss, down["model"], batches, self.lr, self.epochs, self.optimizer, ctx=ctx)  # (1)
        return LocalResult(None, Upload({"model": w}, num_examples(batches)))

    def aggregate(self, server: HCAClients, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> HCAClients:
        sent = received(self, uploads, "model")
        deltas = {k: {name: w[name] - server[k].model[name] for name in trainable(w)} for k, w in sent.items()}
        kept, trunks = dict(server), [select(delta, "trunk.") for delta in deltas.values()]
        update = shaped(cagrad(flat(trunks), np.full(len(sent), 1 / len(sent)), self.c), trunks[0])  # (4)
        asked = attention({(k, name): d for k in sent for name, d in select(deltas[k], "head.").items()})  # (5)
        for k, w in sent.items():
            old, delta = server[k], deltas[k]
            gain = {name: (old.pull[name] * delta[name]).sum() for name in delta}
            rise = torch.stack([torch.zeros(()), *select(gain, "trunk.").values()]).sum()
            alpha = (old.alpha + self.hyper_lr * rise).clamp(0, 1).to(old.alpha)  # (2)
            rises = {layer: [g for n, g in gain.items() if layer_of(n) == layer] for layer in old.beta}
            beta = {n: (b + self.hyper_lr * sum(rises[n])).clamp(0, 1).to(b) for n, b in old.beta.items()}  # (3)
            pull = {name: update[name] if name in update else asked[k, name] for name in delta}
            moved = {n: w[n] + beta.get(layer_of(n), alpha) * pull[n] for n in delta}  # (6), (7)
            kept[k] = HCAClient({**w, **moved}, alpha, beta, pull)
        return kept

    def personal_params(self, down: Payload, private: None) -> Params:
        return down["model"]

    def diagnostics(self, server: HCAClients) -> dict[str, Tensor]:
        """``alpha`` and ``beta``, the mean over a client's heads, [K] each."""
        clients = ascending(server).values()
        beta = [torch.stack([*client.beta.values()]).mean() for client in clients if client.beta]
        alpha = torch.stack([client.alpha for client in clients])
        return {"alpha": alpha, "beta": torch.stack(beta)} if len(beta) == len(clients) else {"alpha": alpha}

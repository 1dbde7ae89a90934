"""SCAFFOLD: control variates take the clients' drift out of FedAvg.

    Karimireddy, Kale, Mohri, Reddi, Stich, Suresh. ICML 2020, Algorithm 1, option II. arXiv:1910.06378

    y_k  <- y_k − η (∇f_k(y_k) − c_k + c)            epochs passes, K steps, from y_k = x         (1)
    c_k⁺  = c_k − c + (x − y_k) / (K η)              the mean gradient on the way                 (2)
    x    <- x + η_g 1/|S| Σ (y_k − x)                on the server, a plain mean of the cohort    (3)
    c    <- c + 1/N Σ (c_k⁺ − c_k)                   over the cohort, of N clients in all         (4)

K counts batches that hold an example; c and c_k start at 0. Of a head, N and S are the clients that own it. Buffers
have no c, and x takes their mean.

Down: x and c.  Up: y_k and c_k⁺ − c_k.  Private: c_k, though the server could add it up from the changes.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fedmtl.algorithms.common.checks import check_epochs, check_lr
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.buffers import towards, trainable
from fedmtl.core.context import Context
from fedmtl.core.trees import weighted_mean, zeros_like
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload


class Controls(NamedTuple):
    """State of the server."""

    model: Params
    """x."""
    control: Params
    """c."""
    owners: Tensor
    """N of each parameter, in the order of c."""


@dataclass(frozen=True)
class Scaffold:
    """With all clients and exact gradients it ends at the optimum of 1/N Σ f_k, however many local steps it takes.

    It has no field ``optimizer``: in (2), (x − y_k) / (Kη) is a mean of gradients after plain steps alone.
    """

    traits = Traits(
        sends=Sends(
            down="model",
            up="model",
            private="model",
            down_note="and control variate",
            up_note="and change of control variate",
            private_note="a control variate of its shape",
        ),
        technique="federated learning",
        uniform_broadcast=True,
        independent_heads=True,
        counts_clients_only=True,
        needs_every_upload=(
            "the server's c and the mean of the clients' c_k would part, changes never being sent again, and it would "
            "end beside the optimum by as much"
        ),
        register_clients=True,
    )

    lr: float = 0.05
    """η."""
    epochs: int = 5
    server_lr: float = 1.0
    """η_g."""

    def __post_init__(self) -> None:
        check_lr(self, lr=self.lr, server_lr=self.server_lr)
        check_epochs(self, epochs=self.epochs)

    def init_server(self, params: Params, ctx: Context) -> Controls:
        zeros = zeros_like(trainable(params))
        return Controls(dict(params), zeros, torch.zeros(len(zeros), dtype=torch.int64))

    def register_clients(self, server: Controls, owned: Mapping[ClientId, Params]) -> Controls:
        return server._replace(owners=torch.tensor([sum(n in w for w in owned.values()) for n in server.control]))

    def init_client(self, params: Params, num_examples: int) -> Params:
        return zeros_like(trainable(params))

    def broadcast(self, server: Controls, client: ClientId, ctx: Context) -> Payload:
        return {"model": server.model, "control": server.control}

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        x, c, c_k = down["model"], down["control"], private

        def corrected(y: Params, batch: Batch) -> tuple[Tensor, Tensor]:
            """Its gradient is that of (1)."""
            f = loss(y, batch)
            return f + torch.stack([((c[name] - c_k[name]) * y[name]).sum() for name in c]).sum(), f

        y = sgd(corrected, x, batches, self.lr, self.epochs, ctx=ctx)  # (1)
        steps = self.epochs * torch.stack([batch["mask"].sum() > 0 for batch in batches]).sum()  # K
        change = {name: (x[name] - y[name]) / self.lr / steps - c[name] for name in c}  # (2)
        new = {name: c_k[name] + change[name] for name in c}
        return LocalResult(new, Upload({"model": y, "change": change}, num_examples(batches)))

    def aggregate(self, server: Controls, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Controls:
        sent = [upload.payload for _, upload in uploads]
        mean, change = (weighted_mean((payload[record], 1.0) for payload in sent) for record in ("model", "change"))
        model = towards(server.model, mean, self.server_lr)  # (3)
        cohort = Counter(name for payload in sent for name in payload["change"])
        owners = dict(zip(server.control, server.owners.tolist(), strict=True))
        control = {name: server.control[name] + cohort[name] / owners[name] * change[name] for name in change}  # (4)
        return server._replace(model={**server.model, **model}, control={**server.control, **control})

    def personal_params(self, down: Payload, private: Params) -> Params:
        return down["model"]

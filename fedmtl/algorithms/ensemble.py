"""Ensemble: every client learns alone, and predicts with the mean of all clients' predictions.

    Guha, Talwalkar, Smith. One-Shot Federated Learning. 2019. arXiv:1902.11175

    w_k      <- w_k − η ∇ f_k(w_k)                 epochs passes from its own w_k                              (1)
    W_k      <- w_k                                on the server, of each client that has sent a model         (2)
    a_kt      = 1 if the server has W_k, with a head of task t, else 0                                         (3)
    p_t(y|x)  = Σ_k a_kt p(y | x; W_k) / Σ_k a_kt  every client's prediction of task t                         (4)

(4) is the ``mixed`` of each kind of task; of a Regression it is the mean of the numbers. All losses here are convex in
the prediction, so the ensemble's is at most the mean of its members'. For a task of no such model, as before
the first round, a client predicts with its own w_k.

One round of many epochs is the one-shot ensemble, each model uploaded once. In every round |w| goes up, and K|w| down
to each client, K being all clients: zeros stand for absent models and for heads that a member lacks. Uploads are
whole models and no differences, so a codec that drops numbers drops them from the member. A client that comes after
training predicts with (4) without a label.

Down: W_1 … W_K, and a.  Up: w_k.  Private: w_k.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fedmtl.algorithms.common.by_client import received
from fedmtl.algorithms.common.checks import check_descent
from fedmtl.algorithms.common.heads import tasks_of
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.context import Context
from fedmtl.core.trees import tree_map, tree_unstack
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.optimizers import SGD, Optimizer


class Members(NamedTuple):
    """The server's state."""

    clients: Tensor
    """All registered clients, ascending, [K]."""
    models: Params
    """W, each [K, …]."""
    present: Params
    """``present.<task>`` -> a_·t [K]."""


@dataclass(frozen=True)
class Ensemble:
    """With one client it is Local, bit for bit, in what that client learns."""

    traits = Traits(
        sends=Sends(
            down="model",
            up="model",
            private="model",
            down_extra=("present.*",),
            private_sent=True,
            down_note="of each client",
        ),
        technique="ensemble learning",
        uniform_broadcast=True,
        broadcast_lists_clients=True,
        named_heads=True,
        register_clients=True,
        mixture=True,
        several_models=True,
    )

    lr: float = 0.05
    """η."""
    epochs: int = 5
    optimizer: Optimizer = SGD()
    """Client optimizer."""

    def __post_init__(self) -> None:
        check_descent(self, self.lr, self.epochs, self.optimizer)

    def init_server(self, params: Params, ctx: Context) -> Members:
        present = {f"present.{task}": torch.zeros(0) for task in tasks_of(params)}
        models = {name: value.new_zeros(0, *value.shape) for name, value in params.items()}
        return Members(torch.zeros(0, dtype=torch.int64), models, present)

    def register_clients(self, server: Members, owned: Mapping[ClientId, Params]) -> Members:
        blank = tree_map(lambda w: torch.zeros((), dtype=w.dtype).expand(len(owned), *w.shape[1:]), server)  # no memory
        return blank._replace(clients=torch.tensor([*owned]))

    def init_client(self, params: Params, num_examples: int) -> Params:
        return dict(params)

    def broadcast(self, server: Members, client: ClientId, ctx: Context) -> Payload:
        return {"present": server.present, "models": server.models}

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        w = sgd(loss, private, batches, self.lr, self.epochs, self.optimizer, ctx=ctx)  # (1)
        return LocalResult(w, Upload({"model": w}, num_examples(batches)))

    def aggregate(self, server: Members, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Members:
        new = tree_map(lambda stack: stack.clone(memory_format=torch.contiguous_format), server)
        for client, w in received(self, uploads, "model").items():
            k = torch.searchsorted(server.clients, int(client))
            for name, value in w.items():
                new.models[name][k] = value  # (2)
            for task in tasks_of(w):
                new.present[f"present.{task}"][k] = 1  # (3)
        return new

    def mixture(self, down: Payload, private: Params) -> tuple[list[Params], dict[str, Tensor]]:
        weights = {}
        for name, flags in down["present"].items():
            a = flags > 0.5  # 0 or 1, but for what a codec makes of them
            v = torch.cat([a, ~a.any()[None]]).float()  # the last is one's own, for a task of no model
            weights[name.removeprefix("present.")] = v / v.sum()  # (4)
        return [*tree_unstack(down["models"]), private], weights

    def sent_models(self, down: Payload, private: Params) -> list[Params]:
        return tree_unstack(down["models"])

    def newcomer_weights(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], steps: int
    ) -> dict[str, Tensor]:
        present = {name.removeprefix("present."): (flags > 0.5).float() for name, flags in down["present"].items()}
        some = {task: torch.where(a.sum() > 0, a, torch.ones(())) for task, a in present.items()}  # absent ones are 0
        return {task: a / a.sum() for task, a in some.items()}  # (4)

    def personal_params(self, down: Payload, private: Params) -> Params:
        return private

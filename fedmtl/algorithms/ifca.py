"""IFCA: K models for K clusters of clients; each client trains the model that fits its data best.

    Ghosh, Chung, Yin, Ramchandran. NeurIPS 2020, Algorithm 1 with model averaging. arXiv:2006.04088

    j_k  = argmin_j f_k(w_j)                                the client's choice               (1)
    v_k <- v_k − η ∇ f_k(v_k)                               epochs passes from w_{j_k}        (2)
    w_j <- Σ_{j_k = j} n_k v_k / Σ_{j_k = j} n_k            on the server                     (3)

At first w_0 is the initial model and the others differ from it by noise, else they would stay equal: see
``perturbed_copies``. A model that no client chose stays. The mean of the paper has equal weights; here it has FedAvg's.

Each client receives the models in a circle that begins with the one it chose last: it predicts with that one, and under
lossy codecs v_k travels as the difference to it. The choice goes up as a row of K numbers, of which the largest counts.
A client that comes after training begins with (1).

Down: all w_j.  Up: v_k, and the choice.  Private: nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fedmtl.algorithms.common.by_client import ascending
from fedmtl.algorithms.common.checks import check_count, check_descent, check_strength
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.common.perturbed_copies import perturbed_copies, pick
from fedmtl.algorithms.common.training_loss import total_loss
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.context import Context
from fedmtl.core.trees import tree_stack, weighted_mean
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.optimizers import SGD, Optimizer


class Clusters(NamedTuple):
    """The server's state."""

    models: tuple[Params, ...]
    """w_j."""
    chosen: Mapping[str, Tensor]
    """str(client) -> j_k, a scalar; 0 until it has chosen."""


@dataclass(frozen=True)
class IFCA:
    """One cluster is FedAvg, bit for bit."""

    traits = Traits(
        sends=Sends(down="model", up="model", private="nothing", up_extra=("turn",), down_note="of each cluster"),
        technique="similarity measure",
        independent_heads=True,
        register_clients=True,
        diagnostics=True,
        several_models=True,
    )

    lr: float = 0.05
    """η."""
    epochs: int = 1
    clusters: int = 2
    """K."""
    spread: float = 0.1
    """Distance between the models at first, relative to their size. The noise follows the experiment's seed."""
    optimizer: Optimizer = SGD()
    """Client optimizer."""

    def __post_init__(self) -> None:
        check_descent(self, self.lr, self.epochs, self.optimizer)
        check_count(self, clusters=self.clusters)
        check_strength(self, spread=self.spread)

    def init_server(self, params: Params, ctx: Context) -> Clusters:
        return Clusters(tuple(perturbed_copies(params, self.clusters, self.spread, ctx)), {})

    def register_clients(self, server: Clusters, owned: Mapping[ClientId, Params]) -> Clusters:
        return server._replace(chosen={str(client): torch.zeros(()) for client in owned})

    def init_client(self, params: Params, num_examples: int) -> None:
        return None

    def broadcast(self, server: Clusters, client: ClientId, ctx: Context) -> Payload:
        first, count = int(server.chosen[str(client)]), len(server.models)
        circle = [server.models[(first + turn) % count] for turn in range(count)]
        return dict(zip(_records(count), circle, strict=True))

    def local_update(
        self, loss: LossFn, down: Payload, private: None, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[None]:
        models = self.sent_models(down, private)
        best, choice = _choose(loss, models, batches)  # (1)
        w = sgd(loss, pick(tree_stack(models), best), batches, self.lr, self.epochs, self.optimizer, ctx=ctx)  # (2)
        return LocalResult(None, Upload({"model": w, "choice": {"turn": choice}}, num_examples(batches)))

    def aggregate(self, server: Clusters, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Clusters:
        chosen, members = dict(server.chosen), [[] for _ in server.models]
        for client, upload in uploads:
            turn = upload.payload["choice"]["turn"].argmax()
            chosen[str(client)] = (chosen[str(client)] + turn) % len(members)
            members[int(chosen[str(client)])].append((upload.payload["model"], upload.num_examples))
        if not any(members):
            raise ValueError("IFCA needs at least one client, got none; no cluster has moved.")
        means = [weighted_mean(pairs) if pairs else {} for pairs in members]  # (3)
        return Clusters(tuple({**w, **mean} for w, mean in zip(server.models, means, strict=True)), chosen)

    def diagnostics(self, server: Clusters) -> dict[str, Tensor]:
        """j_k [K]: in which cluster each client is."""
        return {"cluster": torch.stack([*ascending(server.chosen).values()])}

    def sent_models(self, down: Payload, private: None) -> list[Params]:
        return [down[record] for record in _records(len(down))]

    def newcomer_weights(
        self, loss: LossFn, down: Payload, private: None, batches: Sequence[Batch], steps: int
    ) -> Tensor:
        return _choose(loss, self.sent_models(down, private), batches)[1]  # (1)

    def personal_params(self, down: Payload, private: None) -> Params:
        return down["model"]


def _choose(loss: LossFn, models: Sequence[Params], batches: Sequence[Batch]) -> tuple[Tensor, Tensor]:
    """The number of the model of least loss, and a row that is 1 there."""
    best = torch.stack([total_loss(loss, w, batches) for w in models]).argmin()
    return best, (torch.arange(len(models), device=best.device) == best).float()


def _records(count: int) -> list[str]:
    """The records of a broadcast, in the order of the circle; "model" is the client's own."""
    return ["model", *[f"other{turn}" for turn in range(1, count)]]

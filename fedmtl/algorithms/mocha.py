"""MOCHA: linear tasks and their covariance, learnt in the dual.

    Smith, Chiang, Sanjabi, Talwalkar. NeurIPS 2017, Algorithm 1. arXiv:1705.10467

Every task of every client is a row t: n_t examples x_i with y_i = ±1, a model w_t, a dual number α_i for each example.

    P(W) = Σ_t 1/n_t Σ_i max(0, 1 − y_i x_iᵀw_t) + λ/2 tr(Wᵀ Σ⁻¹ W)      to be minimised, W = [w_1, …]ᵀ         (1)
    b_t  = 1/n_t Σ_i α_i x_i,     W = Σ B / λ                               at the dual's optimum                    (2)

    α_i <- y_i clip₀₁(y_i α_i + λ n_t (1 − y_i x_iᵀ(w_t + ρ Σ_tt Δb_t / λ)) / (ρ Σ_tt ‖x_i‖²))                     (3)
           example after example, epochs passes
    B   <- B + ΔB                                                           on the server                            (4)
    Σ   <- (1 − κ) (WWᵀ)^½ / tr (WWᵀ)^½ + κ I / T                       every sigma_every rounds, first I / T     (5)
    W   <- Σ B / λ                                                          again, or (2) would not hold             (6)
    ρ   <- max_t Σ_s |Σ_ts| / Σ_tt                                          so that rounds of all at once are safe   (7)

κ = 0 is the paper, whose W goes to the minimum of (1) with ‖W‖²_*, the squared trace norm, for the trace. But what
W lacks when Σ is learnt, Σ lacks for ever: a direction, or a client that has not trained yet. κ > 0 keeps it open.
Short runs stay above this optimum: 29 landmine fields, λ = .1, one pass a round: 30 rounds end at +2.1 % with κ = .001
and +.9 % with κ = .05; 100 rounds at +1.9 % and +.2 %.

Down: w_t, ρΣ_tt.  Up: Δb_t.  Private: α.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fedmtl.algorithms.common.by_client import received
from fedmtl.algorithms.common.checks import check_count, check_epochs, check_fraction, check_positive
from fedmtl.algorithms.common.local_training import num_examples
from fedmtl.algorithms.common.sdca import PARTED, ascend, by_task, covariance, rows
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.context import Context
from fedmtl.core.trees import zeros_like
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload


class Related(NamedTuple):
    """The server's state; rows of Σ are the tasks of the first client, then those of the second, …"""

    b: Mapping[str, Params]
    w: Mapping[str, Params]
    scale: Mapping[str, Params]
    """ρΣ_tt."""
    sigma: Tensor


@dataclass(frozen=True)
class Mocha:
    """For the model Linear(intercept=False) and binary tasks; its loss is the hinge, whatever the tasks' is."""

    traits = Traits(
        sends=Sends(
            down="heads",
            up="heads",
            private="heads",
            down_note="linear model and its strength",
            up_note="change of the model",
            private_note="in their place a dual number an example",
        ),
        technique="similarity measure",
        needs_every_upload=PARTED,
        register_clients=True,
        diagnostics=True,
    )

    lam: float = 0.1
    """λ."""
    epochs: int = 1
    """Passes over the data in one round: the less exact the local solution, the fewer."""
    sigma_every: int = 1
    """Rounds from one Σ to the next; more than there are rounds keeps Σ = I / T, tasks that have nothing in common."""
    floor: float = 0.001
    """κ."""

    def __post_init__(self) -> None:
        check_positive(self, lam=self.lam)
        check_epochs(self, epochs=self.epochs)
        check_count(self, sigma_every=self.sigma_every)
        check_fraction(self, floor=self.floor)

    def init_server(self, params: Params, ctx: Context) -> Related:
        """Return the state of no client; refuse a model with a trunk to learn, an intercept or several outputs."""
        wrong = [n for n, w in params.items() if not (n.startswith("head.") and n.endswith(".weight") and len(w) == 1)]
        if wrong:
            raise ValueError(f"Mocha needs the model Linear(intercept=False) and binary tasks, got {', '.join(wrong)}.")
        return Related({}, {}, {}, next(iter(params.values())).new_zeros(0, 0))

    def register_clients(self, server: Related, owned: Mapping[ClientId, Params]) -> Related:
        b = {str(client): zeros_like(params) for client, params in owned.items()}
        count = sum(map(len, b.values()))
        scale = server.sigma.new_full((), 1 / count)  # ρ = 1
        scales = {one: dict.fromkeys(heads, scale) for one, heads in b.items()}
        return Related(b, b, scales, torch.eye(count, dtype=scale.dtype) / count)

    def init_client(self, params: Params, num_examples: int) -> Params:
        return {name: value.new_zeros(num_examples) for name, value in params.items()}

    def broadcast(self, server: Related, client: ClientId, ctx: Context) -> Payload:
        return {"w": server.w[str(client)], "scale": server.scale[str(client)]}

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        dual, delta = dict[str, Tensor](), dict[str, Tensor]()
        for name, w in down["w"].items():
            label = "y." + name.removeprefix("head.").removesuffix(".weight")
            own = down["scale"][name], private[name]
            dual[name], delta[name] = ascend(w, *own, batches, label, self.lam, self.epochs)
        return LocalResult(dual, Upload({"delta": delta}, num_examples(batches)))

    def aggregate(self, server: Related, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Related:
        b, sigma = dict(server.b), server.sigma
        for client, delta in received(self, uploads, "delta").items():
            b[client] = {name: old + delta[name] for name, old in b[client].items()}  # (4)
        if (int(ctx.round) + 1) % self.sigma_every == 0:
            sigma = covariance(sigma @ rows(b), sigma, self.floor)  # (5), of λW, which is the same
        w = sigma @ rows(b) / self.lam  # (6)
        rho = (sigma.abs().sum(1) / sigma.diagonal().clamp(min=torch.finfo(sigma.dtype).tiny)).max()  # (7)
        return Related(b, by_task(w, b), by_task(rho * sigma.diagonal(), server.scale), sigma)

    def personal_params(self, down: Payload, private: Params) -> Params:
        return down["w"]

    def diagnostics(self, server: Related) -> dict[str, Tensor]:
        """Σ; a client with several tasks has as many rows, in order of their names."""
        return {"covariance": server.sigma}

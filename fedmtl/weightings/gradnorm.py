"""GradNorm: weights that are trained until all tasks learn at like rates.

    Chen, Badrinarayanan, Lee, Rabinovich. ICML 2018, Algorithm 1. arXiv:1711.02257

    G_t = ‖w_t g_t‖,   Ḡ = mean_t G_t,   r_t = (L_t / L_t(0)) / mean_s (L_s / L_s(0))          (1)
    w_t descends on L_grad = Σ |G_t − Ḡ r_t^α|, with Ḡ r_t^α held:  ∂/∂w_t = ± ‖g_t‖          (2)
    model parameters descend on Σ w_t L_t / T, with w held                                     (3)
    w_t <- T max(w_t, ε) / Σ_s max(w_s, ε)      after each step                                (4)

So (2) is a step from w itself, and renormalising is a step of its own which no slope goes through. L_t(0) is the mean
over the client's data when its first round begins. The paper does not say what becomes of a weight that its step would
make negative; here ε = 1e-6 catches it in (4), after the step: its slope stays ‖g_t‖ in full, and takes it up
again from the next step on, G_t being below its aim.

Where the client's optimizer is not SGD, it makes the steps of (2) too.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fedmtl.core.types import Batch, Params, TaskSet
from fedmtl.weightings.base import Each, task_gradients
from fedmtl.weightings.traits import WeightingTraits

FLOOR = 1e-6
"""ε."""


@dataclass(frozen=True)
class GradNorm:
    """w_t is ``head.<task>.weight_of_loss``. The paper uses alpha of 0.12 to 1.5."""

    traits = WeightingTraits(retract=True)

    alpha: float = 1.0
    """α: 0 makes all gradients equally long."""

    def __post_init__(self) -> None:
        if not 0 <= self.alpha < float("inf"):
            raise ValueError(f"GradNorm needs a finite alpha of 0 or more, got alpha={self.alpha!r}.")

    def init_params(self, tasks: TaskSet) -> dict[str, Tensor]:
        return {f"head.{task}.weight_of_loss": torch.ones(()) for task in tasks}

    def init_state(self, tasks: TaskSet) -> Tensor:
        return torch.zeros(len(tasks))

    def update_state(self, state: Tensor, losses: Tensor) -> Tensor:
        return torch.where(state > 0, state, losses.to(state))

    def combine(self, each: Each, params: Params, batch: Batch, state: Tensor) -> Tensor:
        w = torch.stack([params[name] for name in _weights(params)])
        losses = each(params, batch)
        lengths = w * task_gradients(each, params, batch).norm(dim=1)
        rates = losses.detach() / torch.where(state > 0, state, 1.0)
        r = rates / rates.mean().clamp(min=1e-12)  # (1)
        aim = (lengths.mean() * r**self.alpha).detach()
        return (w.detach() * losses).mean() + (lengths - aim).abs().sum()  # (3), (2)

    def retract(self, params: Params) -> dict[str, Tensor]:
        names = _weights(params)
        if not names:
            return {}
        w = torch.stack([params[name] for name in names]).clamp(min=FLOOR)
        return dict(zip(names, (w / w.mean(0)).unbind(), strict=True))  # (4)


def _weights(params: Params) -> list[str]:
    """Names of w, in order of their tasks."""
    return sorted([name for name in params if name.endswith(".weight_of_loss")], key=lambda name: name.split(".")[1])

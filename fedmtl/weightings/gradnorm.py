"""GradNorm: weights that are trained until all tasks learn at like rates.

    Chen, Badrinarayanan, Lee, Rabinovich. ICML 2018, Algorithm 1. arXiv:1711.02257

    G_t = ‖w_t g_t‖,   Ḡ = mean_t G_t,   r_t = (L_t / L_t(0)) / mean_s (L_s / L_s(0))          (1)
    w_t descends on Σ |G_t − Ḡ r_t^α|, with Ḡ r_t^α held                                       (2)
    model parameters descend on Σ w_t L_t / T                                                  (3)

The paper makes Σ w_t = T again after each step; here (1) and (3) use T w_t / Σ w_s, to the same end. L_t(0) is the mean
over the client's data when its first round begins.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fedmtl.types import Batch, Params, TaskSet
from fedmtl.weightings.base import Each, task_gradients


@dataclass(frozen=True)
class GradNorm:
    """w_t is ``head.<task>.weight_of_loss``. The paper uses alpha of 0.12 to 1.5."""

    alpha: float = 1.0
    """α: 0 makes all gradients equally long."""

    def __post_init__(self) -> None:
        if not 0 <= self.alpha < float("inf"):
            raise ValueError(f"GradNorm needs a finite alpha of 0 or more, got alpha={self.alpha!r}.")

    def learnt(self, tasks: TaskSet) -> dict[str, Tensor]:
        return {f"head.{task}.weight_of_loss": torch.ones(()) for task in tasks}

    def first(self, tasks: TaskSet) -> Tensor:
        return torch.zeros(len(tasks))

    def remember(self, memory: Tensor, losses: Tensor) -> Tensor:
        return torch.where(memory > 0, memory, losses.to(memory))

    def objective(self, each: Each, params: Params, batch: Batch, memory: Tensor) -> Tensor:
        own = torch.stack([params[name] for name in sorted(params) if name.endswith(".weight_of_loss")]).clamp(min=1e-3)
        w = own / own.mean()
        losses = each(params, batch)
        lengths = w * task_gradients(each, params, batch).norm(dim=1)
        rates = losses.detach() / torch.where(memory > 0, memory, 1.0)
        r = rates / rates.mean().clamp(min=1e-12)  # (1)
        aim = (lengths.mean() * r**self.alpha).detach()
        return (w.detach() * losses).mean() + (lengths - aim).abs().sum()  # (3), (2)

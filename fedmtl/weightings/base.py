"""The protocol of weightings, and the words and letters of their files.

L_t   loss of task t on a batch, t of the T tasks that a client owns
g_t   ∇_θ L_t, the task's gradient in the shared trunk
λ_t   its weight; equal weights are 1/T, so that the objective is the mean over tasks

Weights that depend on gradients are numbers by the time that the objective is differentiated: the gradient of
Σ λ_t L_t is then Σ λ_t g_t, whatever λ was computed from.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.func import jacrev

from fedmtl.core.buffers import trainable
from fedmtl.core.trees import select
from fedmtl.core.types import Batch, Params, TaskSet
from fedmtl.weightings.traits import WeightingTraits

Each = Callable[[Params, Batch], Tensor]
"""(parameters, batch) -> the tasks' losses, [T]."""


class Weighting(Protocol):
    """A client's weights for the losses of its tasks. Pure, and fit for ``torch.vmap``, as algorithms are.

    ``traits`` declares whether there is the optional method ``retract``, see ``WeightingTraits``.
    """

    @property
    def traits(self) -> WeightingTraits:
        """A class attribute, ``traits = WeightingTraits()``, or a property."""
        ...

    def init_params(self, tasks: TaskSet) -> Mapping[str, Tensor]:
        """Return parameters that are trained with the model, named ``head.<task>.…`` and as private as a head."""
        ...

    def init_state(self, tasks: TaskSet) -> Any:
        """Return the state of a client before its first round: a tree of tensors."""
        ...

    def update_state(self, state: Any, losses: Tensor) -> Any:
        """Return the state for a round that begins with these losses [T], means over the client's data."""
        ...

    def combine(self, each: Each, params: Params, batch: Batch, state: Any) -> Tensor:
        """Return the objective that is differentiated instead of the mean over tasks."""
        ...


def task_gradients(each: Each, params: Params, batch: Batch) -> Tensor:
    """g_t as numbers, [T, size of the trunk], names in order, without buffers, which have no gradient.

    Raises:
        ValueError: a trunk without parameters that learn.
    """
    fixed = {name: value.detach() for name, value in params.items()}
    trunk = trainable(select(fixed, "trunk."))
    if not trunk:
        raise ValueError(
            "This weighting compares tasks by their gradients in the trunk, and the model's trunk has no parameter; "
            "take Equal(), Uncertainty() or DWA(), or a model whose trunk learns."
        )

    def losses(theta: Params) -> Tensor:
        return each({**fixed, **theta}, batch)

    rows = jacrev(losses)(trunk)
    return torch.cat([rows[name].reshape(len(rows[name]), -1) for name in sorted(trunk)], dim=1).detach()


def steered(each: Each, params: Params, batch: Batch, weights: Tensor) -> Tensor:
    """An objective whose gradient is Σ weights_t g_t in the trunk, and in the heads that of the mean over tasks."""
    trunk, rest = select(params, "trunk."), {n: v for n, v in params.items() if not n.startswith("trunk.")}
    still = {name: value.detach() for name, value in trunk.items()}
    fixed = {name: value.detach() for name, value in rest.items()}
    return (weights.detach() * each({**trunk, **fixed}, batch)).sum() + each({**still, **rest}, batch).mean()

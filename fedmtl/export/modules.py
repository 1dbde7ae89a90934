"""Clients' models as modules: the network with the client's numbers, or several networks and their weights."""

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fedmtl.algorithms.base import Weights
from fedmtl.core.types import Params, TaskSet
from fedmtl.models.adapters import Adapters, held
from fedmtl.models.split_model import SplitModel
from fedmtl.tasks.base import Task


def module_of(module: SplitModel, owned: TaskSet, params: Params) -> SplitModel:
    """Return a copy of the network with the heads of some tasks and some numbers, in evaluation mode.

    A running variance that a lossy codec left below 0 is 0, as it is where a run measures. Adapters are part of the
    weights that they update.
    """
    made = copy.deepcopy(module.restricted(owned)).eval()
    if made.adapters.weights:
        params = made.adapters.applied(params, partial(held, made))
        made.adapters.removed(made)
        made.adapters = Adapters()
    own = {**dict(made.named_parameters()), **dict(made.named_buffers())}
    with torch.no_grad():
        for name, value in params.items():
            if name in own:
                own[name].copy_(value.clamp(min=0) if name.endswith("running_var") else value)
    return made


class ModelMixture(nn.Module):
    """Several models of one client and their weights: the output whose prediction is the weighted mean of theirs.

    Args:
        models: of the client, each with all of its tasks.
        weights: [M] for each task, or for all.
        tasks: name -> task, of the client, each with ``mixed``.
    """

    def __init__(self, models: Sequence[SplitModel], weights: Weights, tasks: Mapping[str, Task]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self._tasks: dict[str, Any] = dict(tasks)
        for task in tasks:
            value = weights[task] if isinstance(weights, Mapping) else weights
            self.register_buffer(f"weights_{task}", value.detach().clone())

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        each = [model(x) for model in self.models]
        return {
            name: task.mixed(torch.stack([outputs[name] for outputs in each]), self._buffers[f"weights_{name}"])
            for name, task in self._tasks.items()
        }

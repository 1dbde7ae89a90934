"""A model and tasks become one module and pure functions of its parameters."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from fedmtl.core.random import float32_default
from fedmtl.core.types import Batch, Params, TaskSet
from fedmtl.models.base import Model
from fedmtl.models.check import Unfit, check_gradient, example, freeze, run
from fedmtl.models.parts import check_own, make_head, make_trunk
from fedmtl.tasks.base import Task


class SplitModel(nn.Module):
    """A trunk and a head for each of some tasks: parameters ``trunk.…`` and ``head.<task>.…``."""

    def __init__(self, trunk: nn.Module, heads: Mapping[str, nn.Module], integer_inputs: bool = False) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.ModuleDict(heads)
        self.integer_inputs = integer_inputs
        """Inputs are int64, such as tokens; else they are float32."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.trunk(x)
        return {task: head(features) for task, head in self.head.items()}


def build(
    model: Model, input_shape: tuple[int, ...], tasks: Mapping[str, Task], seed: int, integer_inputs: bool
) -> SplitModel:
    """The whole model, its first parameters drawn from ``seed``: a head's do not depend on which others exist.

    Parameters that ask for no gradient become buffers: they stay as they are, and are never sent. Models are float32,
    whatever torch's default type.

    Args:
        model: the recipe.
        input_shape: of one example.
        tasks: name -> task.
        seed: of the experiment.
        integer_inputs: whether the data are whole numbers. A model that cannot take them takes float32 instead.

    Raises:
        ValueError: a trunk that does not give flat features, a head whose output does not fit its task, parameters that
            are not float32, modules that are no pure functions of their parameters, row by row.
    """
    if not integer_inputs:
        return _build(model, input_shape, tasks, seed, torch.float32)
    try:
        return _build(model, input_shape, tasks, seed, torch.int64)
    except Unfit as first:
        try:
            return _build(model, input_shape, tasks, seed, torch.float32)
        except Unfit as second:
            raise (first if "indices" in str(second) else second) from None


def _build(
    model: Model, input_shape: tuple[int, ...], tasks: Mapping[str, Task], seed: int, kind: torch.dtype
) -> SplitModel:
    with float32_default():
        trunk, features = make_trunk(model, input_shape, seed, kind)
        heads = {name: make_head(model, name, task, features, seed) for name, task in sorted(tasks.items())}
        check_own(model, trunk, heads)
        module = SplitModel(trunk, heads, kind == torch.int64)
        freeze(module)
        if next(module.parameters(), None) is None:
            raise ValueError(
                f"{model!r} has no parameter to learn; give its trunk or its heads some that are not frozen."
            )
        _check_gradient(model, module, example(input_shape, kind))
        for part in module.modules():
            if isinstance(part, nn.RNNBase):
                # On a GPU torch would join the weights in memory at each call, which fails inside a transform, whose
                # tensors have no memory of their own, and is in vain, since every step has new weights.
                part.flatten_parameters = _keep_parameters
        return module


def _check_gradient(model: Model, module: SplitModel, x: Tensor) -> None:
    def total(params: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([output.sum() for output in functional_call(module, dict(params), (x,)).values()]).sum()

    check_gradient(repr(model), total, initial_params(module))


def _keep_parameters() -> None:
    """In place of a recurrent module's ``flatten_parameters``."""


def check_runs(name: str, trunk: nn.Module, x: Tensor) -> None:
    """Refuse inputs [B, …] on which the trunk fails.

    Raises:
        ValueError: it begins with ``name``.
    """
    run(name, "the trunk", trunk, x)


def initial_params(module: SplitModel) -> dict[str, Tensor]:
    """The module's parameters as a plain dict of detached copies."""
    return {name: value.detach().clone() for name, value in module.named_parameters()}


class TaskLoss:
    """The mean over a client's tasks of each task's mean loss over its labelled examples in the batch.

    A batch may say by ``owns`` [B, tasks], equal in all rows, which of the tasks are the client's; else all are.
    """

    def __init__(self, module: SplitModel, tasks: Mapping[str, Task], owned: TaskSet) -> None:
        self.tasks = owned
        self._kinds = tasks
        self._part = SplitModel(module.trunk, {task: module.head[task] for task in owned})

    def each(self, params: Params, batch: Batch) -> Tensor:
        """The tasks' losses one by one, [tasks], for who weighs them."""
        return torch.stack(self._losses(params, batch))

    def _losses(self, params: Params, batch: Batch) -> list[Tensor]:
        outputs = functional_call(self._part, dict(params), (batch["x"],))
        return [self._kinds[task].loss(outputs[task], batch[f"y.{task}"], batch["mask"]) for task in self.tasks]

    def __call__(self, params: Params, batch: Batch) -> Tensor:
        losses = self._losses(params, batch)
        if "owns" not in batch:  # the mean of one is that one, bit-identical, without the operations
            return torch.stack(losses).mean() if len(losses) > 1 else losses[0]
        losses = torch.stack(losses)
        owns = batch["owns"].amax(0)
        return (losses * owns).sum() / owns.sum().clamp(min=1)


def loss_fn(module: SplitModel, tasks: Mapping[str, Task], owned: TaskSet) -> TaskLoss:
    """A client's objective."""
    return TaskLoss(module, tasks, owned)


def sums_fn(
    module: SplitModel, tasks: Mapping[str, Task], owned: TaskSet
) -> Callable[[Params, Batch], dict[str, Tensor]]:
    """(parameters, batch) -> task -> the sums from which the task's metric is computed."""
    outputs_of = outputs_fn(module, owned)

    def sums(params: Params, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            outputs = outputs_of(params, batch)
            return {task: tasks[task].sums(outputs[task], batch[f"y.{task}"], batch["mask"]) for task in owned}

    return sums


def outputs_fn(module: SplitModel, owned: TaskSet) -> Callable[[Params, Batch], dict[str, Tensor]]:
    """(parameters, batch) -> task -> what its head gives, [B, outputs]."""
    part = SplitModel(module.trunk, {task: module.head[task] for task in owned})

    def outputs(params: Params, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            return functional_call(part, dict(params), (batch["x"],))

    return outputs


def mixed_sums_fn(
    module: SplitModel, tasks: Mapping[str, Task], owned: TaskSet
) -> Callable[[Sequence[Params], Mapping[str, Tensor] | Tensor, Batch], dict[str, Tensor]]:
    """(M models, their weights [M] for each task or for all, batch) -> what ``sums_fn`` gives, of their mixture.

    Raises:
        ValueError: a task that has no ``mixed``.
    """
    outputs_of = mixed_outputs_fn(module, tasks, owned)

    def sums(models: Sequence[Params], weights: Mapping[str, Tensor] | Tensor, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            outputs = outputs_of(models, weights, batch)
            return {task: tasks[task].sums(outputs[task], batch[f"y.{task}"], batch["mask"]) for task in owned}

    return sums


def mixed_outputs_fn(
    module: SplitModel, tasks: Mapping[str, Task], owned: TaskSet
) -> Callable[[Sequence[Params], Mapping[str, Tensor] | Tensor, Batch], dict[str, Tensor]]:
    """(M models, their weights, batch) -> what ``outputs_fn`` gives, of their mixture.

    Raises:
        ValueError: a task that has no ``mixed``.
    """
    part = SplitModel(module.trunk, {task: module.head[task] for task in owned})
    kinds: dict[str, Any] = {task: tasks[task] for task in owned}
    for task, kind in kinds.items():
        if not kind.traits.mixed:
            raise ValueError(
                f"task {task!r}: the algorithm predicts with a mixture of models, but {tasks[task]!r} has no method "
                "mixed(outputs, weights); give it one, as fedmtl/tasks/traits.py says, or take another algorithm."
            )
    mixers = {task: kind.mixed for task, kind in kinds.items()}

    def outputs_of(models: Sequence[Params], weights: Mapping[str, Tensor] | Tensor, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            each = [functional_call(part, dict(params), (batch["x"],)) for params in models]
            found = {}
            for task in owned:
                of_task = weights[task] if isinstance(weights, Mapping) else weights
                found[task] = mixers[task](torch.stack([outputs[task] for outputs in each]), of_task)
            return found

    return outputs_of

"""A model and tasks as pure functions of parameters."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fedmtl.core.context import Context, step_context
from fedmtl.core.types import Batch, Params, TaskSet
from fedmtl.models.build import build as build
from fedmtl.models.check import run
from fedmtl.models.split_model import Outputs, SplitModel
from fedmtl.models.split_model import initial_params as initial_params
from fedmtl.tasks.base import Task

Augmented = Callable[[Tensor, Context], Tensor]
"""(inputs, context of a training step) -> inputs."""


def check_runs(name: str, trunk: nn.Module, x: Tensor) -> None:
    """Refuse inputs [B, …] on which the trunk fails.

    Raises:
        ValueError: it begins with ``name``.
    """
    run(name, "the trunk", trunk, x)


class TaskLoss:
    """The mean over a client's tasks of each task's mean loss over its labelled examples in the batch.

    A batch may say by ``owns`` [B, tasks], equal in all rows, which of the tasks are the client's; else all are.
    """

    def __init__(
        self, module: SplitModel, tasks: Mapping[str, Task], owned: TaskSet, augmented: Augmented | None = None
    ) -> None:
        self.tasks = owned
        self._augmented = augmented
        self.stateful = module.stateful or augmented is not None
        """True where a training step has buffers or draws, so that a batch is one forward pass."""
        self._kinds = tasks
        self._outputs = Outputs(module, owned)

    def each(self, params: Params, batch: Batch) -> Tensor:
        """The tasks' losses one by one, [tasks], for who weighs them."""
        return torch.stack(self._losses(params, batch))

    def _losses(self, params: Params, batch: Batch) -> list[Tensor]:
        outputs = self._outputs(params, self._inputs(batch), batch["mask"])
        return [self._loss(task, outputs, batch) for task in self.tasks]

    def _inputs(self, batch: Batch) -> Tensor:
        """Return the inputs, augmented in a training step."""
        ctx = None if self._augmented is None else step_context()
        return batch["x"] if self._augmented is None or ctx is None else self._augmented(batch["x"], ctx)

    def _loss(self, task: str, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return self._kinds[task].loss(outputs[task], batch[f"y.{task}"], batch["mask"])

    def examples(self, params: Params, batch: Batch) -> Tensor:
        """Return the loss that a batch of each example alone would have, [B]."""
        outputs = self._outputs(params, self._inputs(batch), batch["mask"])

        def one(outputs: Mapping[str, Tensor], row: Batch) -> Tensor:
            return self._mean([self._loss(task, outputs, row) for task in self.tasks], row)

        def single(value: Tensor) -> Tensor:
            return value[:, None]

        rows = {key: single(value) for key, value in batch.items() if key != "x"}
        return torch.vmap(one)({task: single(value) for task, value in outputs.items()}, rows)

    def __call__(self, params: Params, batch: Batch) -> Tensor:
        return self._mean(self._losses(params, batch), batch)

    def _mean(self, losses: list[Tensor], batch: Batch) -> Tensor:
        if "owns" not in batch:  # the mean of one is that one, bit-identical, without the operations
            return torch.stack(losses).mean() if len(losses) > 1 else losses[0]
        owns = batch["owns"].amax(0)
        return (torch.stack(losses) * owns).sum() / owns.sum().clamp(min=1)


def loss_fn(
    module: SplitModel, tasks: Mapping[str, Task], owned: TaskSet, augmented: Augmented | None = None
) -> TaskLoss:
    """A client's objective; ``augmented`` changes the inputs of its training steps."""
    return TaskLoss(module, tasks, owned, augmented)


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
    outputs_of = Outputs(module, owned)

    def outputs(params: Params, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            return outputs_of(params, batch["x"], batch["mask"])

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
    each_of = Outputs(module, owned)
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
            each = [each_of(params, batch["x"], batch["mask"]) for params in models]
            found = {}
            for task in owned:
                of_task = weights[task] if isinstance(weights, Mapping) else weights
                found[task] = mixers[task](torch.stack([outputs[task] for outputs in each]), of_task)
            return found

    return outputs_of

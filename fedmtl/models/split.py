"""A model and tasks become one module and pure functions of its parameters."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.lazy import LazyModuleMixin

from fedmtl.models.base import Model
from fedmtl.models.check import Unfit, check_parts, check_pure, example, freeze, run
from fedmtl.rng import float32_default, torch_seed
from fedmtl.tasks.base import Task
from fedmtl.types import Batch, Params, TaskSet


class SplitModel(nn.Module):
    """A trunk and a head for each of some tasks: parameters ``trunk.…`` and ``head.<task>.…``."""

    def __init__(self, trunk: nn.Module, heads: Mapping[str, nn.Module], integer_inputs: bool = False) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.ModuleDict(heads)
        self.integer_inputs = integer_inputs
        """Whether inputs are int64, such as tokens; else they are float32."""

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
        x = example(input_shape, kind)
        with torch_seed(seed, "trunk"):
            trunk = _module(model, "the trunk", model.trunk(input_shape))
            if any(isinstance(part, LazyModuleMixin) for part in trunk.modules()):
                run(repr(model), "the trunk", trunk, x.clone())  # lazy parameters are drawn by the first call
        check_parts(repr(model), SplitModel(trunk, {}))
        with torch_seed(seed, "check"):  # what a module draws while it is checked is not drawn outside
            features = run(repr(model), "the trunk", trunk, x.clone())
            _check_features(model, features, kind)
            check_pure(repr(model), "the trunk", "trunk", trunk, x, features)
        heads: dict[str, nn.Module] = {}
        for name, task in sorted(tasks.items()):
            heads[name] = _head(model, name, task, features, seed)
        _check_own(model, trunk, heads)
        module = SplitModel(trunk, heads, kind == torch.int64)
        freeze(module)
        if next(module.parameters(), None) is None:
            raise ValueError(
                f"{model!r} has no parameter to learn; give its trunk or its heads some that are not frozen."
            )
        for part in module.modules():
            if isinstance(part, nn.RNNBase):
                # On a GPU torch would join the weights in memory at each call, which fails inside a transform, whose
                # tensors have no memory of their own, and is in vain, since every step has new weights.
                part.flatten_parameters = _keep_parameters
        return module


def _module(model: Model, part: str, made: Any) -> nn.Module:
    if not isinstance(made, nn.Module):
        raise ValueError(f"{model!r}: {part} is an nn.Module, got a {type(made).__name__}; return a module.")
    return made


def _check_features(model: Model, features: Any, kind: torch.dtype) -> None:
    if not isinstance(features, Tensor):
        raise ValueError(
            f"{model!r}: a trunk gives features, a tensor [B, features], got a {type(features).__name__}; return one "
            "of its parts."
        )
    if features.ndim != 2 or len(features) != 2:
        raise ValueError(f"{model!r}: a trunk gives features [B, features], got shape {tuple(features.shape)} for B=2.")
    if features.dtype != torch.float32:
        failure = Unfit if kind == torch.int64 and not features.is_floating_point() else ValueError
        raise failure(
            f"{model!r}: a trunk gives float32 features, got {features.dtype}; its parameters, buffers and constants "
            "are float32."
        )


def _head(model: Model, name: str, task: Task, features: Tensor, seed: int) -> nn.Module:
    if hasattr(nn.ModuleDict(), name):
        raise ValueError(f"task {name!r}: torch's modules have an attribute of that name; give the task another.")
    called = f"the head of task {name!r}"
    with torch_seed(seed, f"head.{name}"):
        head = _module(model, called, model.head(features.shape[1], task.outputs))
        if any(isinstance(part, LazyModuleMixin) for part in head.modules()):
            run(repr(model), called, head, features.clone())
    check_parts(repr(model), SplitModel(nn.Identity(), {name: head}))
    with torch_seed(seed, "check"):
        output = run(repr(model), called, head, features.clone())
        if not isinstance(output, Tensor) or output.shape != (2, task.outputs):
            found = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
            raise ValueError(
                f"{model!r}: the head of task {name!r} gives {found} for B=2, but {task!r} needs "
                f"(2, {task.outputs}); make head(features, outputs) end in `outputs` numbers."
            )
        if output.dtype != torch.float32:
            raise ValueError(f"{model!r}: the head of task {name!r} gives {output.dtype}, but outputs are float32.")
        check_pure(repr(model), called, f"head.{name}", head, features, output)
    return head


def _check_own(model: Model, trunk: nn.Module, heads: Mapping[str, nn.Module]) -> None:
    """Refuse a parameter that is in several parts: each is shared or private, and of one task."""
    owner: dict[int, str] = {}
    for part, module in [("the trunk", trunk), *((f"the head of task {name!r}", head) for name, head in heads.items())]:
        for name, value in module.named_parameters():
            if owner.setdefault(id(value), part) != part:
                raise ValueError(
                    f"{model!r}: {part} shares its parameter {name} with {owner[id(value)]}; make a module of its own "
                    "for each call of trunk and head."
                )


def check_runs(name: str, trunk: nn.Module, x: Tensor) -> None:
    """Refuse inputs [B, …] on which the trunk fails.

    Raises:
        ValueError: it begins with ``name``.
    """
    run(name, "the trunk", trunk, x)


def _keep_parameters() -> None:
    """In place of a recurrent module's ``flatten_parameters``."""


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
        outputs = functional_call(self._part, dict(params), (batch["x"],))
        return torch.stack(
            [self._kinds[task].loss(outputs[task], batch[f"y.{task}"], batch["mask"]) for task in self.tasks]
        )

    def __call__(self, params: Params, batch: Batch) -> Tensor:
        losses = self.each(params, batch)
        if "owns" not in batch:
            return losses.mean()
        owns = batch["owns"].amax(0)
        return (losses * owns).sum() / owns.sum().clamp(min=1)


def loss_fn(module: SplitModel, tasks: Mapping[str, Task], owned: TaskSet) -> TaskLoss:
    """A client's objective."""
    return TaskLoss(module, tasks, owned)


def sums_fn(
    module: SplitModel, tasks: Mapping[str, Task], owned: TaskSet
) -> Callable[[Params, Batch], dict[str, Tensor]]:
    """(parameters, batch) -> task -> the sums from which the task's metric is computed."""
    part = SplitModel(module.trunk, {task: module.head[task] for task in owned})

    def sums(params: Params, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            outputs = functional_call(part, dict(params), (batch["x"],))
            return {task: tasks[task].sums(outputs[task], batch[f"y.{task}"], batch["mask"]) for task in owned}

    return sums


def mixed_sums_fn(
    module: SplitModel, tasks: Mapping[str, Task], owned: TaskSet
) -> Callable[[Sequence[Params], Mapping[str, Tensor] | Tensor, Batch], dict[str, Tensor]]:
    """(M models, their weights [M] for each task or for all, batch) -> what ``sums_fn`` gives, of their mixture.

    Raises:
        ValueError: a task that has no ``mixed``.
    """
    part = SplitModel(module.trunk, {task: module.head[task] for task in owned})
    mixers: dict[str, Any] = {task: getattr(tasks[task], "mixed", None) for task in owned}
    for task, mixed in mixers.items():
        if not callable(mixed):
            raise ValueError(
                f"task {task!r}: the algorithm predicts with a mixture of models, but {tasks[task]!r} has no method "
                "mixed(outputs, weights); give it one, as fedmtl/tasks/base.py says, or take another algorithm."
            )

    def sums(models: Sequence[Params], weights: Mapping[str, Tensor] | Tensor, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            each = [functional_call(part, dict(params), (batch["x"],)) for params in models]
            found = {}
            for task in owned:
                of_task = weights[task] if isinstance(weights, Mapping) else weights
                output = mixers[task](torch.stack([outputs[task] for outputs in each]), of_task)
                found[task] = tasks[task].sums(output, batch[f"y.{task}"], batch["mask"])
            return found

    return sums

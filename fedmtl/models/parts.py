"""A model's trunk and heads, made and looked at: what does not fit is found before a run begins."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.lazy import LazyModuleMixin

from fedmtl.core.random import torch_seed
from fedmtl.models.base import Model
from fedmtl.models.check import Unfit, check_parts, example, run
from fedmtl.models.check_training import examine
from fedmtl.models.forward import evaluation
from fedmtl.models.layers import COUNT
from fedmtl.tasks.base import Task, output_shape
from fedmtl.tasks.fit import fits


def make_trunk(
    model: Model, input_shape: tuple[int, ...], seed: int, kind: torch.dtype
) -> tuple[nn.Module, Tensor, bool]:
    """Return the trunk, drawn from ``seed``, its features of two examples, and whether it trains differently.

    Raises:
        Unfit: it fails on inputs of this type.
        ValueError: it is none that can be shared.
    """
    x = example(input_shape, kind)
    with torch_seed(seed, "trunk"):
        trunk = _module(model, "the trunk", _made(f"{model!r}: trunk({input_shape})", model.trunk, input_shape))
        prepare(repr(model), "the trunk", trunk, x)
    check_parts(repr(model), "trunk", trunk)
    with torch_seed(seed, "check"):  # what a module draws while it is checked is not drawn outside
        features, stateful = examine(
            repr(model), "the trunk", trunk, x, lambda found: _check_features(model, found, kind)
        )
    return trunk, features, stateful


def prepare(name: str, part: str, module: nn.Module, x: Tensor) -> None:
    """Draw lazy parameters, by a first call, and drop counts of batches, but where a mean of all batches needs one."""
    if any(isinstance(own, LazyModuleMixin) for own in module.modules()):
        with evaluation(module):
            run(name, part, module, x.clone())
    for own in module.modules():
        if isinstance(own, _NormBase):
            own.num_batches_tracked = None
        if isinstance(own, _BatchNorm) and own.momentum is None and own.track_running_stats:
            own.register_buffer(COUNT, torch.zeros(()))


def _made(called: str, make: Callable[..., Any], *arguments: Any, way: str = "") -> Any:
    """Return the module that a recipe makes. Its own refusals, such as of a shape, pass as they are."""
    try:
        return make(*arguments)
    except (TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ValueError(
            f"{called} fails ({type(error).__name__}: {line});{way} trunk takes the shape of one example, head the "
            "numbers of features and outputs, and each returns an nn.Module."
        ) from error


def _module(model: Model, part: str, made: Any) -> nn.Module:
    if not isinstance(made, nn.Module):
        raise ValueError(f"{model!r}: {part} is an nn.Module, got a {type(made).__name__}; return a module.")
    return made


def _check_features(model: Model, features: Any, kind: torch.dtype) -> None:
    if not isinstance(features, Tensor):
        raise ValueError(
            f"{model!r}: a trunk gives features, a tensor [B, …], got a {type(features).__name__}; return one "
            "of its parts."
        )
    if features.ndim < 2 or len(features) != 2:
        raise ValueError(
            f"{model!r}: a trunk gives features [B, …], of which B is the batch, got shape {tuple(features.shape)} for "
            "B=2; keep the first dimension."
        )
    if features.dtype != torch.float32:
        failure = Unfit if kind == torch.int64 and not features.is_floating_point() else ValueError
        raise failure(
            f"{model!r}: a trunk gives float32 features, got {features.dtype}; its parameters, buffers and constants "
            "are float32."
        )


def check_task_name(name: str) -> None:
    """Refuse a task of which torch can name no module."""
    if hasattr(nn.ModuleDict(), name):
        raise ValueError(f"task {name!r}: torch's modules have an attribute of that name; give the task another.")


def make_head(model: Model, name: str, task: Task, features: Tensor, seed: int) -> tuple[nn.Module, bool]:
    """Return the head of a task, drawn from ``seed`` and the task's name, and whether it trains differently.

    Args:
        model: the recipe.
        name: of the task.
        task: of which the head is.
        features: of two examples.
        seed: of the experiment.

    Raises:
        ValueError: its output does not fit the task, or it is none that can be private.
    """
    check_task_name(name)
    called = f"the head of task {name!r}"
    with torch_seed(seed, f"head.{name}"):
        sizes = features.shape[1] if features.ndim == 2 else tuple(features.shape[1:]), task.outputs
        flat = features.ndim == 2
        way = "" if flat else " end the trunk in nn.Flatten(), or make a head for this shape;"
        made = _made(f"{model!r}: head{sizes}, of task {name!r},", model.head, *sizes, way=way)
        head = _module(model, called, made)
        prepare(repr(model), called, head, features)
    check_parts(repr(model), f"head.{name}", head)

    def check(found: Any) -> None:
        _check_output(model, name, task, found)

    with torch_seed(seed, "check"):
        _, stateful = examine(repr(model), called, head, features, check)
    return head, stateful


def _check_output(model: Model, name: str, task: Task, output: Any) -> None:
    shape = (2, *output_shape(task.outputs))
    if not isinstance(output, Tensor) or output.shape != shape:
        found = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise ValueError(
            f"{model!r}: the head of task {name!r} gives {found} for B=2, but {task!r} needs "
            f"{shape}; make head(features, outputs) end in `outputs` numbers."
        )
    if output.dtype != torch.float32:
        raise ValueError(f"{model!r}: the head of task {name!r} gives {output.dtype}, but outputs are float32.")
    fits(name, task, output)


def check_own(model: Model, trunk: nn.Module, heads: Mapping[str, nn.Module]) -> None:
    """Refuse a parameter that is in several parts: each is shared or private, and of one task."""
    owner: dict[int, str] = {}
    for part, module in [("the trunk", trunk), *((f"the head of task {name!r}", head) for name, head in heads.items())]:
        for name, value in module.named_parameters():
            if owner.setdefault(id(value), part) != part:
                raise ValueError(
                    f"{model!r}: {part} shares its parameter {name} with {owner[id(value)]}; make a module of its own "
                    "for each call of trunk and head."
                )

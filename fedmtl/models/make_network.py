"""A user's module, looked at and made into a network: what does not fit is found before a run begins."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from fedmtl.core.random import torch_seed
from fedmtl.core.suggest import did_you_mean
from fedmtl.models.check import check_parts, example, run
from fedmtl.models.check_training import examine
from fedmtl.models.forward import evaluation, forward, measuring
from fedmtl.models.from_module import FromModule
from fedmtl.models.heads import linear_head
from fedmtl.models.network import JoinedOutputs, TaskNetwork
from fedmtl.models.parts import check_task_name, prepare
from fedmtl.models.placement import place
from fedmtl.models.refused_modules import check_kinds
from fedmtl.tasks.base import Task, output_shape
from fedmtl.tasks.fit import fits


def make_network(
    name: str,
    recipe: FromModule,
    input_shape: tuple[int, ...],
    tasks: Mapping[str, Task],
    seed: int,
    kind: torch.dtype,
    change: Callable[[nn.Module], None] = lambda _: None,
) -> tuple[TaskNetwork, bool]:
    """Return the network of all tasks, and whether it trains differently than it measures.

    Args:
        name: of the model, for messages.
        recipe: of the module.
        input_shape: of one example.
        tasks: name -> task, sorted.
        seed: of the experiment.
        kind: of the inputs.
        change: of the trunk by models around the recipe, in place.

    Raises:
        Unfit: the module fails on inputs of this type.
        ValueError: it has no output for a task, or is none that can be shared.
    """
    x = example(input_shape, kind)
    heads = _heads(name, recipe, tasks)
    with torch_seed(seed, "trunk"):
        module = recipe.make()
        given = recipe.factory()  # a copy has no hooks of tensors
        check_kinds(name, given if isinstance(given, nn.Module) else module)
        if not any(isinstance(part, LazyModuleMixin) for part in module.modules()):
            check_parts(name, "", module)
        network = _opened(name, recipe, module, heads, tasks, x)
        prepare(name, "the module", network, x)
        change(network.module.get_submodule(network.trunk or ""))
    if network.trunk is not None and not network.heads:
        network = _with_new_heads(name, recipe, network, tasks, seed, x)
    check_parts(name, "", network.module)
    with torch_seed(seed, "check"):
        outputs = _measured(name, network, x)
        for task, kind_of_task in tasks.items():
            _check_output(name, task, kind_of_task, outputs[task])
        _, stateful = examine(name, "forward", JoinedOutputs(network), x, lambda _: None)
        _check_heads_alone(name, network, outputs, x)
        if network.heads:
            _check_forward(name, module, outputs, x)
        by_outputs = not heads and network.trunk is None
        if by_outputs and len(tasks) == 1:
            raise ValueError(
                f"{name}: of one task, {min(tasks)!r}, the outputs do not separate its head from the trunk; name it, "
                f"such as heads={{{min(tasks)!r}: {_last_layer(module)!r}}}."
            )
        network.places = place(name, network, heads, recipe.trunk, x)
    return network, stateful


def _heads(name: str, recipe: FromModule, tasks: Mapping[str, Task]) -> dict[str, tuple[str, ...]]:
    heads = recipe.head_names()
    for task in tasks:
        check_task_name(task)
        if heads and task not in heads:
            raise ValueError(
                f"{name}: heads has none for task {task!r}; name its submodule, or leave heads out."
                f"{did_you_mean(task, heads)}"
            )
    if unknown := [task for task in heads if task not in tasks]:
        raise ValueError(
            f"{name}: heads has one for {unknown[0]!r}, but the tasks are {', '.join(tasks)}."
            f"{did_you_mean(unknown[0], tasks)}"
        )
    return heads


def _opened(
    name: str,
    recipe: FromModule,
    module: nn.Module,
    heads: Mapping[str, tuple[str, ...]],
    tasks: Mapping[str, Task],
    x: Tensor,
) -> TaskNetwork:
    """Return the network of a module: one that gives features has no heads, or those that are submodules."""
    if recipe.trunk not in ("", "."):
        _submodule(name, "trunk", module, recipe.trunk)
    if isinstance(recipe.heads, str) and recipe.heads:
        _submodule(name, "heads", module, recipe.heads)
        parent, _, last = recipe.heads.rpartition(".")
        setattr(module.get_submodule(parent), last, nn.Identity())
        return TaskNetwork(module, tuple(tasks), recipe.trunk.strip("."))
    try:
        with evaluation(module):
            found = run(name, "forward", module, x.clone())
    except ValueError:
        if not recipe.trunk:
            raise
        found = None
    if isinstance(found, Mapping):
        for task in tasks:
            if task not in found:
                raise ValueError(
                    f"{name}: forward gives outputs for {', '.join(map(str, found)) or 'no task'}, and none for task "
                    f"{task!r}; give one for each task.{did_you_mean(task, list(map(str, found)))}"
                )
        return TaskNetwork(module, tuple(tasks))
    if recipe.trunk:
        for task, names in heads.items():
            if len(names) != 1:
                raise ValueError(
                    f"{name}: heads: task {task!r} has {len(names)} submodules, but of a module with trunk="
                    f"{recipe.trunk!r}, each head is one; give {{task: output}} in forward for others."
                )
            _submodule(name, f"heads: {task}", module, names[0])
        return TaskNetwork(
            module, tuple(tasks), recipe.trunk.strip("."), {task: names[0] for task, names in heads.items()}
        )
    given = f"a tensor {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
    raise ValueError(
        f"{name}: forward gives {given} for B=2, and not {{task: output}}; name the last layer, heads="
        f"{_last_layer(module)!r}, in whose place each task has one, or give {{{min(tasks)!r}: …}} in forward."
    )


def _submodule(name: str, what: str, module: nn.Module, path: str) -> None:
    known = [own for own, _ in module.named_modules() if own]
    if path not in known:
        raise ValueError(
            f"{name}: {what}: the module has no submodule {path!r}; it has {', '.join(list(module._modules)[:12])}."
            f"{did_you_mean(path, known)}"
        )


def _with_new_heads(
    name: str, recipe: FromModule, network: TaskNetwork, tasks: Mapping[str, Task], seed: int, x: Tensor
) -> TaskNetwork:
    """Return the network with a linear layer for each task, drawn as those of other models."""
    assert network.trunk is not None
    part = network.module.get_submodule(network.trunk)
    inside = {id(one) for one in part.modules()}
    for other in network.module.modules():  # such as the classifier that the module had
        if id(other) not in inside:
            other.training = False
            for value in other.parameters(recurse=False):
                value.requires_grad_(False)
    trunk = measuring(part)
    features = run(name, "the trunk", lambda given: forward(trunk, {}, given, None, None)[0], x.clone())
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != 2:
        given = f"shape {tuple(features.shape)}" if isinstance(features, Tensor) else f"a {type(features).__name__}"
        raise ValueError(
            f"{name}: linear heads take features [B, features], but the trunk gives {given} for B=2; name a trunk "
            "that ends in nn.Flatten(), or give {task: output} in forward."
        )
    new: dict[str, nn.Module] = {}
    for task, of in tasks.items():
        with torch_seed(seed, f"head.{task}"):
            new[task] = linear_head(recipe, features.shape[1], of.outputs)
    return TaskNetwork(network.module, network.tasks, network.trunk, new=new)


def _measured(name: str, network: TaskNetwork, x: Tensor) -> Mapping[str, Any]:
    copy = measuring(network)
    return run(name, "forward", lambda given: forward(copy, {}, given, None, None)[0], x.clone())


def _check_output(name: str, task: str, kind: Task, output: Any) -> None:
    shape = (2, *output_shape(kind.outputs))
    if not isinstance(output, Tensor) or output.shape != shape:
        found = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise ValueError(
            f"{name}: the output of task {task!r} is {found} for B=2, but {kind!r} needs {shape}; give its head "
            f"{kind.outputs} outputs."
        )
    if output.dtype != torch.float32:
        raise ValueError(f"{name}: the output of task {task!r} is {output.dtype}, but outputs are float32.")
    fits(task, kind, output)


def _check_heads_alone(name: str, network: TaskNetwork, outputs: Mapping[str, Tensor], x: Tensor) -> None:
    """Refuse outputs that others change: a client's are computed without those of tasks that it does not own."""
    for task in outputs if network.trunk is not None else ():
        alone = _measured(name, network.restricted((task,)), x)[task]
        if not torch.allclose(alone, outputs[task], rtol=1e-3, atol=1e-5, equal_nan=True):
            raise ValueError(
                f"{name}: the output of task {task!r} is another one beside those of others; leave out inplace=True in "
                "the first layers of heads, which write into the features of all."
            )


def _check_forward(name: str, module: nn.Module, outputs: Mapping[str, Tensor], x: Tensor) -> None:
    """Refuse a module whose forward gives outputs that are none of trunk and heads."""
    try:
        copy = measuring(module)
        found = run(name, "forward", lambda given: forward(copy, {}, given, None, None)[0], x.clone())
    except ValueError:  # it has no forward of inputs alone
        return
    for one in found if isinstance(found, (tuple, list)) else [found]:
        if isinstance(one, Tensor) and not any(
            one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=1e-5) for other in outputs.values()
        ):
            raise ValueError(
                f"{name}: forward gives other numbers than head(trunk(x)), so it does more than they; give "
                "{task: output} in forward, which is then called as it is."
            )


def _last_layer(module: nn.Module) -> str:
    """Return the name of the last submodule with parameters of its own."""
    return next((path for path, part in [*module.named_modules()][::-1] if path and part._parameters), "fc")

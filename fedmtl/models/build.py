"""A model and tasks as one module."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fedmtl.core.buffers import trainable
from fedmtl.core.context import context_of, training_step
from fedmtl.core.input_forms import InputForms
from fedmtl.core.random import float32_default
from fedmtl.core.threads import one_thread
from fedmtl.models.base import Model
from fedmtl.models.check import Unfit, check_gradient, example, freeze
from fedmtl.models.forward import buffer_names
from fedmtl.models.from_module import FromModule
from fedmtl.models.lora import LoRA, adapt
from fedmtl.models.make_network import make_network
from fedmtl.models.make_stems import example_of, forms_of_tasks, make_stems
from fedmtl.models.parts import check_own, make_head, make_trunk
from fedmtl.models.share import FROZEN, roles
from fedmtl.models.split_model import Outputs, SplitModel, initial_params
from fedmtl.models.stems import Stems
from fedmtl.models.wrappers import change_trunk, layers_of, recipe_of
from fedmtl.tasks.base import Task


def build(
    model: Model | FromModule | Stems,
    input_shape: tuple[int, ...],
    tasks: Mapping[str, Task],
    seed: int,
    integer_inputs: bool,
    forms: InputForms | None = None,
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
        forms: inputs that have names, where the data has such.

    Raises:
        ValueError: a trunk that does not give flat features, a head whose output does not fit its task, parameters that
            are not float32, modules that are no pure functions of their parameters, row by row.
    """
    stems = recipe_of(model)
    if isinstance(stems, Stems):
        own = forms or forms_of_tasks(input_shape, integer_inputs, tasks)
        return _with_stems(model, stems, own, tasks, seed, bool(forms))
    if forms:
        listed = ", ".join(f"{name} {form.shape}" for name, form in forms.items())
        raise ValueError(
            f"{model!r} takes inputs of one shape, and those of the data have names, {listed}; take one with stems, "
            f"such as Stems({{{next(iter(forms))!r}: …, '*': …}})."
        )
    assert not isinstance(model, Stems)
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
    model: Model | FromModule,
    input_shape: tuple[int, ...],
    tasks: Mapping[str, Task],
    seed: int,
    kind: torch.dtype,
) -> SplitModel:
    # On one thread: the examples are few, and threads of small products wait for each other on a busy machine.
    with float32_default(), one_thread():
        return _finished(model, _split(model, input_shape, tasks, seed, kind), example(input_shape, kind), seed)


def _with_stems(
    model: Model | FromModule | Stems,
    recipe: Stems,
    forms: InputForms,
    tasks: Mapping[str, Task],
    seed: int,
    rows: bool,
) -> SplitModel:
    with float32_default(), one_thread():
        network, stateful = make_stems(model, recipe, forms, dict(sorted(tasks.items())), seed, rows)
        change_trunk(model, network.trunk)
        integer = bool(network.integer) and not rows  # rows are float32, whatever they hold
        module = SplitModel(network.trunk, dict(network.head.items()), integer, stateful, network)
        return _finished(model, module, example_of(forms, network, rows), seed)


def _finished(model: Model | FromModule | Stems, module: SplitModel, x: Tensor, seed: int) -> SplitModel:
    """Return the module with its adapters and its share map applied, once it has a gradient for examples."""
    for one in layers_of(model):
        if isinstance(one, LoRA):
            adapt(one, module, seed)
    _apply_map(model, module)
    freeze(module)
    if next(module.parameters(), None) is None:
        raise ValueError(f"{model!r} has no parameter to learn; give its trunk or its heads some that are not frozen.")
    _check_gradient(model, module, x)
    for part in module.modules():
        if isinstance(part, nn.RNNBase):
            # On a GPU torch would join the weights in memory at each call, which fails inside a transform, whose
            # tensors have no memory of their own, and is in vain, since every step has new weights.
            part.flatten_parameters = _keep_parameters
    return module


def _split(
    model: Model | FromModule,
    input_shape: tuple[int, ...],
    tasks: Mapping[str, Task],
    seed: int,
    kind: torch.dtype,
) -> SplitModel:
    recipe: Any = recipe_of(model)
    if isinstance(model, FromModule) or isinstance(recipe, FromModule):
        change = partial(change_trunk, model)
        by_name = dict(sorted(tasks.items()))
        network, stateful = make_network(repr(model), recipe, input_shape, by_name, seed, kind, change)
        return SplitModel(*network.holders(), kind == torch.int64, stateful, network)
    trunk, features, stateful = make_trunk(model, input_shape, seed, kind)
    made = {name: make_head(model, name, task, features, seed) for name, task in sorted(tasks.items())}
    heads = {name: head for name, (head, _) in made.items()}
    check_own(model, trunk, heads)
    stateful = stateful or any(differs for _, differs in made.values())
    return SplitModel(trunk, heads, kind == torch.int64, stateful)


def _apply_map(model: Model | FromModule | Stems, module: SplitModel) -> None:
    """Freeze parameters and buffers that the model's share map freezes, and note what it says of the others."""
    parameters = dict(module.named_parameters())
    frozen = {name for name, value in parameters.items() if not value.requires_grad} | module.fixed
    found = roles(model, [*parameters, *buffer_names(module)], frozen)
    for name, word in found.items():
        if word == FROZEN and name in parameters:
            parameters[name].requires_grad_(False)
    module.fixed |= frozenset(name for name, word in found.items() if word == FROZEN)
    moved = {name for name in found if name not in parameters or parameters[name].requires_grad} - module.fixed
    module.roles = {name: word for name, word in found.items() if word != FROZEN and name in moved}


def _check_gradient(model: Model | FromModule | Stems, module: SplitModel, x: Tensor) -> None:
    outputs = Outputs(module, tuple(module.head))
    params = initial_params(module)

    def total(own: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([output.sum() for output in outputs({**params, **own}, x, None).values()]).sum()

    with training_step(context_of()):
        check_gradient(repr(model), total, trainable(params))


def _keep_parameters() -> None:
    """In place of a recurrent module's ``flatten_parameters``."""

"""Narrower copies of a model: the first units of each hidden layer, with the leading blocks of its parameters."""

import copy
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import partial
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fedmtl.core.suggest import did_you_mean
from fedmtl.models.split_model import SplitModel

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
LAYERS = (nn.Linear, *CONVOLUTIONS, nn.Embedding, _BatchNorm, nn.LayerNorm, nn.GroupNorm)
"""Modules whose parameters can be cut: an axis of a weight is units or inputs, in order."""


def narrowed(module: SplitModel, width: Fraction, units: Sequence[str], x: Tensor) -> SplitModel:
    """Return a copy of a model, in which each layer has the first ⌈width · d⌉ of its d units.

    A forward pass finds the inputs that each layer has left: those of a layer behind a narrower one, or behind a
    flattened image of fewer channels, are the first ones, too.

    Args:
        module: of the whole model.
        width: in (0, 1].
        units: globs over names of weights whose layers are cut.
        x: inputs of an example, [1, …].

    Raises:
        ValueError: a model that is not a trunk and heads of such layers, or a cut that does not fit its layers.
    """
    if module.network is not None or module.adapters.weights:
        raise ValueError("HeteroFL narrows models of a trunk and heads; stems, adapters and FromModule have others.")
    made = copy.deepcopy(module)
    names = [f"{name}.weight" for name, part in made.named_modules() if isinstance(part, LAYERS)]
    hooks, done = [], set[str]()
    for name, part in made.named_modules():
        own = [*part._parameters.values(), *part._buffers.values()]
        if isinstance(part, LAYERS):
            cut = any(fnmatchcase(f"{name}.weight", glob) for glob in units)
            hook = partial(_cut, name, width if cut else Fraction(1), done)
            hooks.append(part.register_forward_pre_hook(hook))
        elif any(value is not None for value in own):
            raise ValueError(
                f"HeteroFL narrows linear layers, convolutions, embeddings and norms, and {name} is a "
                f"{type(part).__name__}; give the model other layers, or leave all widths at 1."
            )
    for glob in units:
        if not any(fnmatchcase(name, glob) for name in names):
            raise ValueError(
                f"HeteroFL: units={glob!r} matches no weight of layers, which are {', '.join(names[:12])}; mend it."
                f"{did_you_mean(glob, names)}"
            )
    try:
        found = _output_shapes(made, x)
    except RuntimeError as error:
        raise ValueError(
            f"HeteroFL: a model of width {float(width):g} does not fit together: {error}; let units name layers whose "
            "units are read by the next layer alone."
        ) from None
    if found != _output_shapes(module, x):
        raise ValueError(f"HeteroFL: units={list(units)} cuts outputs of tasks; name layers of the trunk alone.")
    for hook in hooks:
        hook.remove()
    return made


def _output_shapes(module: SplitModel, x: Tensor) -> dict[str, torch.Size]:
    modes = [part.training for part in module.modules()]
    try:
        with torch.no_grad():
            return {task: output.shape for task, output in module.eval()(x).items()}
    finally:
        for part, mode in zip(module.modules(), modes, strict=True):
            part.training = mode


def _cut(name: str, width: Fraction, done: set[str], part: Any, given: tuple[Tensor, ...]) -> None:
    """Cut a layer, at its first call, to the inputs that it is given, and to its first units."""
    if name in done:
        return
    done.add(name)
    (x,) = given
    if isinstance(part, nn.Embedding):
        part.embedding_dim = ceil(width * part.embedding_dim)
        _keep(part, weight=(part.num_embeddings, part.embedding_dim))
    elif isinstance(part, nn.Linear):
        part.in_features, part.out_features = x.shape[-1], ceil(width * part.out_features)
        _keep(part, weight=(part.out_features, part.in_features), bias=(part.out_features,))
    elif isinstance(part, CONVOLUTIONS):
        if part.groups > 1:
            raise ValueError(f"HeteroFL narrows convolutions of one group, and {name} has {part.groups}.")
        part.in_channels, part.out_channels = x.shape[1], ceil(width * part.out_channels)
        _keep(part, weight=(part.out_channels, part.in_channels), bias=(part.out_channels,))
    elif isinstance(part, nn.LayerNorm):
        part.normalized_shape = (*part.normalized_shape[:-1], x.shape[-1])
        _keep(part, weight=part.normalized_shape, bias=part.normalized_shape)
    else:
        channels = x.shape[1]
        if isinstance(part, nn.GroupNorm):
            if channels % part.num_groups:
                raise ValueError(
                    f"HeteroFL: {name} has {part.num_groups} groups, and {channels} channels are no multiple of it; "
                    "take another width."
                )
            part.num_channels = channels
        else:
            part.num_features = channels
        _keep(part, **dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (channels,)))


def _keep(part: nn.Module, **sizes: tuple[int, ...]) -> None:
    """Keep the leading block of each parameter or buffer."""
    for name, size in sizes.items():
        value: Any = part._parameters.get(name, part._buffers.get(name))
        if value is not None:
            block = leading(value.detach(), (*size, *value.shape[len(size) :])).clone()
            if name in part._parameters:
                part._parameters[name] = nn.Parameter(block, value.requires_grad)
            else:
                part._buffers[name] = block


def leading(value: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the leading block of a tensor, without a copy."""
    return value[tuple(slice(size) for size in shape)]


def leading_blocks(values: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Return the leading blocks of those that have a shape here, and the others whole, without a copy."""
    return {name: leading(value, shapes.get(name, value.shape)) for name, value in values.items()}

"""One forward pass of a module whose layers train and measure differently, as a pure function of its parameters."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from fedmtl.core.buffers import buffers, is_buffer
from fedmtl.core.context import Context
from fedmtl.core.types import Params
from fedmtl.models.layer_functions import FUNCTIONS
from fedmtl.models.layers import LayerPass
from fedmtl.models.random_functions import RANDOM_FUNCTIONS

_OWN = FUNCTIONS | RANDOM_FUNCTIONS


class _LayerFunctions(TorchFunctionMode):
    """Runs the functions of ``FUNCTIONS`` and ``RANDOM_FUNCTIONS`` in place of torch's."""

    def __init__(self, layers: LayerPass) -> None:
        super().__init__()
        self._layers = layers

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        own = _OWN.get(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {})) if own is None else own(self._layers, func, *args, **(kwargs or {}))


def forward(
    module: nn.Module,
    params: Params,
    x: Tensor,
    ctx: Context | None,
    mask: Tensor | None,
    parts: bool = False,
    constants: Params | None = None,
    tied: bool = True,
) -> tuple[Any, dict[str, Tensor], LayerPass]:
    """Return what the module gives for x, its buffers afterwards, and the pass.

    Args:
        module: in training mode, or a copy that measures.
        params: of the module, with its buffers; parameters that are left out stay as they are.
        x: inputs, [B, …].
        ctx: of a training step; None measures.
        mask: 1 for a real example, 0 for padding, [B]; None: all are real.
        parts: the module takes ``LayerPass.begin`` after x, and calls it with the name of each of its parts.
        constants: of the module, on another device than it has them; no buffer of them is replaced.
        tied: as ``ties`` says of the module; True, where it is not known, looks for them.
    """
    # Copies, as a module may replace them in place.
    own = {name: value.detach().clone() for name, value in buffers(params).items()}
    layers = LayerPass(ctx, mask, own)
    given = {**(constants or {}), **params, **own}
    with _LayerFunctions(layers):
        out = functional_call(module, given, (x, layers.begin) if parts else (x,), tie_weights=tied)
    changed = {name: given[name].detach() for name in own} | layers.new
    return out, changed, layers


def differentiable(module: nn.Module, values: Params, x: Tensor, ctx: Context | None) -> Any:
    """Return what the module, which takes ``LayerPass.begin`` after x, gives as a function of its buffers, too."""
    layers = LayerPass(ctx, None, {})
    with _LayerFunctions(layers), torch.enable_grad():
        return functional_call(module, dict(values), (x, layers.begin))


def buffer_names(module: nn.Module) -> list[str]:
    """Return the names of the buffers that training replaces: of one that is in two places, the first."""
    found: dict[int, str] = {}
    for path, part in module.named_modules():
        for name, value in part._buffers.items():
            if value is not None and part.training and is_buffer(name):
                found.setdefault(id(value), f"{path}.{name}" if path else name)
    return list(found.values())


def ties(module: nn.Module) -> bool:
    """Return True where a parameter or a buffer is in two places; else a call need not look for them, which takes a
    tenth of a small model's step."""
    held = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return len({id(value) for _, value in held}) < len(held)


def measuring(module: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode that shares all parameters and buffers."""
    shared = [*module.parameters(), *module.buffers()]
    return copy.deepcopy(module, {id(value): value for value in shared}).eval()


@contextmanager
def evaluation(module: nn.Module) -> Iterator[None]:
    """Within, all parts of the module are in evaluation mode."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode

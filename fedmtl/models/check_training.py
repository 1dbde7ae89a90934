"""Checks of a trunk or head in training and while it measures, and whether the two differ."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fedmtl.core.context import context_of
from fedmtl.models.check import Unfit, check_pure, run
from fedmtl.models.forward import buffer_names, evaluation, forward, measuring

Checked = Callable[[Any], None]
"""Refuses an output that is none."""


def examine(name: str, part: str, module: nn.Module, x: Tensor, check_output: Checked) -> tuple[Tensor, bool]:
    """Return the outputs for two examples while the part measures, and whether it trains differently.

    Args:
        name: of the model, for messages.
        part: the trunk, or a head.
        module: the part.
        x: [2, …].
        check_output: for outputs of two examples.

    Raises:
        Unfit: the part fails.
        ValueError: it cannot be trained on padded batches, or is no pure function.
    """
    found, new, layers = run(name, part, lambda given: _train(module, given, 2), x.clone())
    check_output(found)
    if layers.drew_in_place and found.isnan().any():
        raise ValueError(
            f"{name}: {part} gives NaN in training; where it draws into a tensor, as in noise.bernoulli_(p), it "
            "has to go on with what was returned: noise = noise.bernoulli_(p)."
        )
    if not (layers.used or new or _measures_differently(name, part, module, x, found)):
        first = run(name, part, module, x.clone())
        check_pure(name, part, module, x, first)
        return first, False
    check_pure(name, part, module, x, found, lambda given: _train(module, given, 2)[0], rows=False)
    _check_padding(name, part, module, x, found, new)
    eval_copy = measuring(module)
    measured = run(name, part, lambda given: forward(eval_copy, {}, given, None, None)[0], x.clone())
    check_output(measured)
    check_pure(name, part, eval_copy, x, measured, lambda given: forward(eval_copy, {}, given, None, None)[0])
    return measured, True


def _train(module: nn.Module, x: Tensor, real: int) -> Any:
    """Run a pass of a training step, of which the first rows are no padding."""
    own = dict(module.named_buffers())
    mask = (torch.arange(len(x)) < real).float()
    return forward(module, {name: own[name] for name in buffer_names(module)}, x, context_of(), mask)


def _measures_differently(name: str, part: str, module: nn.Module, x: Tensor, trained: Tensor) -> bool:
    with evaluation(module):
        measured = run(name, part, lambda given: forward(module, {}, given, None, None)[0], x.clone())
    same = isinstance(measured, Tensor) and measured.shape == trained.shape
    return not (same and torch.allclose(measured, trained, rtol=1e-4, atol=1e-6, equal_nan=True))


def _check_padding(name: str, part: str, module: nn.Module, x: Tensor, found: Tensor, new: dict[str, Tensor]) -> None:
    """Refuse a part for which a padded row changes the outputs of others, or a buffer.

    Where they differ it is asked again in float64: behind many BatchNorms over few numbers, as those of EfficientNet
    over two small images, the roundings of float32 alone are 1e-3 of an output.
    """
    fault = _padding_fault(name, part, module, x, found, new)
    if not fault:
        return
    exact = copy.deepcopy(module).double()
    wide = x.double() if x.is_floating_point() else x
    try:
        found, new, _ = run(name, part, lambda given: _train(exact, given, 2), wide)
        fault = _padding_fault(name, part, exact, wide, found, new)
    except Unfit:  # it makes tensors of float32
        pass
    if fault:
        raise ValueError(f"{name}: {part} {fault}")


def _padding_fault(name: str, part: str, module: nn.Module, x: Tensor, found: Tensor, new: dict[str, Tensor]) -> str:
    """Return what a padded row changes, for a message; empty where nothing changes."""
    padded = torch.cat([x, 1 - x[:1]])
    out, after, _ = run(name, part, lambda given: _train(module, given, 2), padded)
    if not torch.allclose(out[:2], found, rtol=1e-3, atol=1e-5, equal_nan=True):
        return (
            "gives an example other numbers in training when padding is in its batch; keep the batch the first "
            "dimension, as batch_first=True does, and take means over the batch by BatchNorm alone."
        )
    for path, value in new.items():
        if not torch.allclose(after[path], value, rtol=1e-3, atol=1e-5, equal_nan=True):
            return f"changes its buffer {path} by the padding of a batch; take means over the batch by BatchNorm alone."
    return ""

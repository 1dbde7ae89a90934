"""Gradient of an objective that gives something beside its value."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._C import _len_torch_dispatch_stack
from torch._C._functorch import peek_interpreter_stack
from torch.func import grad

from fedmtl.core.trees import tree_map
from fedmtl.core.types import Params


def gradient_of(function: Callable[..., tuple[Tensor, Any]]) -> Callable[..., tuple[dict[str, Tensor], Any]]:
    """Return (w, …) -> (∇_w value, what is beside it), for a function (w, …) -> (value, a tree of tensors beside it).

    The results are those of ``torch.func.grad(function, has_aux=True)``. Its transform, which ``torch.vmap``, outer
    gradients and the tracer need, takes two fifths of a small model's step; outside of all of them, where a client runs
    alone, autograd runs the same operations without it. So they are bit-identical, but for an operator that the
    transform takes apart, as ``fedmtl.tasks.logistic`` says of one.
    """
    transformed = grad(function, has_aux=True)

    def slopes(w: Params, *rest: Any) -> tuple[dict[str, Tensor], Any]:
        if _is_transformed() or any(value.requires_grad for value in w.values()):
            return transformed(w, *rest)
        leaves = {name: value.detach().requires_grad_() for name, value in w.items()}
        with torch.enable_grad():
            value, beside = function(leaves, *rest)
            if not isinstance(value, Tensor) or value.dim():
                return transformed(w, *rest)  # which refuses it
            # With a graph, as in torch.func: some operators have another gradient without, equal to rounding.
            inputs = list(leaves.values())
            if value.requires_grad and inputs:
                found = torch.autograd.grad(value, inputs, create_graph=True, allow_unused=True)
            else:
                found = [None] * len(inputs)
        pairs = zip(leaves.items(), found, strict=True)
        slope = {name: torch.zeros_like(w[name]) if one is None else one.detach() for (name, _), one in pairs}
        return slope, tree_map(lambda leaf: leaf.detach(), beside)

    return slopes


def _is_transformed() -> bool:
    """Return True within ``torch.vmap``, a gradient of ``torch.func`` or a tracer, which must see every operation."""
    return peek_interpreter_stack() is not None or _len_torch_dispatch_stack() > 0

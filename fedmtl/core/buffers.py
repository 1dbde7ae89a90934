"""Buffers: numbers of a model that training changes without a gradient, such as the running statistics of BatchNorm.

They lie among the parameters of each model, and their names distinguish them, so they go where the model goes: into a
client's state, a packet, a mean of models. No gradient, penalty or optimizer moves them: ``sgd`` replaces them after a
step by those that the loss hands back, and a server averages them even where it steps in the parameters.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

from fedmtl.core.types import Params

PREFIX = "running_"
"""First letters of the last part of a buffer's name, such as ``trunk.1.running_var``."""


def is_buffer(name: str) -> bool:
    """Return True for the name of a buffer.

    >>> is_buffer("trunk.1.running_mean"), is_buffer("trunk.1.weight")
    (True, False)
    """
    return name.rpartition(".")[2].startswith(PREFIX)


def trainable(params: Params) -> dict[str, Tensor]:
    """Return the parameters without the buffers among them."""
    return {name: value for name, value in params.items() if not is_buffer(name)}


def buffers(params: Params) -> dict[str, Tensor]:
    """Return the buffers among the parameters."""
    return {name: value for name, value in params.items() if is_buffer(name)}


def towards(w: Params, goal: Params, rate: float) -> dict[str, Tensor]:
    """w + rate (goal − w) for each name of ``goal``; of buffers, the goal, to rounding."""
    share = {name: 1.0 if is_buffer(name) else rate for name in goal}
    return {name: w[name] + share[name] * (value - w[name]) for name, value in goal.items()}


_HANDED: ContextVar[dict[str, Tensor] | None] = ContextVar("handed", default=None)


@contextmanager
def buffers_handed() -> Iterator[dict[str, Tensor]]:
    """Within, a loss of a training step hands its new buffers back in the dict, however it is part of an objective."""
    handed: dict[str, Tensor] = {}
    token = _HANDED.set(handed)
    try:
        yield handed
    finally:
        _HANDED.reset(token)


def hand_back(new: Mapping[str, Tensor]) -> None:
    """Hand the new buffers of a forward pass back to the caller, which takes the step."""
    handed = _HANDED.get()
    if handed is not None:
        handed.update(new)

"""Parts of algorithms that wrap another one and replace its server's mean by a step of an optimizer."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fedmtl.algorithms.base import Algorithm
from fedmtl.algorithms.common.checks import check_inner
from fedmtl.core.buffers import buffers, trainable
from fedmtl.core.context import Context
from fedmtl.core.types import ClientId, Params, Upload


def check_wrapped(optimizer: Any, algorithm: Any) -> None:
    """Refuse an algorithm that does not run on clients, or whose server has a state of each client."""
    check_inner(optimizer, algorithm, "FedAvg(epochs=1)")
    if algorithm.traits.centralized or algorithm.traits.register_clients:
        raise ValueError(
            f"{type(optimizer).__name__} wraps algorithms that average one set of parameters, got "
            f"algorithm={algorithm!r}."
        )


def first_model(optimizer: Any, params: Params, ctx: Context) -> Params:
    """The wrapped algorithm's first server state, which must be parameters.

    Raises:
        ValueError: it is something else.
    """
    model = optimizer.algorithm.init_server(params, ctx)
    if not isinstance(model, Mapping) or not model or not all(isinstance(value, Tensor) for value in model.values()):
        raise ValueError(
            f"{type(optimizer).__name__} steps in the parameters that a server keeps, but the server of "
            f"{optimizer.algorithm!r} keeps something else."
        )
    return model


class Moments(NamedTuple):
    """The server's state where it keeps running means of g and of its squares."""

    w: Params
    m: Params
    v: Params


def first_moments(optimizer: Any, params: Params, ctx: Context) -> Moments:
    """m = 0 and v = τ²."""
    w = first_model(optimizer, params, ctx)
    v = {name: torch.full_like(value, optimizer.tau**2) for name, value in trainable(w).items()}
    return Moments(w, zeros_like(w), v)


def zeros_like(params: Params) -> dict[str, Tensor]:
    return {name: torch.zeros_like(value) for name, value in trainable(params).items()}


def pseudo_gradient(
    algorithm: Algorithm[Params, Any], model: Params, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return old minus the wrapped algorithm's new model, 0 for a head that no client of the cohort owns, and the
    buffers of the new one, which take no step."""
    mean = algorithm.aggregate(model, uploads, ctx)
    return {name: value - mean[name] for name, value in trainable(model).items()}, buffers(mean)

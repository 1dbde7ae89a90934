"""Torch's functions that draw random numbers, as they run within a training step: of the round's randomness.

Stochastic depth, noise on features and ``torch.distributions`` draw so. What has no generator of its own is drawn from
the pass; a model that draws while it measures, too, is refused when it is built.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fedmtl.models.layers import LayerPass

Draw = Callable[[LayerPass, tuple[int, ...], Tensor], Tensor]
"""(pass, shape, a tensor of the device) -> float32 numbers of this shape."""


def _of_size(draw: Draw) -> Callable[..., Tensor]:
    """``torch.rand(2, 3)``, with a dtype and a device."""

    def function(
        run: LayerPass, func: Any, *sizes: Any, dtype: torch.dtype | None = None, device: Any = None, **others: Any
    ) -> Tensor:
        if others.keys() - {"size"} or not run.trains:
            return func(*sizes, dtype=dtype, device=device, **others)
        sizes = sizes or (others["size"],)
        shape = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], Sequence) else sizes
        return draw(run, tuple(shape), torch.empty(0, device=device)).to(dtype or torch.get_default_dtype())

    return function


def _like(draw: Draw) -> Callable[..., Tensor]:
    """``torch.rand_like(x)``."""

    def function(run: LayerPass, func: Any, input: Tensor, dtype: torch.dtype | None = None, **others: Any) -> Tensor:
        if others or not run.trains:
            return func(input, dtype=dtype, **others)
        return draw(run, tuple(input.shape), input).to(dtype or input.dtype)

    return function


def _in_place(draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``x.bernoulli_(0.9)``, whose result is what it returns.

    Under ``torch.vmap`` draws of each client do not go into a tensor that is one for all, so what was given is NaN
    afterwards: a module that reads it, and not what was returned, has no finite output, and is refused.
    """

    def function(run: LayerPass, func: Any, input: Tensor, *args: Any, generator: Any = None, **others: Any) -> Tensor:
        if generator is not None or not run.trains or not input.is_floating_point():
            return func(input, *args, generator=generator, **others)
        drawn = draw(run, input, *args, **others).to(input.dtype)
        input.fill_(torch.nan)
        run.drew_in_place = True
        return drawn

    return function


def _bernoulli(run: LayerPass, input: Tensor, p: float | Tensor = 0.5) -> Tensor:
    return (run.uniform(tuple(input.shape), input) < p).to(input.dtype)


def _between(run: LayerPass, input: Tensor, low: float = 0, high: float = 1) -> Tensor:
    return low + (high - low) * run.uniform(tuple(input.shape), input)


def _normal_of(run: LayerPass, input: Tensor, mean: float = 0, std: float = 1) -> Tensor:
    return mean + std * run.normal(tuple(input.shape), input)


def _exponential(run: LayerPass, input: Tensor, lambd: float = 1) -> Tensor:
    above_zero = run.uniform(tuple(input.shape), input).clamp(min=2**-25)  # so that what is drawn has a logarithm
    return -torch.log1p(-above_zero) / lambd


def _bernoulli_by(run: LayerPass, func: Any, input: Tensor, *args: Any, **others: Any) -> Tensor:
    """``torch.bernoulli(p)``, and with one probability for all."""
    if others.keys() - {"p"} or not run.trains:
        return func(input, *args, **others)
    (p,) = args or (others.get("p", input),)
    return _bernoulli(run, input, p)


def _normal_by(run: LayerPass, func: Any, mean: Any, std: Any = 1.0, *args: Any, **others: Any) -> Tensor:
    """``torch.normal(mean, std)`` of tensors, as ``torch.distributions`` draw."""
    tensors = [one for one in (mean, std) if isinstance(one, Tensor)]
    if args or others or not tensors or not run.trains:
        return func(mean, std, *args, **others)
    shape = torch.broadcast_shapes(*(one.shape for one in tensors))
    return mean + std * run.normal(tuple(shape), tensors[0]).to(tensors[0].dtype)


def _gumbel_softmax(
    run: LayerPass, func: Any, logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """softmax((logits + g) / tau), g from Gumbel(0, 1): torch's own function draws where no pass sees it."""
    if not run.trains:
        return func(logits, tau, hard, eps, dim)
    soft = ((logits - _exponential(run, logits).log()) / tau).softmax(dim)
    if not hard:
        return soft
    return (soft == soft.amax(dim, keepdim=True)).to(soft.dtype) - soft.detach() + soft


RANDOM_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "rand": _of_size(LayerPass.uniform),
    "randn": _of_size(LayerPass.normal),
    "rand_like": _like(LayerPass.uniform),
    "randn_like": _like(LayerPass.normal),
    "bernoulli": _bernoulli_by,
    "normal": _normal_by,
    "bernoulli_": _in_place(_bernoulli),
    "uniform_": _in_place(_between),
    "normal_": _in_place(_normal_of),
    "exponential_": _in_place(_exponential),
    "gumbel_softmax": _gumbel_softmax,
}
"""Name of torch's function -> what runs in its place."""

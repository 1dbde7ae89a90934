"""Refusals of modules that are no pure functions of their parameters, row by row, in float32."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad
from torch.nn.modules.batchnorm import _BatchNorm

Forward = Callable[[Tensor], Any]


class Unfit(ValueError):
    """A module that cannot take inputs of the given type at all."""


def check_parts(name: str, prefix: str, module: nn.Module) -> None:
    """Refuse what can be seen without running the module.

    Args:
        name: of the model, for messages.
        prefix: of the module, in names of parameters.
        module: the trunk or a head, with parameters that have been made.

    Raises:
        ValueError: a parameter that is not finite float32 on the CPU, norms over the batch, running statistics,
            gradients that depend on the rest of the batch.
    """
    for path, part in module.named_modules(prefix=prefix):
        kind = type(part).__name__
        if getattr(part, "track_running_stats", False):
            raise ValueError(
                f"{name}: {path} ({kind}) keeps running statistics outside the parameters, which no packet would "
                "carry; use GroupNorm, LayerNorm, or an InstanceNorm without them."
            )
        if isinstance(part, _BatchNorm):
            raise ValueError(
                f"{name}: {path} ({kind}) takes means over the batch, to which padding belongs, and which a batch of "
                "one example does not have; use GroupNorm or LayerNorm."
            )
        if getattr(part, "scale_grad_by_freq", False):
            raise ValueError(
                f"{name}: {path} ({kind}) divides gradients by how often an index is in the batch, to which padding "
                "belongs; build it without scale_grad_by_freq=True."
            )
    for path, value in module.named_parameters(prefix=prefix):
        if value.dtype != torch.float32:
            raise ValueError(
                f"{name}: parameters are float32, but {path} is {value.dtype}; build it without .double() and .half(), "
                "as float32."
            )
        if value.device.type != "cpu":
            raise ValueError(f"{name}: {path} is on {value.device}; build models on the CPU, engines place them.")
        if not value.isfinite().all():
            raise ValueError(f"{name}: {path} begins with NaN or infinity; initialise it with finite numbers.")


def freeze(module: nn.Module) -> None:
    """Make buffers of the parameters that ask for no gradient: they stay as they are, and are never sent."""
    for part in module.modules():
        for path, value in list(part._parameters.items()):
            if value is not None and not value.requires_grad:
                del part._parameters[path]
                part.register_buffer(path, value.detach())


def example(input_shape: tuple[int, ...], kind: torch.dtype) -> Tensor:
    """Two unlike inputs in [0, 1), or zeros where they are whole numbers, which index any table."""
    if kind == torch.int64:
        return torch.zeros(2, *input_shape, dtype=kind)
    return torch.rand(2, *input_shape, dtype=kind, generator=torch.Generator().manual_seed(0))


def run(name: str, part: str, forward: Forward, x: Tensor) -> Any:
    """Call a part of a model on the example.

    Raises:
        Unfit: the part fails.
    """
    try:
        with torch.no_grad():
            return forward(x)
    except Exception as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        way = (
            "give the embedding a row for each whole number from 0 to the largest, or number the tokens from 0"
            if isinstance(error, IndexError) and "out of range in self" in line
            else "tokens are whole numbers: give every client's x an integer type"
            if "indices" in line or "embedding" in line.lower()
            else "make it take inputs [B, *input_shape]"
        )
        raise Unfit(
            f"{name}: {part} fails on inputs of shape {tuple(x.shape)}, {x.dtype} ({type(error).__name__}: {line}); "
            f"{way}."
        ) from error


def check_pure(name: str, part: str, path: str, module: nn.Module, x: Tensor, first: Tensor) -> None:
    """Refuse a module that gives something else when it is asked again, or for a row alone.

    Args:
        name: of the model, for messages.
        part: the trunk, or a head.
        path: of the part, in names of parameters.
        module: the part.
        x: [2, …].
        first: what the part gave for x.

    Raises:
        ValueError: randomness, state, writing into the input, or rows that depend on each other.
    """
    before = torch.get_rng_state()
    versions = {own_path: (id(value), value._version) for own_path, value in _state(module)}
    own = x.clone()
    again = run(name, part, module, own)
    if not torch.equal(torch.get_rng_state(), before):
        raise ValueError(f"{name}: {part} draws random numbers ({_drawing(module, path)}), {_REPEATABLE}")
    for own_path, value in _state(module):
        if versions.get(own_path) != (id(value), value._version):
            raise ValueError(
                f"{name}: {part} changes {own_path} when it is called, a state that no packet would carry; make it a "
                "pure function of its parameters."
            )
    if not torch.equal(torch.nan_to_num(own), torch.nan_to_num(x)):  # a head's input may hold NaN
        raise ValueError(
            f"{name}: {part} changes its input in place, which is the client's data; leave out inplace=True in its "
            "first layer."
        )
    if not torch.equal(torch.nan_to_num(again), torch.nan_to_num(first)):
        raise ValueError(f"{name}: {part} gives other numbers when it is called again, {_REPEATABLE}")
    try:
        with torch.no_grad():
            alone = module(x[:1].clone())
    except Exception as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{name}: {part} fails on a batch of one example ({line}); {_ROWS}") from error
    if not isinstance(alone, Tensor) or alone.shape != first[:1].shape:
        shape = tuple(getattr(alone, "shape", ()))
        raise ValueError(
            f"{name}: {part} gives shape {shape} for a batch of one example and {tuple(first.shape)} for two; keep "
            "the first dimension, as squeeze(-1) does and squeeze() does not."
        )
    if not torch.allclose(alone, first[:1], rtol=1e-3, atol=1e-5, equal_nan=True):
        raise ValueError(f"{name}: {part} gives an example other numbers when others are in its batch; {_ROWS}")


def check_gradient(name: str, forward: Callable[[Mapping[str, Tensor]], Tensor], params: Mapping[str, Tensor]) -> None:
    """Refuse a model that cannot be differentiated with respect to its parameters, or gives sparse gradients.

    Args:
        name: of the model, for messages.
        forward: parameters -> a scalar.
        params: of the whole model.

    Raises:
        ValueError: torch fails, or an embedding is sparse.
    """
    try:
        found = grad(forward)(dict(params))
    except Exception as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ValueError(
            f"{name} has no gradient ({type(error).__name__}: {line}); compute with torch's functions alone, without "
            ".numpy(), and without sparse=True."
        ) from error
    for path, value in found.items():
        if value.layout != torch.strided:
            raise ValueError(f"{name}: the gradient of {path} is sparse; build its embedding without sparse=True.")


_REPEATABLE = (
    "and a run must give the same numbers again; leave out dropout (p=0, also in nn.Transformer layers, where it is .1 "
    "by default) and noise: weight_decay of an optimizer regularises, too."
)
_ROWS = (
    "an example's features depend on it alone, because batches are padded; use GroupNorm or LayerNorm for BatchNorm."
)


def _state(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]


def _drawing(module: nn.Module, prefix: str) -> str:
    """The modules that are known to draw, or how else it is done."""
    found = [
        f"{path}, a {type(part).__name__}"
        for path, part in module.named_modules(prefix=prefix)
        if (isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0)
        or isinstance(part, nn.RReLU)
        or (isinstance(rate := getattr(part, "dropout", None), float) and rate > 0)
    ]
    return "; ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "") if found else "in forward"

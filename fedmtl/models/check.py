"""Refusals of modules that are no pure functions of their parameters, row by row, in float32."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad
from torch.nn.modules.batchnorm import _BatchNorm

from fedmtl.core.buffers import PREFIX, is_buffer

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
        if isinstance(part, _BatchNorm):
            _check_batch_norm(f"{name}: {path} ({kind})", part)
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
        if is_buffer(path):
            raise ValueError(
                f"{name}: {path} is a parameter, but names that begin with {PREFIX} are those of buffers, which no "
                "gradient moves; give it another name."
            )
    for path, value in module.named_buffers(prefix=prefix):
        if is_buffer(path) and (value.dtype != torch.float32 or not value.isfinite().all()):
            raise ValueError(
                f"{name}: {path} is a buffer that training replaces, which is float32 and finite, got {value.dtype}; "
                f"build it so, or give a constant a name that does not begin with {PREFIX}."
            )


def _check_batch_norm(named: str, part: _BatchNorm) -> None:
    if isinstance(part, nn.SyncBatchNorm):
        raise ValueError(f"{named} takes means over several processes; use BatchNorm1d, BatchNorm2d or BatchNorm3d.")
    if not part.track_running_stats:
        raise ValueError(
            f"{named} takes means over the batch where it measures, too, so that an example's outputs depend on its "
            "batch; build it with track_running_stats=True, or use GroupNorm or LayerNorm."
        )


def freeze(module: nn.Module) -> None:
    """Make constants of the parameters that ask for no gradient: they stay as they are, and are never sent."""
    made: dict[int, Tensor] = {}
    for part in module.modules():
        for path, value in list(part._parameters.items()):
            if value is not None and not value.requires_grad:
                del part._parameters[path]
                part.register_buffer(path, made.setdefault(id(value), value.detach()))


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
        raise Unfit(
            f"{name}: {part} fails on inputs of shape {tuple(x.shape)}, {x.dtype} ({type(error).__name__}: {line}); "
            f"{_way_out(error, line, x)}."
        ) from error


def _way_out(error: Exception, line: str, x: Tensor) -> str:
    if isinstance(error, IndexError) and "out of range in self" in line and not x.is_floating_point():
        rows = int(x.max()) + 1
        return f"give the embedding {rows} rows, as vocabulary={rows} does, or number the tokens from 0"
    if "indices" in line or "embedding" in line.lower():
        return "tokens are whole numbers: give every client's x an integer type"
    return "make it take inputs [B, *input_shape]"


def check_pure(
    name: str, part: str, module: nn.Module, x: Tensor, first: Tensor, call: Forward | None = None, rows: bool = True
) -> None:
    """Refuse a module that gives something else when it is asked again, or for a row alone.

    Args:
        name: of the model, for messages.
        part: the trunk, or a head.
        module: the part.
        x: [2, …].
        first: what the part gave for x.
        call: how it is called; None: as it is.
        rows: whether rows must not depend on each other.

    Raises:
        ValueError: randomness, state, writing into the input, or rows that depend on each other.
    """
    call = call or module
    before = torch.get_rng_state()
    versions = {own_path: (id(value), value._version) for own_path, value in _state(module)}
    own = x.clone()
    again = run(name, part, call, own)
    if not torch.equal(torch.get_rng_state(), before):
        raise ValueError(f"{name}: {part} draws random numbers (in forward), {_REPEATABLE}")
    for own_path, value in _state(module):
        if versions.get(own_path) != (id(value), value._version):
            raise ValueError(
                f"{name}: {part} changes {own_path} when it is called, a state that no packet would carry; give the "
                f"buffer a name that begins with {PREFIX}, or make it a pure function of its parameters."
            )
    if not torch.equal(torch.nan_to_num(own), torch.nan_to_num(x)):  # a head's input may hold NaN
        raise ValueError(
            f"{name}: {part} changes its input in place, which is the client's data; leave out inplace=True in its "
            "first layer."
        )
    if not torch.equal(torch.nan_to_num(again), torch.nan_to_num(first)):
        raise ValueError(f"{name}: {part} gives other numbers when it is called again, {_REPEATABLE}")
    if rows:
        _check_rows(name, part, call, x, first)


def _check_rows(name: str, part: str, call: Forward, x: Tensor, first: Tensor) -> None:
    try:
        with torch.no_grad():
            alone = call(x[:1].clone())
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
    "and a run must give the same numbers again; draw in training alone, if self.training, by dropout layers or "
    "torch's rand, randn, bernoulli and normal without a generator, whose numbers follow the experiment's seed then."
)
_ROWS = "an example's outputs depend on it alone, because batches are padded; use BatchNorm, GroupNorm or LayerNorm."


def _state(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]

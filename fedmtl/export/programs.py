"""Clients' models as programs of other runtimes, torch.export and ONNX, where these give what the module gives.

Both take a batch of any size, ``x``, and give an output a task, under its name.
"""

import importlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fedmtl.core.random import float32_default, torch_seed
from fedmtl.models.stem_network import StemNetwork, random_rows

TOLERANCE = 1e-5
"""Most that an output of a program may differ from the module's, absolutely or relatively."""

BATCHES = (1, 2, 7)
"""Sizes of the random batches that a program is checked on."""

Program = Callable[[Tensor], Mapping[str, Tensor]]
"""Inputs [B, …] -> task -> outputs."""


class _OfInputs(nn.Module):
    """A model whose outputs are a tuple, in the order of some tasks."""

    def __init__(self, module: nn.Module, tasks: Sequence[str]) -> None:
        super().__init__()
        self.module = module
        self.tasks = tuple(tasks)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        found = self.module(x)
        return tuple(found[task] for task in self.tasks)


def to_torch(module: nn.Module, tasks: Sequence[str], example: Tensor) -> bytes:
    """Return the file of a model for ``torch.export.load``; the program gives a tuple, in the order of the tasks.

    Raises:
        ValueError: torch cannot export the model, or its program gives other numbers.
    """
    with torch.no_grad(), float32_default(), _quiet():
        program = _made("torch.export", lambda: _exported(module, tasks, example))
        file = io.BytesIO()
        torch.export.save(program, file)
        data = file.getvalue()
        loaded = torch.export.load(io.BytesIO(data)).module()
    _check("torch.export", module, lambda x: dict(zip(tasks, loaded(x), strict=True)), example)
    return data


def to_onnx(module: nn.Module, tasks: Sequence[str], example: Tensor) -> bytes:
    """Return the ONNX file of a model: input ``x``, an output for each task, under its name.

    Raises:
        ImportError: a package of the extra ``onnx`` is missing.
        ValueError: torch cannot export the model, or ONNX Runtime gives other numbers.
    """
    for name in ("onnx", "onnxscript"):
        _package(name)
    runtime = _package("onnxruntime")
    with torch.no_grad(), float32_default(), _quiet():
        program = _made("torch.export", lambda: _exported(module, tasks, example))
        found: Any = _made(
            "torch.onnx",
            lambda: torch.onnx.export(program, input_names=["x"], output_names=list(tasks), dynamo=True, verbose=False),
        )
    data = found.model_proto.SerializeToString()
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])

    def run(x: Tensor) -> dict[str, Tensor]:
        outputs = session.run(list(tasks), {session.get_inputs()[0].name: x.numpy()})
        return {task: torch.from_numpy(output) for task, output in zip(tasks, outputs, strict=True)}

    _check("ONNX Runtime", module, run, example)
    return data


FORMATS = {"torch": to_torch, "onnx": to_onnx}
"""Format -> the function from a model, its tasks and an example to a file."""


def example_of(module: nn.Module, input_shape: tuple[int, ...], integer_inputs: bool) -> Tensor:
    """Return random inputs of two examples: normal numbers, or tokens that all embeddings of the model have."""
    return next(_random(module, input_shape, integer_inputs, (2,)))


def _random(
    module: nn.Module, input_shape: tuple[int, ...], integer_inputs: bool, sizes: Sequence[int]
) -> Iterator[Tensor]:
    tables = [part.num_embeddings for part in module.modules() if isinstance(part, nn.Embedding | nn.EmbeddingBag)]
    stems = next((part for part in module.modules() if isinstance(part, StemNetwork) and part.rows), None)
    for size in sizes:
        with torch_seed(size, "export"):
            if stems is not None:
                yield random_rows(stems, size, min(tables, default=2))
            elif integer_inputs:
                yield torch.randint(0, min(tables, default=2), (size, *input_shape))
            else:
                yield torch.randn(size, *input_shape, dtype=torch.float32)


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, torch's exporter does not warn about packages that the model does not use, nor about its own code."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            # Weights of recurrent layers, of which torch keeps a list besides.
            warnings.filterwarnings("ignore", "The tensor attributes .*_flat_weights", UserWarning)
            yield
    finally:
        logger.setLevel(before)


def _exported(module: nn.Module, tasks: Sequence[str], example: Tensor) -> Any:
    return torch.export.export(
        _OfInputs(module, tasks).eval(), (example,), dynamic_shapes={"x": {0: torch.export.Dim("batch", min=1)}}
    )


def _made(what: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception as error:  # of many kinds, and of many lines
        line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ValueError(
            f"{what} cannot export this model ({type(error).__name__}: {line}); compute with torch's functions alone, "
            "without steps that depend on the numbers, or take a file of fedmtl shrink."
        ) from error


def _check(what: str, module: nn.Module, program: Program, example: Tensor) -> None:
    """Compare a program with its module on random inputs.

    Raises:
        ValueError: an output differs by more than ``TOLERANCE``.
    """
    whole = not example.is_floating_point()
    for x in _random(module, tuple(example.shape[1:]), whole, BATCHES):
        with torch.no_grad():
            wanted = module(x)
            found = _made(what, lambda x=x: program(x))
        for task, output in wanted.items():
            if not torch.allclose(found[task], output, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
                furthest = float((found[task] - output).abs().max())
                raise ValueError(
                    f"{what} gives other numbers than the model, task {task!r}: they differ by {furthest:.3g}, and at "
                    f"most {TOLERANCE:g} is allowed; no file is kept."
                )


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"ONNX needs a package that is not installed ({error}): pip install 'fedmtl[onnx]', or in a checkout "
            "pip install -c constraints.txt -e '.[onnx]'."
        ) from error

"""Formats of a stored model: float32 or int8, whole or pruned."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fedmtl.core.types import Params
from fedmtl.export.file import from_bytes, to_bytes
from fedmtl.export.prune import check_keep, prune
from fedmtl.export.quantize import dequantise, quantise


@dataclass(frozen=True)
class ModelFormat:
    """Format of a stored model, pruned first, then quantised: pruning keeps the largest weights, which set the scales.

    Raises:
        ValueError: ``keep`` outside [0, 1].
    """

    int8: bool = False
    """Weights of one byte."""
    keep: float = 1.0
    """The fraction of the weights that stays."""

    def __post_init__(self) -> None:
        check_keep(self.keep)

    @property
    def name(self) -> str:
        """Name in tables and files: ``int8-keep0.2``."""
        return ("int8" if self.int8 else "float32") + ("" if self.keep == 1 else f"-keep{self.keep:g}")


def model_formats(keeps: Sequence[float] = (0.5, 0.2, 0.1)) -> tuple[ModelFormat, ...]:
    """float32 first, the format to compare with; int8; pruned to each of ``keeps``; both."""
    kept = [keep for keep in dict.fromkeys(keeps) if keep != 1]
    return (
        ModelFormat(),
        ModelFormat(int8=True),
        *(ModelFormat(keep=k) for k in kept),
        *(ModelFormat(int8=True, keep=k) for k in kept),
    )


MODEL_FORMATS = model_formats()


def save(params: Params, model_format: ModelFormat) -> bytes:
    """Return the file of a model in a format.

    Raises:
        ValueError: parameters that are not finite float32.
    """
    for name, value in params.items():
        if value.dtype != torch.float32 or not bool(value.isfinite().all()):
            raise ValueError(
                f"A small model holds finite float32 parameters, but {name} is {value.dtype} or holds NaN or infinity; "
                "a run that diverged has no model worth keeping: lower its learning rate."
            )
    small = prune(params, model_format.keep) if model_format.keep < 1 else dict(params)
    return to_bytes(quantise(small) if model_format.int8 else small)


def load(data: bytes) -> Params:
    """Return the parameters of a file, in float32.

    Raises:
        ValueError: another kind of file, or one that is damaged.
    """
    return dequantise(from_bytes(data))

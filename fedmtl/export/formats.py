"""The forms in which a model is kept: float32 or int8, whole or pruned."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fedmtl.core.types import Params
from fedmtl.export.file import from_bytes, to_bytes
from fedmtl.export.prune import check_keep, prune
from fedmtl.export.quantize import dequantise, quantise


@dataclass(frozen=True)
class Form:
    """Pruned first, then quantised: the largest weights decide about the scales, and pruning keeps them.

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
        """As tables and files call it: ``int8-keep0.2``."""
        return ("int8" if self.int8 else "float32") + ("" if self.keep == 1 else f"-keep{self.keep:g}")


def forms(keeps: Sequence[float] = (0.5, 0.2, 0.1)) -> tuple[Form, ...]:
    """float32 first, the form to compare with; int8; pruned to each of ``keeps``; both."""
    kept = [keep for keep in dict.fromkeys(keeps) if keep != 1]
    return (Form(), Form(int8=True), *(Form(keep=k) for k in kept), *(Form(int8=True, keep=k) for k in kept))


FORMS = forms()


def save(params: Params, form: Form) -> bytes:
    """The file of a model in a form.

    Raises:
        ValueError: parameters that are not finite float32.
    """
    for name, value in params.items():
        if value.dtype != torch.float32 or not bool(value.isfinite().all()):
            raise ValueError(
                f"A small model holds finite float32 parameters, but {name} is {value.dtype} or holds NaN or infinity; "
                "a run that diverged has no model worth keeping: lower its learning rate."
            )
    small = prune(params, form.keep) if form.keep < 1 else dict(params)
    return to_bytes(quantise(small) if form.int8 else small)


def load(data: bytes) -> Params:
    """The parameters, in float32, that a file holds.

    Raises:
        ValueError: another kind of file, or one that is damaged.
    """
    return dequantise(from_bytes(data))

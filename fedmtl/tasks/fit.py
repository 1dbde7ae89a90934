"""A task's functions on labels of zeros, which show what does not fit before a run begins."""

import torch
from torch import Tensor

from fedmtl.tasks.base import Task


def fits(name: str, task: Task, output: Tensor) -> None:
    """Refuse a task whose loss and sums do not take a head's output and labels of the task's shape.

    Args:
        name: of the task.
        task: whose functions are called.
        output: of its head for a batch, [B, …].

    Raises:
        ValueError: a loss that is no scalar, or sums that are no vector of float64, for labels of zeros.
    """
    y, mask = torch.zeros(len(output), *task.label_shape), torch.ones(len(output))
    given = f"an output {tuple(output.shape)} and labels {tuple(y.shape)}"
    for method, function, wanted in (
        ("loss", task.loss, "a float scalar"),
        ("sums", task.sums, "a vector of float64, first the number of examples"),
    ):
        try:
            with torch.no_grad():
                found = function(output, y, mask)
        except Exception as error:
            line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise ValueError(
                f"task {name!r}: {task!r}.{method} fails for {given} ({type(error).__name__}: {line}); make it take "
                "what heads of `outputs` and labels of `label_shape` are."
            ) from error
        good = isinstance(found, Tensor) and (
            found.ndim == 0 and found.is_floating_point()
            if method == "loss"
            else found.ndim == 1 and len(found) > 0 and found.dtype == torch.float64
        )
        if not good:
            of = f"{found.dtype} of shape {tuple(found.shape)}" if isinstance(found, Tensor) else ""
            shown = of or f"a {type(found).__name__}"
            raise ValueError(f"task {name!r}: {task!r}.{method} gives {shown} for {given}, and should give {wanted}.")

"""Predictions of a client's model for new examples, in batches."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fedmtl.core.random import float32_default
from fedmtl.models.predictions import Predictions, predicted
from fedmtl.tasks.base import Task

BATCH = 1024
"""Examples that a model predicts at once; predictions do not depend on it beyond rounding."""


def predict(module: nn.Module, tasks: Mapping[str, Task], x: Tensor) -> Predictions:
    """Return the predictions of a client's model.

    Args:
        module: of the client: inputs -> task -> outputs.
        tasks: name -> task, of the client.
        x: examples, [N, …], of the model's type.

    Raises:
        ValueError: a token that the model does not know, or outputs that are NaN.
    """
    parts: list[Mapping[str, Tensor]] = []
    with torch.inference_mode(), float32_default():
        for rows in x.split(BATCH) if len(x) else [x]:
            try:
                parts.append(module(rows))
            except IndexError as error:
                raise ValueError(
                    f"x: the model fails on whole numbers from {int(rows.min())} to {int(rows.max())} "
                    f"({str(error).splitlines()[0]}); give tokens that the run's data had."
                ) from None
        joined = {name: torch.cat([part[name] for part in parts]) for name in tasks}
        return Predictions({name: predicted(name, task, joined[name]) for name, task in tasks.items()})

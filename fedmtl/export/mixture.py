"""Several models of one client, and their weights, as the parameters of one file.

Model m's parameter ``trunk.0.bias`` is ``model.<m>.trunk.0.bias``; the weights [M] are ``weights``, or
``weights.<task>`` where each task has its own. They are vectors, so they stay float32.
"""

from collections.abc import Sequence

from torch import Tensor

from fedmtl.algorithms.base import Weights
from fedmtl.core.trees import select
from fedmtl.core.types import Params


def flat(models: Sequence[Params], weights: Weights) -> dict[str, Tensor]:
    """One mapping of all."""
    params = {f"model.{m}.{name}": value for m, model in enumerate(models) for name, value in model.items()}
    if isinstance(weights, Tensor):
        return {**params, "weights": weights}
    return {**params, **{f"weights.{task}": value for task, value in weights.items()}}


def apart(params: Params) -> tuple[list[Params], Weights]:
    """Return the input of ``flat``."""
    weights = params["weights"] if "weights" in params else _below(params, "weights.")
    count = len(weights if isinstance(weights, Tensor) else next(iter(weights.values())))
    return [_below(params, f"model.{m}.") for m in range(count)], weights


def _below(params: Params, prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in select(params, prefix).items()}

"""Magnitude pruning: of all weights of a model together, the smallest become 0.

    Han, Pool, Tran, Dally. NeurIPS 2015. arXiv:1506.02626; without their training after pruning

With N the number of weights in all matrices and filters:

    k  = ceil(keep · N)                                                                  (1)
    w' = w where |w| is among the k largest of the model, of equals the first; else 0    (2)

One threshold for the whole model, so a layer whose weights are small loses more of them. Biases and norms are kept.
"""

import math

import torch

from fedmtl.core.types import Params
from fedmtl.export.quantize import is_weight


def check_keep(keep: float) -> None:
    """
    Raises:
        ValueError: no fraction.
    """
    if isinstance(keep, bool) or not isinstance(keep, int | float) or not 0 <= keep <= 1:
        raise ValueError(f"Pruning keeps a fraction of the weights in [0, 1], got keep={keep!r}; 0.2 keeps a fifth.")


def prune(params: Params, keep: float) -> dict[str, torch.Tensor]:
    """The parameters without their smallest weights.

    Args:
        params: in the order in which "the first of equals" is meant.
        keep: the fraction of the weights that stays, in [0, 1].

    Raises:
        ValueError: another ``keep``.
    """
    check_keep(keep)
    names = [name for name, value in params.items() if is_weight(name, value)]
    if not names:
        return dict(params)
    weights = torch.cat([params[name].reshape(-1) for name in names])
    # 0.07 * 100 is 7.000000000000001 in binary and must keep 7.
    k = math.ceil(round(keep * len(weights), 6))  # (1)
    kept = torch.zeros_like(weights)
    index = weights.abs().argsort(descending=True, stable=True)[:k]
    kept[index] = weights[index]  # (2)
    parts = kept.split([params[name].numel() for name in names])
    return {**params, **{name: part.reshape(params[name].shape) for name, part in zip(names, parts, strict=True)}}

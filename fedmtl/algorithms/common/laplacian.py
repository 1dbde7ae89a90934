"""Models of several clients moved towards one another along the edges of a weighted graph."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fedmtl.core.buffers import is_buffer
from fedmtl.core.types import Params


def pull(models: Sequence[Params], weights: Tensor) -> list[dict[str, Tensor]]:
    """All models at once, each towards the others, for each name over those that have it; in float64:

        w_k <- w_k + Σ_l a_kl (w_l − w_k)                                        (1)

    Buffers, such as variances, stay between the smallest and the largest of all, also where weights overshoot.

    Args:
        models: of K clients.
        weights: a [K, K], float64; its diagonal does not matter.
    """
    moved: list[dict[str, Tensor]] = [{} for _ in models]
    for name in dict.fromkeys(name for model in models for name in model):
        owners = [k for k, model in enumerate(models) if name in model]
        w = torch.stack([models[k][name].double().flatten() for k in owners])
        a = weights[owners][:, owners]
        low, high = w.amin(0), w.amax(0)
        w = w + (a @ w - a.sum(1, keepdim=True) * w)  # (1)
        w = w.clamp(low, high) if is_buffer(name) else w
        for k, value in zip(owners, w, strict=True):
            like = models[k][name]
            moved[k][name] = value.reshape(like.shape).to(like.dtype)
    return moved

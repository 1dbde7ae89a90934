"""Parameters of several clients as rows of numbers, and back."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fedmtl.core.buffers import trainable
from fedmtl.core.types import Params


def flat(params: Sequence[Params]) -> Tensor:
    """K trees of the same names as rows, [K, d], names in order, without buffers, which are no part of an update."""
    parts = [[one[name].reshape(-1) for name in sorted(trainable(one))] for one in params]
    return torch.stack([torch.cat(part) if part else torch.zeros(0) for part in parts])


def shaped(vector: Tensor, like: Params) -> dict[str, Tensor]:
    """A row of ``flat`` as parameters with the names, shapes and dtypes of ``like``, without its buffers."""
    like = trainable(like)
    parts = vector.split([like[name].numel() for name in sorted(like)])
    cut = {name: part.reshape(like[name].shape).to(like[name]) for name, part in zip(sorted(like), parts, strict=True)}
    return {name: cut[name] for name in like}

"""Losses of several models, example by example."""

import torch
from torch import Tensor

from fedmtl.core.buffers import buffers_handed, hand_back
from fedmtl.core.types import Batch, ExampleLosses, LossFn, Params


def losses(loss: LossFn, models: Params, batch: Batch) -> Tensor:
    """ℓ(w_m, i) for the B examples of a batch and M stacked models, [B, M]; of padding, something finite."""

    if isinstance(loss, ExampleLosses) and loss.stateful:
        return _of_batch(loss, models, batch)

    def one(w: Params, example: Batch) -> Tensor:
        return loss(w, {key: value[None] for key, value in example.items()})

    of_models = torch.vmap(one, in_dims=(0, None))
    return torch.vmap(of_models, in_dims=(None, 0))(dict(models), dict(batch))


def _of_batch(loss: ExampleLosses, models: Params, batch: Batch) -> Tensor:
    """``losses`` of one forward pass a model over the whole batch, as running statistics need it."""

    def one(w: Params) -> tuple[Tensor, dict[str, Tensor]]:
        with buffers_handed() as handed:
            return loss.examples(w, batch), handed

    values, handed = torch.vmap(one)(dict(models))
    # Statistics beside the models, such as private ones by a share map, are of one client: the mean over its models.
    hand_back({name: value if name in models else value.mean(0) for name, value in handed.items()})
    return values.T

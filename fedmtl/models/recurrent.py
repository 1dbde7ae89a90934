"""Recurrent trunks for signals and for texts."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fedmtl.core.bounds import check_parameters
from fedmtl.models.heads import linear_head, places_head
from fedmtl.models.sizes import check_fields, check_positive
from fedmtl.models.tokens import check_vocabulary, token_mask


@dataclass(frozen=True)
class GRU:
    """For signals [C, T], or texts [T] of a vocabulary: gated recurrent units, and the state after the end.

    Of a text, the end is its last token; token 0 is padding, which is an input of zeros before and between tokens and
    does nothing after them. Cho et al., EMNLP 2014, arXiv:1406.1078, in the form of ``torch.nn.GRU``.
    """

    hidden: int = 64
    """Numbers of a state, and of features."""
    layers: int = 1
    vocabulary: int = 0
    """Tokens of texts are below it; 0: inputs are signals."""
    width: int = 64
    """Numbers of an embedding of a token."""
    per_step: bool = False
    """Features for each sample or token, [hidden, T], for tasks that label them; else of the end, [hidden]."""

    def __post_init__(self) -> None:
        _check(self)

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        return _trunk(self, input_shape, nn.GRU, 3)

    def head(self, features: Any, outputs: int | tuple[int, ...]) -> nn.Module:
        return _head(self, features, outputs)


@dataclass(frozen=True)
class LSTM:
    """For signals [C, T], or texts [T] of a vocabulary: long short-term memory, and the state after the end.

    Fields and padding are those of ``GRU``. Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735, in the
    form of ``torch.nn.LSTM``.
    """

    hidden: int = 64
    """Numbers of a state, and of features."""
    layers: int = 1
    vocabulary: int = 0
    """Tokens of texts are below it; 0: inputs are signals."""
    width: int = 64
    """Numbers of an embedding of a token."""
    per_step: bool = False
    """Features for each sample or token, [hidden, T], for tasks that label them; else of the end, [hidden]."""

    def __post_init__(self) -> None:
        _check(self)

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        return _trunk(self, input_shape, nn.LSTM, 4)

    def head(self, features: Any, outputs: int | tuple[int, ...]) -> nn.Module:
        return _head(self, features, outputs)


def _check(model: GRU | LSTM) -> None:
    name = type(model).__name__
    check_fields(model)
    check_positive(name, hidden=model.hidden, layers=model.layers, width=model.width)
    if model.vocabulary:
        check_vocabulary(name, model.vocabulary)


def _trunk(model: GRU | LSTM, input_shape: tuple[int, ...], cells: Any, gates: int) -> nn.Module:
    name = type(model).__name__
    if model.vocabulary and len(input_shape) != 1:
        raise ValueError(
            f"{name} with vocabulary={model.vocabulary} takes texts of shape (tokens,), whole numbers, got "
            f"{input_shape}; leave vocabulary out for signals (channels, samples)."
        )
    if not model.vocabulary and len(input_shape) != 2:
        way = {
            1: f"{name}(vocabulary=…) for texts, MLP, or x[:, None] for one channel",
            3: "CNN or ResNet for images",
        }.get(len(input_shape), "MLP, which takes any shape")
        raise ValueError(f"{name} takes signals of shape (channels, samples), got {input_shape}; try {way}.")
    inputs = model.width if model.vocabulary else input_shape[0]
    sizes = [inputs, *[model.hidden] * (model.layers - 1)]
    check_parameters(
        model, model.vocabulary * model.width + sum(gates * model.hidden * (size + model.hidden + 2) for size in sizes)
    )
    made = cells(inputs, model.hidden, model.layers, batch_first=True)
    return _States(made, model)


def _head(model: GRU | LSTM, features: Any, outputs: int | tuple[int, ...]) -> nn.Module:
    if isinstance(features, tuple):
        return places_head(model, features, outputs, padded=bool(model.vocabulary))
    return linear_head(model, features, outputs)


class _States(nn.Module):
    """The last layer's states: torch's own recurrence, for which engines have a kernel that stacks clients."""

    def __init__(self, cells: nn.GRU | nn.LSTM, model: GRU | LSTM) -> None:
        super().__init__()
        self.embed = nn.Embedding(model.vocabulary, model.width) if model.vocabulary else None
        self.cells = cells
        self.per_step = model.per_step

    def forward(self, x: Tensor) -> Tensor:
        if self.embed is None:
            states = self.cells(x.transpose(1, 2))[0]
            return states.transpose(1, 2) if self.per_step else states[:, -1]
        embedded = self.embed(x)
        mask = token_mask(x, embedded)
        states = self.cells(embedded * mask[..., None])[0]
        if self.per_step:
            return (states * mask[..., None]).transpose(1, 2)
        places = torch.arange(x.shape[1], device=x.device)
        last = (mask * places).amax(1, keepdim=True)
        return (states * (places == last)[..., None]).sum(1)

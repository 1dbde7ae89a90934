"""Gradients outside of transforms of functions are bit-identical to those of ``torch.func``."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import grad

from fedmtl.algorithms.common.gradient import gradient_of
from fedmtl.core.buffers import buffers, buffers_handed, trainable
from fedmtl.core.context import context_of, training_step
from fedmtl.core.trees import sha256
from fedmtl.models import CNN, GRU, LSTM, MLP, ResNet, TextCNN, TransformerEncoder, UNet
from fedmtl.models.split import build, initial_params, loss_fn
from fedmtl.tasks import Binary, MultiClass, MultiLabel, Regression
from tests.models.stateful import StatefulCNN, StatefulMLP
from tests.models.test_door import WORK
from tests.runtime.kinds import TASKS as KINDS

TASKS: dict[str, Any] = {"a": MultiClass(3), "b": Binary(), "c": Regression()}
DRAW = torch.Generator().manual_seed(0)
IMAGES, NUMBERS, SIGNALS = (1, 8, 8), (6,), (2, 6)
MODELS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "MLP": (MLP((5,)), NUMBERS),
    "CNN": (CNN((3, 4), 5), IMAGES),
    "ResNet": (ResNet(8, width=4), IMAGES),
    "ResNet with BatchNorm": (ResNet(8, width=4, norm="batch"), IMAGES),
    "UNet": (UNet((3, 4)), IMAGES),
    "GRU": (GRU(5, layers=2), SIGNALS),
    "LSTM": (LSTM(5), SIGNALS),
    "TextCNN": (TextCNN(9, 6, (2, 3), 4, dropout=0.5), NUMBERS),
    "transformer": (TransformerEncoder(9, 8, heads=2, hidden=6, dropout=0.1), NUMBERS),
    "stateful MLP": (StatefulMLP(), NUMBERS),
    "stateful CNN": (StatefulCNN(), IMAGES),
    **{name: (model, NUMBERS) for name, model in WORK.items()},
}


@pytest.mark.parametrize("name", MODELS)
def test_the_bits_are_those_of_the_transform(name: str) -> None:
    model, shape = MODELS[name]
    text = name in ("TextCNN", "transformer")
    module = build(model, shape, TASKS, 0, text)
    loss = loss_fn(module, TASKS, tuple(TASKS))
    x = torch.randint(0, 9, (5, *shape), generator=DRAW) if text else torch.randn(5, *shape, generator=DRAW)
    batch = {"x": x, "mask": torch.tensor([1.0, 1, 1, 1, 0])}
    batch |= {"y.a": torch.arange(5.0) % 3, "y.b": torch.arange(5.0) % 2, "y.c": torch.randn(5, generator=DRAW)}
    params = initial_params(module)

    def objective(w: dict[str, Tensor], held: dict[str, Tensor]) -> tuple[Tensor, Any]:
        with buffers_handed() as handed:
            value = loss({**w, **held}, batch)
        return value, {"loss": value, **{name: new.detach() for name, new in handed.items() if name in held}}

    found = []
    for gradient in (grad(objective, has_aux=True), gradient_of(objective)):
        with training_step(context_of(client=3)):
            found.append(gradient(trainable(params), buffers(params)))
    assert sha256(found[0]) == sha256(found[1])
    assert not any(value.requires_grad for part in found[1] for value in part.values())


LOSSES: dict[str, Any] = {**KINDS, "balanced": Binary(class_weights=(1.0, 3.0)), "marks": MultiLabel(2)}


@pytest.mark.parametrize("name", LOSSES)
def test_the_bits_of_every_kind_of_task_are_those_of_the_transform(name: str) -> None:
    task = LOSSES[name]
    shape = (task.outputs,) if isinstance(task.outputs, int) else task.outputs
    z = 3 * torch.randn(6, *shape, generator=DRAW)
    y = torch.randint(0, 2, (6, *task.label_shape), generator=DRAW).float()
    if not name == "map":
        y[1] = torch.nan
    mask = torch.tensor([1.0, 1, 1, 1, 1, 0])
    found = [
        gradient(lambda w: (task.loss(w["z"], y, mask), {}))({"z": z})
        for gradient in (partial(grad, has_aux=True), gradient_of)
    ]
    assert sha256(found[0]) == sha256(found[1]) and found[0][0]["z"].any()


def test_what_an_objective_does_not_read_has_gradient_0() -> None:
    w = {"a": torch.tensor([1.0, 2.0]), "b": torch.ones(3)}
    slope, beside = gradient_of(lambda w: ((w["a"] ** 2).sum(), {}))(w)
    assert slope["a"].tolist() == [2.0, 4.0] and slope["b"].tolist() == [0.0, 0.0, 0.0] and beside == {}
    slope, _ = gradient_of(lambda w: (torch.ones(()), {}))(w)
    assert not any(value.any() for value in slope.values())
    assert gradient_of(lambda w: (torch.ones(()), {}))({}) == ({}, {})


def test_it_is_the_transform_within_others() -> None:
    """d/dv of the gradient 2 v w in w of v w² is 2 w: in a stack, in an outer gradient, and for autograd."""
    w = torch.tensor([3.0, 5.0])

    def slope(v: Tensor, w: Tensor) -> Tensor:
        return gradient_of(lambda w: (v * w["w"] ** 2, {}))({"w": w})[0]["w"]

    assert torch.vmap(slope)(torch.ones(2), w).tolist() == [6.0, 10.0]
    assert torch.func.grad(slope)(torch.ones(()), w[0]) == 6
    own = w[0].clone().requires_grad_()
    (twice,) = torch.autograd.grad(slope(torch.ones(()), own), own)
    assert twice == 2  # d/dw of 2 w


def test_an_objective_is_a_scalar() -> None:
    with pytest.raises(RuntimeError, match="scalar"):
        gradient_of(lambda w: (w["w"], {}))({"w": torch.ones(2)})


def test_no_gradient_is_needed_outside() -> None:
    with torch.no_grad():
        layer = nn.Linear(2, 1)
        slope, _ = gradient_of(lambda w: (torch.func.functional_call(layer, w, torch.ones(1, 2)).sum(), {}))(
            {"weight": torch.zeros(1, 2)}
        )
    assert slope["weight"].tolist() == [[1.0, 1.0]]

"""Features, outputs and labels of any shape, and what does not fit."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedmtl import MLP, Experiment, FedAvg, FedPer, Linear, from_arrays, run
from fedmtl.models.split import build, initial_params, loss_fn, outputs_fn
from fedmtl.tasks.traits import TaskTraits


@dataclass(frozen=True)
class Map:
    """A class for each of 4×4 places: labels [N, 4, 4], outputs [B, classes, 4, 4]."""

    traits = TaskTraits()

    classes: int = 3
    scalar: bool = True
    single: bool = False

    label_shape = (4, 4)
    metric_name = "accuracy"
    higher_is_better = True

    @property
    def outputs(self) -> tuple[int, ...]:
        return (self.classes, 4, 4)

    def labels(self, y: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(y, np.float32)

    def loss(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        entropy = -torch.log_softmax(output, 1).gather(1, y.long()[:, None])[:, 0].mean((1, 2)) * mask
        return entropy.sum() / mask.sum().clamp(min=1) if self.scalar else entropy

    def sums(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        right = (output.argmax(1) == y).double().mean((1, 2)) * mask
        sums = torch.stack([mask.double().sum(), right.sum()])
        return sums.float() if self.single else sums

    def metric(self, sums: NDArray[Any]) -> float:
        return float(sums[1] / sums[0])

    def score(self, sums: NDArray[Any]) -> float:
        return self.metric(sums)


@dataclass(frozen=True)
class Conv:
    """Features [B, 5, 4, 4], and heads that are convolutions of one place."""

    side: int = 1

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        return nn.Sequential(nn.Conv2d(input_shape[0], 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU())

    def head(self, features: tuple[int, ...], outputs: tuple[int, ...]) -> nn.Module:
        return nn.Conv2d(features[0], outputs[0], self.side)


@pytest.mark.parametrize("model", [Conv(), MLP((6,))], ids=["maps", "flat features"])
def test_a_task_whose_labels_are_maps(model: Any) -> None:
    """In both engines the same scores; the class of a place is the sign of its input, so it is learnt: a third is
    chance."""
    draw = np.random.default_rng(0)
    inputs = [draw.standard_normal((12, 1, 4, 4)).astype(np.float32) for _ in range(3)]
    data = from_arrays({k: (x, {"sign": (x[:, 0] > 0) * 2}) for k, x in enumerate(inputs)}, tasks={"sign": Map()})
    given = {"data": data, "model": model, "algorithm": FedPer(lr=1.0, epochs=8), "rounds": 2, "batch_size": 6}
    loop, vmap = (run(Experiment(**given, runtime="InProcess", engine=engine)) for engine in ("Loop", "VMap"))
    assert loop.summary["mean_score"] == pytest.approx(vmap.summary["mean_score"], abs=1e-6)
    if isinstance(model, Conv):
        assert loop.summary["mean_score"] > 0.9


@dataclass(frozen=True)
class Numbers:
    """Squared error of arrays of numbers, such as a scalar, a vector, a sequence or an image."""

    traits = TaskTraits()

    label_shape: tuple[int, ...]
    outputs: Any
    metric_name = "mse"
    higher_is_better = False

    def labels(self, y: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(y, np.float32)

    def _errors(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        apart = torch.where(y.isnan(), 0.0, output.reshape(y.shape) - y.nan_to_num())
        return (apart**2).reshape(len(y), -1).mean(1) * mask

    def loss(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        return self._errors(output, y, mask).sum() / mask.sum().clamp(min=1)

    def sums(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        return torch.stack([mask.double().sum(), self._errors(output, y, mask).double().sum()])

    def metric(self, sums: NDArray[Any]) -> float:
        return float(sums[1] / sums[0])

    def score(self, sums: NDArray[Any]) -> float:
        return -self.metric(sums)


SHAPES: list[tuple[tuple[int, ...], Any]] = [
    ((), ()),
    ((), 1),
    ((), (1,)),
    ((1,), 1),
    ((3,), 3),
    ((7,), (7,)),
    ((5, 2), (5, 2)),
    ((2, 4, 3), (2, 4, 3)),
]


@pytest.mark.parametrize(("label", "outputs"), SHAPES, ids=repr)
def test_heads_and_labels_have_any_shape(label: tuple[int, ...], outputs: Any) -> None:
    """Labels are linear in the inputs, as the heads are, so the error goes to 0; in both engines.

    The mean over N numbers has a gradient of 2/N of the outer product with the inputs' second moments, whose
    eigenvalues are about 0.3 to 2 here: rates of 0.3 N shrink the error by 0.8 or more a step, and 30 steps by 1e-3.
    """
    draw = np.random.default_rng(0)
    true = draw.standard_normal((4, math.prod(label)))
    inputs = [draw.standard_normal((20 + k, 4)).astype(np.float32) for k in range(3)]
    labels = [(x @ true).reshape(len(x), *label) for x in inputs]
    data = from_arrays(
        {k: (x, {"m": y}) for k, (x, y) in enumerate(zip(inputs, labels, strict=True))},
        tasks={"m": Numbers(label, outputs)},
    )
    algorithm = FedAvg(lr=0.3 * math.prod(label), epochs=6)
    given = {"data": data, "model": Linear(), "algorithm": algorithm, "rounds": 5, "batch_size": 0}
    loop, vmap = (run(Experiment(**given, runtime="InProcess", engine=engine)) for engine in ("Loop", "VMap"))
    assert -1e-3 < loop.summary["mean_score"] <= 0
    assert loop.summary["mean_score"] == pytest.approx(vmap.summary["mean_score"], abs=1e-6)


def test_outputs_and_losses_by_hand() -> None:
    """Of an MLP, the layer's 48 numbers in the order of the shape; the loss of zeros is log 3."""
    module = build(MLP((6,)), (5,), {"m": Map()}, 0, False)
    params = {name: torch.zeros_like(value) for name, value in initial_params(module).items()}
    params["head.m.0.bias"] = torch.arange(48.0)
    x, mask = torch.ones(2, 5), torch.ones(2)
    found = outputs_fn(module, ("m",))(params, {"x": x, "mask": mask})["m"]
    assert torch.equal(found[1], torch.arange(48.0).reshape(3, 4, 4))
    loss = loss_fn(module, {"m": Map()}, ("m",))
    zeros = {name: torch.zeros_like(value) for name, value in params.items()}
    assert float(loss(zeros, {"x": x, "y.m": torch.zeros(2, 4, 4), "mask": mask})) == pytest.approx(np.log(3))


UNFIT = {
    "another output": (Conv(side=3), Map(), r"gives shape \(2, 3, 2, 2\) for B=2, but Map.* needs \(2, 3, 4, 4\)"),
    "a loss of each example": (
        Conv(),
        replace(Map(), scalar=False),
        r"task 'm': .*loss gives torch.float32 of shape \(2,\) for an output \(2, 3, 4, 4\) and labels \(2, 4, 4\)",
    ),
    "sums of few digits": (Conv(), replace(Map(), single=True), "sums gives torch.float32 .* a vector of float64"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_does_not_fit_is_found_before_a_run(case: str) -> None:
    model, task, message = UNFIT[case]
    with pytest.raises(ValueError, match=message):
        build(model, (1, 4, 4), {"m": task}, 0, False)


def test_a_loss_that_fails_names_the_shapes() -> None:
    class Broken(Map):
        def loss(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
            return (output - y[:, :3]).mean()

    with pytest.raises(ValueError, match=r"task 'm': .*loss fails for an output .* and labels .*label_shape"):
        build(Conv(), (1, 4, 4), {"m": Broken()}, 0, False)

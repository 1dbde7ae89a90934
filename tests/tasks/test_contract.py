"""What the protocol says of every task, asked of every task."""

import math
import pickle
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import expit, softmax
from torch import Tensor

from fedmtl.registry.components import REGISTRY, make
from fedmtl.tasks import (
    Binary,
    DenseClasses,
    DenseRegression,
    Huber,
    MultiClass,
    MultiLabel,
    MultiRegression,
    Ordinal,
    Quantile,
    Regression,
    SequenceLabels,
    Task,
)
from fedmtl.tasks.base import output_shape

KINDS: list[Task] = [
    MultiClass(2),
    MultiClass(5),
    Binary(),
    Regression(),
    Regression(-3.0, 7.5),
    MultiLabel(1),
    MultiLabel(4),
    MultiLabel(2, class_weights=(3.0, 0.5)),
    MultiClass(3, class_weights=(1.0, 2.0, 0.5)),
    Binary(class_weights=(0.5, 3.0)),
    Ordinal(2),
    Ordinal(5),
    Ordinal(3, class_weights=(1.0, 2.0, 0.5)),
    MultiRegression(1),
    MultiRegression(3, mean=(1.0, -2.0, 0.5), std=(2.0, 0.5, 1.0)),
    Huber(),
    Huber(-3.0, 7.5, delta=0.5),
    Quantile(),
    Quantile((0.5,), mean=-3.0, std=7.5),
    DenseClasses(2, (3,)),
    DenseClasses(3, (2, 3), void=255),
    DenseClasses(3, (2, 3), class_weights=(1.0, 2.0, 0.5)),
    DenseRegression((2, 3), mean=-3.0, std=7.5),
    SequenceLabels(2, 1),
    SequenceLabels(4, 5, padding=-100, class_weights=(1.0, 2.0, 0.5, 1.0)),
]
NAMED = {type(task).__name__ for task in KINDS}
ALL_TASKS = [*KINDS, *(make("task", name) for name in REGISTRY["task"] if name not in NAMED)]
"""Every registered kind of task."""


def is_number(task: Task) -> bool:
    """True for kinds whose labels are numbers."""
    return isinstance(task, Regression | MultiRegression | Huber | Quantile | DenseRegression)


def scale(task: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean and standard deviation, of a shape that goes with labels."""
    return np.array(task.mean, np.float32), np.array(task.std, np.float32)


def perfect(task: Task, y: Tensor) -> Tensor:
    """Outputs that predict the labels, none of which is NaN."""
    match task:
        case MultiClass(num_classes=classes):
            return torch.nn.functional.one_hot(y.long(), classes).float()
        case DenseClasses(num_classes=classes) | SequenceLabels(num_classes=classes):
            return torch.nn.functional.one_hot(y.long(), classes).float().movedim(-1, 1)
        case Ordinal(num_classes=levels):
            return torch.where(y[:, None] > torch.arange(levels - 1), 1.0, -1.0)
        case _ if is_number(task):
            mean, std = scale(task)
            t = (y - torch.from_numpy(mean)) / torch.from_numpy(std)
            return t[:, None].repeat(1, outputs) if isinstance(outputs := task.outputs, int) and t.ndim == 1 else t
        case _:
            return (2 * y - 1).reshape(len(y), *output_shape(task.outputs))


def example(task: Task, rows: int, seed: int = 0, missing: float = 0.3) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, labels of which about ``missing`` are NaN, and a mask with about a fifth padding."""
    draw = np.random.default_rng(seed)
    shape = (rows, *task.label_shape)
    match task:
        case MultiClass() | Ordinal() | DenseClasses() | SequenceLabels():
            y = draw.integers(0, task.num_classes, shape).astype(np.float32)
        case _ if is_number(task):
            mean, std = scale(task)
            y = (mean + std * draw.standard_normal(shape)).astype(np.float32)
        case _:
            y = draw.integers(0, 2, shape).astype(np.float32)
    y[draw.random(shape) < missing] = np.nan
    mask = (draw.random(rows) > 0.2).astype(np.float32)
    output = draw.standard_normal((rows, *output_shape(task.outputs))).astype(np.float32)
    return torch.from_numpy(output), torch.from_numpy(y), torch.from_numpy(mask)


def gradient(task: Task, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    return torch.func.grad(lambda z: task.loss(z, y, mask))(output)


def counted(y: Tensor, mask: Tensor) -> Tensor:
    """Rows that are real and have a label, bool [B]."""
    return (mask > 0) & ~torch.isnan(y).reshape(len(y), -1).all(-1)


@pytest.fixture(params=ALL_TASKS, ids=repr)
def task(request: pytest.FixtureRequest) -> Task:
    return request.param


def test_a_task_is_a_value(task: Task) -> None:
    copy = pickle.loads(pickle.dumps(task))
    assert copy == task and hash(copy) == hash(task)
    with pytest.raises(AttributeError):
        task.outputs = 3  # type: ignore[misc]


def test_labels_that_are_what_is_decoded_are_predicted_perfectly(task: Task) -> None:
    """Predictions in the form of labels, given back as labels, leave nothing to improve: the score is 1."""
    if not task.traits.decoded:
        return
    output, _, _ = example(task, 50)
    kind: Any = task
    found = kind.decode(output)
    if found.values.shape[1:] != task.label_shape:  # several quantiles of one number
        return
    y = torch.from_numpy(task.labels(found.values.numpy()))
    assert task.score(task.sums(output, y, torch.ones(50)).numpy()) == pytest.approx(1.0, abs=1e-6)
    if found.probabilities is not None:
        assert found.probabilities.min() >= 0 and found.probabilities.max() <= 1
        if found.probabilities.shape != found.values.shape:  # of classes
            assert torch.allclose(found.probabilities.sum(1), torch.ones(found.values.shape), atol=1e-6)


def test_labels_come_back_as_float32_with_nan_kept(task: Task) -> None:
    _, y, _ = example(task, 50)
    raw = y.numpy().astype(np.float64)
    before = raw.copy()
    checked = task.labels(raw)
    assert checked.dtype == np.float32 and checked.shape == (50, *task.label_shape)
    np.testing.assert_array_equal(checked, y.numpy())
    np.testing.assert_array_equal(raw, before)
    assert len(task.labels(raw[:0])) == 0


def test_loss_is_a_finite_scalar_with_finite_gradient(task: Task) -> None:
    output, y, mask = example(task, 40)
    assert task.loss(output, y, mask).shape == ()
    slope = gradient(task, output, y, mask)
    assert torch.isfinite(slope).all()
    assert (slope[counted(y, mask)] != 0).flatten(1).any(-1).all()


def test_what_is_padded_or_not_labelled_has_no_influence(task: Task) -> None:
    """Garbage in those rows, NaN and infinity among it, changes neither loss, gradient nor sums."""
    output, y, mask = example(task, 40)
    rows = counted(y, mask)
    each = (40, *[1] * (output.ndim - 1))
    garbage = torch.where(torch.arange(40) % 2 == 0, math.nan, math.inf).reshape(each).expand_as(output)
    spoilt = torch.where(rows.reshape(each), output, garbage)
    spoilt_y = torch.where((mask > 0).reshape(-1, *[1] * (y.ndim - 1)), y, torch.full_like(y, 1.0))
    torch.testing.assert_close(task.loss(spoilt, spoilt_y, mask), task.loss(output, y, mask), rtol=0, atol=0)
    torch.testing.assert_close(task.sums(spoilt, spoilt_y, mask), task.sums(output, y, mask), rtol=0, atol=0)
    slope = gradient(task, spoilt, spoilt_y, mask)
    torch.testing.assert_close(slope, gradient(task, output, y, mask), rtol=0, atol=0)
    assert (slope[~rows] == 0).all()


def test_the_mean_is_over_what_counts(task: Task) -> None:
    """So dropping the rows that do not count changes nothing."""
    output, y, mask = example(task, 40)
    rows = counted(y, mask)
    assert 0 < rows.sum() < 40
    alone = task.loss(output[rows], y[rows], torch.ones(int(rows.sum())))
    torch.testing.assert_close(task.loss(output, y, mask), alone)


@pytest.mark.parametrize("nothing", ["no label", "all padding"])
def test_nothing_labelled_is_zero_loss_and_zero_gradient(task: Task, nothing: str) -> None:
    output, y, mask = example(task, 6, missing=0.0)
    if nothing == "no label":
        y, mask = torch.full_like(y, math.nan), torch.ones(6)
    else:
        mask = torch.zeros(6)
    assert task.loss(output, y, mask) == 0
    assert (gradient(task, output, y, mask) == 0).all()
    sums = task.sums(output, y, mask).numpy()
    assert sums[0] == 0
    assert math.isnan(task.metric(sums)) and math.isnan(task.score(sums))


def test_vmap_is_a_loop(task: Task) -> None:
    batches = [example(task, 12, seed) for seed in range(5)]
    batches[2] = (batches[2][0], torch.full_like(batches[2][1], math.nan), batches[2][2])
    output, y, mask = (torch.stack(parts) for parts in zip(*batches, strict=True))

    def slope(output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        return gradient(task, output, y, mask)

    for function in (task.loss, task.sums, slope):
        looped = torch.stack([function(*batch) for batch in batches])
        torch.testing.assert_close(torch.vmap(function)(output, y, mask), looped, rtol=1e-6, atol=1e-7)


def test_sums_are_additive(task: Task) -> None:
    """The metric of everybody is the metric of the added sums, whatever the parts are."""
    output, y, mask = example(task, 60)
    parts = [slice(0, 7), slice(7, 8), slice(8, 45), slice(45, 60)]
    added = np.sum([task.sums(output[part], y[part], mask[part]).numpy() for part in parts], axis=0)
    together = task.sums(output, y, mask).numpy()
    assert together.dtype == np.float64 and together.ndim == 1
    np.testing.assert_allclose(added, together, rtol=1e-12)
    assert task.metric(added) == pytest.approx(task.metric(together), rel=1e-12)
    assert task.score(added) == pytest.approx(task.score(together), rel=1e-12)


def test_the_first_sum_counts_the_labelled_examples(task: Task) -> None:
    output, y, mask = example(task, 60)
    assert task.sums(output, y, mask)[0] == counted(y, mask).sum()


def test_perfect_outputs_score_one_and_worse_ones_less(task: Task) -> None:
    """And the metric moves in the direction that the task calls better."""
    _, y, mask = example(task, 60)
    good = perfect(task, torch.nan_to_num(y))
    best, worst = (task.sums(z, y, mask).numpy() for z in (good, -good))
    assert task.score(best) == pytest.approx(1.0) and task.score(worst) < 0.9
    assert (task.metric(best) > task.metric(worst)) is task.higher_is_better
    assert task.loss(good, y, mask) < task.loss(-good, y, mask)


def test_a_diverged_model_does_not_look_good(task: Task) -> None:
    """NaN outputs on labelled examples give a score of at most 0, or NaN."""
    output, y, mask = example(task, 60)
    assert not task.score(task.sums(torch.full_like(output, math.nan), y, mask).numpy()) > 0


@pytest.mark.parametrize("said", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_an_output_that_is_not_a_number_is_never_right(task: Task, said: float, label: float) -> None:
    """Ten examples of one label, five of them predicted well: the others make accuracy, mIoU and F1 5 / 10 at most,
    whatever the label is, and the number of a regression no number. With none predicted well, the score is 0 or no
    number.

    F1 of label 1: TP = 5, FN = 5, 10 / 15; of label 0: nothing is a true positive, so 0. mIoU: TP = P = 5, S = 10, so
    5 / (10 + 5 − 5). Levels: five of ten are K − 1 off.
    """
    y = torch.full((10, *task.label_shape), label)
    good = perfect(task, y)
    spoilt = torch.cat([good[:5], torch.full_like(good[5:], said)])
    half, none = (task.sums(z, y, torch.ones(10)).numpy() for z in (spoilt, torch.full_like(good, said)))
    for score in (task.score(none), task.metric(none) if task.higher_is_better else task.score(none)):
        assert score == 0 or not math.isfinite(score)
    expected = {"accuracy": 0.5, "miou": 0.5, "f1": 2 / 3 if label else 0.0}
    if isinstance(task, Ordinal):
        expected["mae"] = (task.num_classes - 1) / 2
    assert task.metric(half) == expected.get(task.metric_name) or not math.isfinite(task.metric(half))


@pytest.mark.parametrize("y", [np.array(["a", "b"]), np.zeros((3, 9)), np.float32(1.0), np.array([1j])])
def test_labels_of_the_wrong_kind_or_shape_name_the_task(task: Task, y: np.ndarray) -> None:
    with pytest.raises(ValueError, match="takes numbers as labels|takes labels of shape") as error:
        task.labels(y)
    assert repr(task) in str(error.value)


def test_infinity_is_no_label(task: Task) -> None:
    y = np.zeros((3, *task.label_shape))
    y[1] = np.inf
    with pytest.raises(ValueError, match="got label inf in row 1"):
        task.labels(y)


# ---- mixtures -------------------------------------------------------------------------------------------------------


def mixed(task: Task, outputs: Tensor, weights: Tensor) -> Tensor:
    return cast(Any, task).mixed(outputs, weights)


def several(task: Task, models: int, rows: int = 40) -> tuple[Tensor, Tensor]:
    """Outputs of models that disagree, [M, rows, outputs], and weights, none of them 0."""
    draw = np.random.default_rng(models)
    outputs = 3 * draw.standard_normal((models, rows, *output_shape(task.outputs))).astype(np.float32)
    return torch.from_numpy(outputs), torch.from_numpy(draw.dirichlet(np.ones(models)).astype(np.float32))


def prediction(task: Task, output: NDArray[np.float64]) -> NDArray[np.float64]:
    """In numpy: probabilities, or the number."""
    match task:
        case MultiClass():
            return softmax(output, axis=-1)
        case DenseClasses() | SequenceLabels():
            return softmax(output, axis=2 if output.ndim > 2 + len(task.label_shape) else 1)
        case _ if is_number(task):
            return output
        case _:
            return expit(output)


def test_a_mixture_predicts_the_weighted_mean_of_predictions(task: Task) -> None:
    """By scipy, in float64."""
    outputs, weights = several(task, 4)
    output = mixed(task, outputs, weights)
    assert output.shape == outputs.shape[1:] and output.dtype == outputs.dtype
    expected = np.tensordot(weights.double().numpy(), prediction(task, outputs.double().numpy()), 1)
    np.testing.assert_allclose(prediction(task, output.double().numpy()), expected, rtol=2e-5, atol=1e-6)


def test_a_mixture_of_one_is_that_one(task: Task) -> None:
    """The same prediction, and the same sums."""
    outputs, _ = several(task, 1)
    alone = mixed(task, outputs, torch.ones(1))
    _, y, mask = example(task, 40)
    torch.testing.assert_close(task.sums(alone, y, mask), task.sums(outputs[0], y, mask), rtol=1e-5, atol=0)
    torch.testing.assert_close(task.loss(alone, y, mask), task.loss(outputs[0], y, mask))


@pytest.mark.parametrize("said", [1e30, math.inf, -math.inf, math.nan])
def test_a_model_of_weight_zero_is_not_heard(task: Task, said: float) -> None:
    outputs, weights = several(task, 3)
    expected = mixed(task, outputs, weights)
    more = torch.cat([outputs[:1], torch.full_like(outputs[:1], said), outputs[1:]])
    heard = mixed(task, more, torch.cat([weights[:1], torch.zeros(1), weights[1:]]))
    torch.testing.assert_close(heard, expected, rtol=1e-6, atol=1e-6)


def test_a_model_that_has_diverged_spoils_the_mixture(task: Task) -> None:
    """NaN with a weight is not passed over: the mixture is not finite where it stands."""
    outputs, weights = several(task, 3)
    outputs[1, 7] = math.nan
    output = mixed(task, outputs, weights)
    assert output[7].isnan().all() and output[:7].isfinite().all() and output[8:].isfinite().all()


@pytest.mark.parametrize("size", [1.0, 50.0, 1000.0])
def test_a_mixture_loses_at_most_what_its_models_lose_on_average(task: Task, size: float) -> None:
    """Each loss is convex in the prediction: −log p, and (z − y)². So ℓ(Σ_m v_m p_m) ≤ Σ_m v_m ℓ(p_m) (Jensen), for
    each example and so for means. Outputs of ``size`` are far beyond what exp can take in float32."""
    outputs, weights = several(task, 5)
    outputs = size * outputs
    _, y, mask = example(task, 40)
    together = task.loss(mixed(task, outputs, weights), y, mask)
    each = torch.stack([task.loss(output, y, mask) for output in outputs])
    assert together.isfinite() and together <= (weights @ each) * (1 + 1e-5)
    if size == 1.0:
        assert together < weights @ each - 0.01


def test_mixtures_may_be_lifted(task: Task) -> None:
    """Over clients, whose weights differ."""
    outputs, weights = (torch.stack(parts) for parts in zip(*(several(task, 3) for _ in range(2)), strict=True))
    weights = torch.stack([weights[0], torch.tensor([0.0, 1.0, 0.0])])
    looped = torch.stack([mixed(task, *each) for each in zip(outputs, weights, strict=True)])
    lifted = torch.vmap(lambda z, v: mixed(task, z, v))(outputs, weights)
    torch.testing.assert_close(lifted, looped, rtol=1e-6, atol=1e-6)

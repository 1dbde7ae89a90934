"""Cross-entropy and accuracy, by hand."""

import math

import numpy as np
import pytest
import torch

from fedmtl.tasks import MultiClass

NAN = math.nan


def test_loss_by_hand() -> None:
    """Softmax rows chosen as logarithms of probabilities, so the loss is the mean of −log p of the labels.

    Row 0: p = (1/2, 1/4, 1/4), label 0 -> log 2. Row 1: p = (1/8, 1/8, 3/4), label 1 -> log 8.
    Row 2 has no label, row 3 is padding. Mean: (log 2 + log 8)/2 = log 4. Logits are shifted by 100, which
    softmax does not see.
    """
    p = torch.tensor([[1 / 2, 1 / 4, 1 / 4], [1 / 8, 1 / 8, 3 / 4], [1 / 3, 1 / 3, 1 / 3], [0.1, 0.1, 0.8]])
    y, mask = torch.tensor([0.0, 1.0, NAN, 0.0]), torch.tensor([1.0, 1.0, 1.0, 0.0])
    assert MultiClass(3).loss(p.log() + 100, y, mask).item() == pytest.approx(math.log(4), rel=1e-5)


def test_gradient_by_hand() -> None:
    """∂loss/∂z = (softmax(z) − one-hot)/n: with equal logits over 4 classes and n = 2, (1/4 − [k = y])/2."""
    y, mask = torch.tensor([3.0, NAN, 0.0]), torch.ones(3)
    slope = torch.func.grad(lambda z: MultiClass(4).loss(z, y, mask))(torch.zeros(3, 4))
    expected = torch.tensor([[1, 1, 1, -3], [0, 0, 0, 0], [-3, 1, 1, 1]]) / 8
    torch.testing.assert_close(slope, expected)


def test_huge_logits_stay_finite() -> None:
    """A wrong class ahead by 1e4 nats costs 1e4 nats."""
    loss = MultiClass(2).loss(torch.tensor([[1e4, 0.0]]), torch.tensor([1.0]), torch.ones(1))
    assert loss.item() == pytest.approx(1e4)


def test_accuracy_by_hand() -> None:
    """Argmax 2, 0, 1, 0 against labels 2, 1, NaN, 0: right, wrong, not counted, right; a padded row not counted."""
    z = torch.tensor([[0.0, 1, 2], [5, 1, 2], [0, 9, 0], [1, 0, 0], [1, 0, 0]])
    y, mask = torch.tensor([2.0, 1, NAN, 0, 0]), torch.tensor([1.0, 1, 1, 1, 0])
    sums = MultiClass(3).sums(z, y, mask).numpy()
    assert sums.tolist() == [3, 2]
    assert MultiClass(3).metric(sums) == MultiClass(3).score(sums) == 2 / 3


def test_a_label_out_of_range_says_how_many_classes_are_needed() -> None:
    with pytest.raises(ValueError, match=r"got label 10 in row 2 \(2 such\): num_classes must be at least 12"):
        MultiClass(10).labels(np.array([0, 9, 10, 11]))


@pytest.mark.parametrize(("label", "message"), [(-1, "classes count from 0"), (1.5, "a class is a whole number")])
def test_other_labels_that_are_no_class(label: float, message: str) -> None:
    with pytest.raises(ValueError, match=rf"got label {label}.* in row 1 \(1 such\): {message}"):
        MultiClass(10).labels(np.array([NAN, label]))


@pytest.mark.parametrize("classes", [1, 0, -3, 2**24 + 1])
def test_too_few_or_too_many_classes(classes: int) -> None:
    with pytest.raises(ValueError, match=f"got num_classes={classes}"):
        MultiClass(classes)


def test_bools_are_labels_of_two_classes() -> None:
    np.testing.assert_array_equal(MultiClass(2).labels(np.array([True, False])), np.array([1, 0], np.float32))


def test_minus_infinity_is_a_probability_of_zero() -> None:
    """softmax of (1, −inf, 0) is a prediction, of (1, inf, 0) and of (−inf, −inf, −inf) there is none."""
    rows = torch.tensor([[1.0, -math.inf, 0], [1, math.inf, 0], [-math.inf] * 3, [math.nan, 1, 0]])
    sums = MultiClass(3).sums(rows, torch.tensor([0.0, 1, 0, 0]), torch.ones(4))
    assert sums.tolist() == [4, 1]

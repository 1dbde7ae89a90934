"""Entries that may each be missing, and micro F1, by hand."""

import math

import numpy as np
import pytest
import torch

from fedmtl.tasks import MultiLabel

NAN = math.nan
TASK = MultiLabel(2)
Y = torch.tensor([[1.0, 0.0], [NAN, 1.0], [NAN, NAN], [0.0, NAN], [1.0, 1.0]])
MASK = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0])


def test_loss_by_hand() -> None:
    """σ(log 3) = 3/4: a positive costs log 4/3, a negative log 4. Labelled: 2 positives, 2 negatives, 4 entries."""
    z = torch.full((5, 2), math.log(3))
    expected = (2 * math.log(4 / 3) + 2 * math.log(4)) / 4
    assert TASK.loss(z, Y, MASK).item() == pytest.approx(expected)


def test_gradient_by_hand() -> None:
    """(σ(z) − y)/m with m = 4 entries; 0 where an entry is missing or its row is padding."""
    z = torch.full((5, 2), math.log(3))
    slope = torch.func.grad(lambda z: TASK.loss(z, Y, MASK))(z)
    expected = torch.tensor([[-1.0, 3], [0, -1], [0, 0], [3, 0], [0, 0]]) / 16
    torch.testing.assert_close(slope, expected)


def test_f1_by_hand() -> None:
    """Predicted (1,1), (1,0), (1,1), (0,1), (1,1). Labelled entries: TP (0,0); FP (0,1); FN (1,1); TN (3,0).

    Three rows have a label and are real. F1 = 2/(2 + 1 + 1) = 1/2.
    """
    z = torch.tensor([[1.0, 1], [1, -1], [1, 1], [-1, 1], [1, 1]])
    sums = TASK.sums(z, Y, MASK).numpy()
    assert sums.tolist() == [3, 1, 1, 1]
    assert TASK.metric(sums) == TASK.score(sums) == 0.5


def test_f1_is_one_when_nothing_is_positive_nor_predicted_so() -> None:
    sums = TASK.sums(-torch.ones(3, 2), torch.zeros(3, 2), torch.ones(3)).numpy()
    assert sums.tolist() == [3, 0, 0, 0]
    assert TASK.metric(sums) == 1.0


def test_nan_is_not_a_no() -> None:
    """No label is positive: three NaN logits are three FP and F1 is 0, where three of −1 are right and F1 is 1."""
    z = torch.tensor([[NAN, -1.0], [-1, NAN], [NAN, -1]])
    sums = TASK.sums(z, torch.zeros(3, 2), torch.ones(3)).numpy()
    assert sums.tolist() == [3, 0, 3, 0]
    assert TASK.metric(sums) == 0.0


def test_f1_is_zero_when_the_only_positive_is_a_false_one() -> None:
    sums = TASK.sums(torch.ones(1, 2), torch.tensor([[0.0, NAN]]), torch.ones(1)).numpy()
    assert sums.tolist() == [1, 0, 1, 0]
    assert TASK.metric(sums) == 0.0


def test_a_label_that_is_neither_yes_nor_no() -> None:
    with pytest.raises(ValueError, match=r"MultiLabel\(num_labels=2\) got label 3.0 in row 1, column 0 .*0 or 1"):
        TASK.labels(np.array([[0, NAN], [3, 1]]))


def test_another_number_of_columns() -> None:
    with pytest.raises(ValueError, match=r"labels of shape \(N, 2\), got \(4, 3\)"):
        TASK.labels(np.zeros((4, 3)))


def test_no_label_at_all() -> None:
    with pytest.raises(ValueError, match="got num_labels=0"):
        MultiLabel(0)

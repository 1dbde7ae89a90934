"""Logistic loss and accuracy, by hand."""

import math

import numpy as np
import pytest
import torch

from fedmtl.tasks import Binary, MultiClass

NAN = math.nan


def test_loss_by_hand() -> None:
    """σ(log 3) = 3/4. Label 1 costs log 4/3, label 0 costs log 4; a row without label and a padded one cost nothing.

    Mean: (log 4/3 + log 4)/2 = log 4 − (log 3)/2.
    """
    z, y = torch.full((4, 1), math.log(3)), torch.tensor([1.0, 0.0, NAN, 0.0])
    loss = Binary().loss(z, y, torch.tensor([1.0, 1.0, 1.0, 0.0]))
    assert loss.item() == pytest.approx(math.log(4) - math.log(3) / 2)


def test_gradient_by_hand() -> None:
    """∂loss/∂z = (σ(z) − y)/n; σ(log 3) = 3/4, n = 2."""
    z, y = torch.full((3, 1), math.log(3)), torch.tensor([1.0, NAN, 0.0])
    slope = torch.func.grad(lambda z: Binary().loss(z, y, torch.ones(3)))(z)
    torch.testing.assert_close(slope, torch.tensor([[-1 / 8], [0], [3 / 8]]))


def test_it_is_the_two_class_case_of_multiclass() -> None:
    """Softmax of (0, z) is (1 − σ(z), σ(z))."""
    z, y, mask = torch.linspace(-4, 4, 9)[:, None], torch.arange(9) % 2.0, torch.ones(9)
    two = torch.cat([torch.zeros_like(z), z], 1)
    torch.testing.assert_close(Binary().loss(z, y, mask), MultiClass(2).loss(two, y, mask))
    torch.testing.assert_close(Binary().sums(z, y, mask), MultiClass(2).sums(two, y, mask), rtol=0, atol=0)


def test_accuracy_by_hand() -> None:
    """Predicted 1, 0, 0 (a logit of 0 is class 0), 1 against 1, 1, 0, NaN: 2 of 3 right."""
    sums = Binary().sums(torch.tensor([[0.1], [-2.0], [0.0], [1.0]]), torch.tensor([1.0, 1, 0, NAN]), torch.ones(4))
    assert sums.tolist() == [3, 2]
    assert Binary().metric(sums.numpy()) == 2 / 3


@pytest.mark.parametrize("label", [2, -1, 0.5])
def test_a_label_that_is_neither_yes_nor_no(label: float) -> None:
    with pytest.raises(ValueError, match=rf"Binary\(\) got label {label}.* in row 1 .*labels are 0 and 1"):
        Binary().labels(np.array([0, label]))

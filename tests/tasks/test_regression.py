"""Squared error in standardised units, RMSE in the label's, by hand."""

import math

import numpy as np
import pytest
import torch

from fedmtl.tasks import Regression

NAN = math.nan
TASK = Regression(mean=10.0, std=4.0)
Y = torch.tensor([10.0, 18.0, NAN, 2.0])
"""Standardised: 0, 2, not labelled, −2."""
Z = torch.tensor([[1.0], [0.0], [7.0], [-1.0]])
"""Errors: 1, −2, not counted, 1 standard deviations, which is 4, 8 and 4 label units."""


def test_loss_by_hand() -> None:
    """(1 + 4 + 1)/3 = 2; without the last row, which is padding, (1 + 4)/2."""
    assert TASK.loss(Z, Y, torch.ones(4)).item() == pytest.approx(2.0)
    assert TASK.loss(Z, Y, torch.tensor([1.0, 1.0, 1.0, 0.0])).item() == pytest.approx(2.5)


def test_gradient_by_hand() -> None:
    """2 e/n with n = 3."""
    slope = torch.func.grad(lambda z: TASK.loss(z, Y, torch.ones(4)))(Z)
    torch.testing.assert_close(slope, torch.tensor([[2 / 3], [-4 / 3], [0], [2 / 3]]))


def test_metric_by_hand() -> None:
    """RMSE = √((16 + 64 + 16)/3) = √32 label units; explained variance 1 − 32/4² = −1."""
    sums = TASK.sums(Z, Y, torch.ones(4)).numpy()
    assert TASK.metric(sums) == pytest.approx(math.sqrt(32))
    assert TASK.score(sums) == pytest.approx(-1.0)


def test_saying_the_mean_explains_nothing() -> None:
    """On labels with the population's mean and deviation, z = 0 has RMSE σ and score 0."""
    sums = TASK.sums(torch.zeros(2, 1), torch.tensor([6.0, 14.0]), torch.ones(2)).numpy()
    assert TASK.metric(sums) == pytest.approx(4.0)
    assert TASK.score(sums) == pytest.approx(0.0)


@pytest.mark.parametrize("std", [0.0, -1.0, NAN, math.inf])
def test_a_std_that_cannot_divide(std: float) -> None:
    with pytest.raises(ValueError, match=f"got std={std}; 1.0 keeps the unit"):
        Regression(std=std)


def test_a_mean_that_is_no_number() -> None:
    with pytest.raises(ValueError, match="finite mean, got mean=nan"):
        Regression(mean=NAN)


def test_labels_beyond_float32() -> None:
    with pytest.raises(ValueError, match=r"got label 1e\+300 in row 0 .*finite float32"):
        Regression().labels(np.array([1e300]))

"""Losses of ordinal, robust, quantile, dense and sequence tasks by hand; fields and labels that are refused."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from fedmtl.tasks import DenseClasses, DenseRegression, Huber, MultiRegression, Ordinal, Quantile, SequenceLabels

NAN = math.nan


def ones(rows: int) -> torch.Tensor:
    return torch.ones(rows)


def test_ordinal_loss_by_hand() -> None:
    """σ(log 3) = 3/4, so a level above its threshold costs log 4/3 and one below log 4. Levels 0, 1 and 2 of three are
    above none, one and both thresholds: 2 log 4, log 4/3 + log 4 and 2 log 4/3, each halved."""
    z, y = torch.full((3, 2), math.log(3)), torch.tensor([0.0, 1.0, 2.0])
    expected = (3 * math.log(4) + 3 * math.log(4 / 3)) / 2 / 3
    assert Ordinal(3).loss(z, y, ones(3)).item() == pytest.approx(expected)


def test_ordinal_of_two_levels_is_binary() -> None:
    z = torch.randn(8, 1, generator=torch.Generator().manual_seed(0))
    y = (torch.arange(8) % 2).float()
    expected = functional.binary_cross_entropy_with_logits(z[:, 0], y)
    torch.testing.assert_close(Ordinal(2).loss(z, y, ones(8)), expected)


def test_ordinal_names_are_its_levels() -> None:
    assert Ordinal(names=("low", "middle", "high")).num_classes == 3


@pytest.mark.parametrize("delta", [0.3, 1.0, 2.0])
def test_huber_is_torchs(delta: float) -> None:
    """On standardised labels."""
    task = Huber(3.0, 2.0, delta)
    z, y = torch.linspace(-4, 4, 9)[:, None], torch.full((9,), 4.0)
    expected = functional.huber_loss(z[:, 0], torch.full((9,), 0.5), delta=delta)
    torch.testing.assert_close(task.loss(z, y, ones(9)), expected)


def test_pinball_by_hand() -> None:
    """u = 2 above the bound of τ = 0.1 costs 0.1 · 2, and u = −1 below that of 0.9 costs 0.1 · 1; the other way round
    it is 0.9 · 1 and 0.9 · 2."""
    z, y = torch.tensor([[-1.0, 2.0]]), torch.tensor([1.0])
    assert Quantile((0.1, 0.9)).loss(z, y, ones(1)).item() == pytest.approx((0.1 * 2 + 0.1 * 1) / 2)
    assert Quantile((0.1, 0.9)).loss(z.flip(1), y, ones(1)).item() == pytest.approx((0.9 * 1 + 0.9 * 2) / 2)


def test_the_best_constant_quantile_has_that_share_below() -> None:
    """The pinball loss of 0.8 is least at a number with 8 of 10 labels up to it."""
    y = torch.arange(10.0)
    losses = [Quantile((0.8,)).loss(torch.full((10, 1), c), y, ones(10)).item() for c in np.arange(0, 10, 0.5)]
    assert 7.0 <= np.argmin(losses) / 2 <= 8.0


def test_several_numbers_by_hand() -> None:
    """e = (1, −2), (missing, 1), standardised by 2 and 10: loss (1 + 4 + 1)/3; rmse (2 · 1 + 10 √(5/2))/2."""
    task = MultiRegression(2, mean=(0.0, 5.0), std=(2.0, 10.0))
    y, z = torch.tensor([[0.0, 25.0], [NAN, 5.0]]), torch.tensor([[1.0, 0.0], [9.0, 1.0]])
    assert task.loss(z, y, ones(2)).item() == pytest.approx(2.0)
    sums = task.sums(z, y, ones(2)).numpy()
    assert sums.tolist() == [2, 1, 2, 1, 5]
    assert task.metric(sums) == pytest.approx((2 + 10 * math.sqrt(5 / 2)) / 2)
    assert task.score(sums) == pytest.approx((1 - 1 + 1 - 5 / 2) / 2)


def test_dense_losses_are_torchs() -> None:
    """Cross-entropy over the places that are not void; squares over those that are not missing."""
    draw = torch.Generator().manual_seed(0)
    z, y = torch.randn(4, 3, 5, 2, generator=draw), torch.randint(0, 3, (4, 5, 2), generator=draw)
    y[0] = 255
    task = DenseClasses(3, (5, 2), void=255)
    labels = torch.from_numpy(task.labels(y.numpy()))
    expected = functional.cross_entropy(z, y, ignore_index=255)
    torch.testing.assert_close(task.loss(z, labels, ones(4)), expected)
    numbers = DenseRegression((5, 2), 1.0, 2.0)
    depth = torch.randn(4, 5, 2, generator=draw)
    depth[1, 0] = NAN
    e = z[:, 0] - (depth - 1) / 2
    torch.testing.assert_close(numbers.loss(z[:, 0], depth, ones(4)), e[~e.isnan()].square().mean())


def test_sequence_loss_is_torchs() -> None:
    draw = torch.Generator().manual_seed(0)
    z, y = torch.randn(4, 3, 6, generator=draw), torch.randint(0, 3, (4, 6), generator=draw)
    y[:, 4:] = -100
    task = SequenceLabels(3, 6, padding=-100)
    labels = torch.from_numpy(task.labels(y.numpy()))
    torch.testing.assert_close(task.loss(z, labels, ones(4)), functional.cross_entropy(z, y))


def test_void_and_padding_become_nan_once_and_again() -> None:
    """Labels that were looked at stay as they are."""
    for task in (DenseClasses(3, (2, 2), void=255), SequenceLabels(3, 4, padding=-1)):
        void = 255 if isinstance(task, DenseClasses) else -1
        y = np.array([0, 2, void, 1]).reshape(1, *task.label_shape)
        once = task.labels(y)
        assert np.isnan(once).sum() == 1
        np.testing.assert_array_equal(task.labels(once), once)


def test_numbers_are_standardised_by_all_clients_labels() -> None:
    """Labels 0 and 2 of one client, 4 and 6 of another: mean 3, variance (9 + 1 + 1 + 9)/4 = 5."""
    labels = [np.array([0.0, 2.0, NAN]), np.array([4.0, 6.0])]
    for kind in (Huber, Quantile):
        task: Any = kind(standardise=True).fitted(labels)
        assert (task.mean, task.std, task.standardise) == (3.0, pytest.approx(math.sqrt(5)), False)
    columns = [np.stack([y, 10 * y], 1) for y in labels]
    several = MultiRegression(2, standardise=True).fitted(columns)
    np.testing.assert_allclose(several.mean, [3, 30])
    np.testing.assert_allclose(several.std, [math.sqrt(5), 10 * math.sqrt(5)])
    maps = [y[:, None, None] for y in labels]
    dense = DenseRegression((1, 1), standardise=True).fitted(maps)
    assert (dense.mean, dense.std) == (3.0, pytest.approx(math.sqrt(5)))


FIELDS: dict[str, tuple[Callable[[], Any], str]] = {
    "one level": (lambda: Ordinal(1), "Ordinal needs 2 to 2\\*\\*16 levels, got num_classes=1"),
    "no outputs": (lambda: MultiRegression(0), "at least one, got num_outputs=0"),
    "means of two of three": (lambda: MultiRegression(3, mean=(1.0, 2.0)), "num_outputs=3, got 2 numbers for mean"),
    "a std of 0": (lambda: MultiRegression(2, std=(1.0, 0.0)), "got std=0.0; 1.0 keeps the unit"),
    "a bound of 0": (lambda: Huber(delta=0.0), "got delta=0.0; 1.0 is usual"),
    "a level of 1": (lambda: Quantile((0.5, 1.0)), r"ascend between 0 and 1, .* got quantiles=\(0.5, 1.0\)"),
    "levels that fall": (lambda: Quantile((0.9, 0.1)), "ascend between 0 and 1"),
    "no levels": (lambda: Quantile(()), "ascend between 0 and 1"),
    "no shape": (lambda: DenseClasses(3, ()), r"shape of one label, such as shape=\(28, 28\), got shape=\(\)"),
    "a side of 0": (lambda: DenseRegression((4, 0)), r"got shape=\(4, 0\)"),
    "a void that is a class": (lambda: DenseClasses(3, (2, 2), void=0), "beside the classes 0 to 2, .* got void=0"),
    "a padding that is a class": (lambda: SequenceLabels(3, 2, padding=2), "got padding=2"),
    "no steps": (lambda: SequenceLabels(3, 0), "whole number of steps, at least one, got length=0"),
    "one class": (lambda: SequenceLabels(1, 4), "2 to 2\\*\\*24 classes, got num_classes=1"),
}


@pytest.mark.parametrize("case", FIELDS)
def test_fields_that_are_refused(case: str) -> None:
    make, message = FIELDS[case]
    with pytest.raises(ValueError, match=message):
        make()


LABELS: dict[str, tuple[Any, Any, str]] = {
    "a level beyond": (Ordinal(3), [0, 3], r"got label 3 in row 1 \(1 such\): a level is a whole number from 0"),
    "a level between": (Ordinal(3), [0, 0.5], "got label 0.5 in row 1"),
    "a class beyond": (DenseClasses(3, (2, 2)), [[[0, 1], [2, 255]]], r"got label 255 in row 0, at \[1, 1\].*void"),
    "another code": (SequenceLabels(3, 2, padding=-1), [[0, -100]], "got label -100 in row 0, column 1 .*-1 here"),
    "another shape": (DenseClasses(3, (2, 2)), np.zeros((4, 4)), r"takes labels of shape \(N, 2, 2\), got \(4, 4\)"),
    "merged": (MultiRegression(1), 1e9 + np.arange(40)[:, None], "float32 keeps 7 digits, by which .* of column 0"),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_that_are_refused(case: str) -> None:
    task, y, message = LABELS[case]
    with pytest.raises(ValueError, match=message):
        task.labels(np.array(y))


def test_labels_that_never_vary() -> None:
    with pytest.raises(ValueError, match=r"3 training label\(s\) that never vary, so no std to standardise by"):
        Huber(standardise=True).fitted([np.ones(3)])


def test_a_task_that_is_not_standardised_yet_does_not_train() -> None:
    with pytest.raises(ValueError, match="has no mean and std yet; from_arrays takes them"):
        Quantile(standardise=True).loss(torch.zeros(2, 3), torch.zeros(2), ones(2))

"""Weights of classes: a closed form by hand, scikit-learn's balanced ones, and sums that clients' losses add up to."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from fedmtl.data import Federation, from_arrays
from fedmtl.data.split import ClientData, Split
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.tasks import Binary, DenseClasses, MultiClass, MultiLabel, Ordinal, SequenceLabels

WEIGHTS = (2.0, 0.5, 4.0)
Y = torch.tensor([0.0, 1.0, 1.0, 2.0, math.nan])
KINDS: list[Any] = [MultiClass, Ordinal]


def test_cross_entropies_by_hand() -> None:
    """Equal logits cost log 3 each: (2 + 0.5 + 0.5 + 4) log 3 / 4, the missing one aside."""
    task, mask = MultiClass(3, class_weights=WEIGHTS), torch.ones(5)
    assert task.loss(torch.zeros(5, 3), Y, mask).item() == pytest.approx(7 / 4 * math.log(3))
    places = SequenceLabels(3, 5, class_weights=WEIGHTS)
    assert places.loss(torch.zeros(1, 3, 5), Y[None], mask[:1]).item() == pytest.approx(7 / 4 * math.log(3))
    pixels = DenseClasses(3, (5,), class_weights=WEIGHTS)
    assert pixels.loss(torch.zeros(1, 3, 5), Y[None], mask[:1]).item() == pytest.approx(7 / 4 * math.log(3))
    levels = Ordinal(3, class_weights=WEIGHTS)
    assert levels.loss(torch.zeros(5, 2), Y, mask).item() == pytest.approx(7 / 4 * math.log(2))
    flags = Binary(class_weights=(2.0, 0.5))
    assert flags.loss(torch.zeros(5, 1), Y.clamp(max=1), mask).item() == pytest.approx(3.5 / 4 * math.log(2))


def test_gradients_are_torchs_times_the_sum_of_weights() -> None:
    """torch divides by Σ w_y = 7, and this by the 4 labels."""
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    task = MultiClass(3, class_weights=WEIGHTS)
    slope = torch.func.grad(lambda z: task.loss(z, Y, torch.ones(5)))(z)
    other = torch.nn.functional.cross_entropy
    wanted = torch.func.grad(lambda z: other(z, Y[:4].long(), torch.tensor(WEIGHTS)))(z[:4])
    torch.testing.assert_close(slope[:4], wanted * 7 / 4)
    assert (slope[4] == 0).all()


def test_several_labels_weigh_their_ones() -> None:
    """As torch's pos_weight; balanced: three 0 by one 1, a missing one aside, and 1 where a label is always 0."""
    z = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, math.nan], [0.0, 0.0]])
    task: Any = MultiLabel(2, class_weights="balanced").fitted([y.numpy()])
    assert task.class_weights == (3.0, 1.0) and repr(MultiLabel(2)) == "MultiLabel(num_labels=2)"
    other = torch.nn.functional.binary_cross_entropy_with_logits
    wanted = other(z, y.nan_to_num(), pos_weight=torch.tensor([3.0, 1.0]), reduction="none")[~y.isnan()].mean()
    torch.testing.assert_close(task.loss(z, y, torch.ones(4)), wanted)


def test_clients_losses_by_examples_are_the_loss_of_all() -> None:
    """So a client of one class trains with its weight, too."""
    task = MultiClass(3, class_weights=WEIGHTS)
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    parts = [task.loss(z[k : k + 1], Y[k : k + 1], torch.ones(1)) for k in range(4)]
    torch.testing.assert_close(torch.stack(parts).mean(), task.loss(z, Y[:4], torch.ones(4)))


@pytest.mark.parametrize("kind", KINDS)
def test_balanced_weights_are_scikit_learns(kind: Any) -> None:
    """n / (C n_c) over all clients together; a class without a label has 1."""
    draw = np.random.default_rng(0)
    labels = [draw.choice([0, 1, 3], size, p=[0.7, 0.2, 0.1]).astype(float) for size in (30, 7, 50)]
    labels[0][:5] = np.nan
    task = kind(4, class_weights="balanced").fitted(labels)
    seen = np.concatenate(labels)
    seen = seen[~np.isnan(seen)].astype(int)
    wanted = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=seen)
    np.testing.assert_allclose(task.class_weights, [wanted[0], wanted[1], 1.0, wanted[2]])
    assert task.fitted(labels) is task


def federation_of(task: Any) -> Federation:
    x = np.arange(20, dtype=np.float32).reshape(10, 2)
    y = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2])
    return from_arrays({0: {"train": (x, {"a": y}), "test": (x[:2], {"a": y[:2]})}}, tasks={"a": task}).load(0)


def test_from_arrays_balances_by_training_labels() -> None:
    """6, 3 and 1 of 10: 10/18, 10/9 and 10/3. And a run trains with them."""
    found: Any = federation_of(MultiClass(3, class_weights="balanced")).tasks["a"]
    np.testing.assert_allclose(found.class_weights, [10 / 18, 10 / 9, 10 / 3])
    assert repr(found).startswith("MultiClass(num_classes=3, class_weights=(0.55")


def test_weights_change_what_a_run_learns_and_no_weights_change_nothing() -> None:
    x = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    y = (x[:, 0] > 1).astype(int)

    def recall(weights: Any) -> float:
        task = Binary(class_weights=weights)
        data = from_arrays({0: {"train": (x, {"rare": y}), "test": (x, {"rare": y})}}, tasks={"rare": task})
        experiment = Experiment(data=data, model="Linear", algorithm="Local(lr=0.5)", rounds=3, runtime="InProcess")
        (row,) = [one for one in run(experiment).measures if one["client"] is None and one["round"] == 3]
        return row["balanced_accuracy"]

    assert recall("balanced") > recall(()) + 0.05
    assert recall(()) == recall((1.0, 1.0))


def test_weights_are_in_the_text_by_which_plans_differ_and_none_leave_it_as_it_was() -> None:
    assert repr(MultiClass(3)) == "MultiClass(num_classes=3)" and repr(Binary()) == "Binary()"
    assert repr(Binary(class_weights=(1, 2))) == "Binary(class_weights=(1.0, 2.0))"


def test_balanced_weights_without_all_clients_labels() -> None:
    """A federation may be a part of all clients, so it takes no weights from labels."""
    task = MultiClass(3, class_weights="balanced")
    x, y = np.zeros((4, 2), np.float32), np.array([0.0, 1, 2, 0])
    split = Split(x, {"a": y})

    class Own:
        def load(self, seed: int) -> Federation:
            return Federation({"a": task}, (2,), {0: ClientData(split, split)})

    with pytest.raises(ValueError, match=r"class_weights='balanced'.* has no weights yet; from_arrays takes them"):
        run(Experiment(data=Own(), model="Linear", algorithm="Local", rounds=1, runtime="InProcess"))


@pytest.mark.parametrize("weights", ["equal", (1.0, -1.0, 1.0), (0.0, 0.0, 0.0), 2.0, None, (1.0, math.nan, 1.0)])
def test_weights_that_are_none(weights: Any) -> None:
    with pytest.raises(ValueError, match="class_weights are numbers of at least 0, not all 0, one for each class"):
        MultiClass(3, class_weights=weights)


def test_another_number_of_weights() -> None:
    with pytest.raises(ValueError, match="there are 3 classes, and 2 class_weights; weigh each, or none"):
        MultiClass(3, class_weights=(1.0, 2.0))


def test_no_label_to_balance_by() -> None:
    with pytest.raises(ValueError, match=r"no training label to balance classes by; give class_weights="):
        MultiClass(3, class_weights="balanced").fitted([np.full(3, np.nan)])

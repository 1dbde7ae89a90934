"""SGD against numbers worked out by hand, and the losses of its steps."""

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmtl.algorithms.common.local_training import num_examples, one_pass, sgd
from fedmtl.algorithms.common.training_loss import losses_kept, mean_loss
from fedmtl.core.types import Batch, Params
from fedmtl.data.batches import make_batches


def half_square(params: Params, batch: Batch) -> Tensor:
    """½ (w − x)², a mean over the real rows; its gradient is w − mean x."""
    error = (params["w"] - batch["x"]) ** 2 / 2
    return (error * batch["mask"]).sum() / batch["mask"].sum().clamp(min=1)


def batch(*x: float, mask: list[float] | None = None) -> dict[str, Tensor]:
    return {"x": torch.tensor(x), "mask": torch.tensor(mask or [1.0] * len(x))}


def test_sgd_by_hand() -> None:
    """η = ½, w = 0. Batches {2, 6} (mean 4) and {−2}: 0 → 2 → 0, and again → 2 → 0; v has no gradient."""
    params = {"w": torch.tensor(0.0), "v": torch.tensor([3.0])}
    batches = [batch(2.0, 6.0), batch(-2.0)]
    assert sgd(half_square, params, batches[:1], 0.5)["w"] == 2
    assert sgd(half_square, params, batches, 0.5)["w"] == 0
    assert sgd(half_square, params, [*batches, batches[0]], 0.5)["w"] == 2
    assert sgd(half_square, params, batches[::-1], 0.5)["w"] == 1.5  # → −1 → 1.5: the order counts
    assert sgd(half_square, params, batches, 0.5)["v"].tolist() == [3.0]
    assert params["w"] == 0 and params["v"].tolist() == [3.0]


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_sgd_walks_through_the_epochs(epochs: int) -> None:
    """With one batch {8} and η = ½, w halves its distance to 8 each time: 8 (1 − 2^−E)."""
    w = sgd(half_square, {"w": torch.tensor(0.0)}, [batch(8.0)], 0.5, epochs)["w"]
    assert w == 8 * (1 - 2.0**-epochs)


def test_one_pass_is_the_first_of_several() -> None:
    """8 (1 − 2^−1), see above; no pass stays no pass, and outside there are five again."""
    given = (half_square, {"w": torch.tensor(0.0)}, [batch(8.0)], 0.5)
    with one_pass():
        assert sgd(*given, epochs=5)["w"] == 4
        assert sgd(*given, epochs=0)["w"] == 0
    assert sgd(*given, epochs=5)["w"] == 7.75


def test_sgd_differentiates_every_parameter() -> None:
    """f = a b at (2, 3): gradient (3, 2) of both at once; η = 1 gives (−1, 1), and not (−1, 4) one after the other."""
    w = sgd(lambda p, _: p["a"] * p["b"], {"a": torch.tensor(2.0), "b": torch.tensor(3.0)}, [batch(0.0)], 1.0)
    assert (w["a"], w["b"]) == (-1.0, 1.0)


def test_a_padded_batch_changes_nothing() -> None:
    """Not even through a term that does not come from examples: 10 w² alone would move w by −20 η w."""

    def pulled(params: Params, batch: Batch) -> Tensor:
        return half_square(params, batch) + 10 * params["w"] ** 2

    padding = batch(5.0, 7.0, mask=[0.0, 0.0])
    w = {"w": torch.tensor(1.0)}
    assert sgd(pulled, w, [padding, padding], 0.25, epochs=3)["w"] == 1
    assert sgd(pulled, w, [batch(1.0)], 0.25)["w"] == -4  # 1 − ¼ (0 + 20)
    assert sgd(pulled, w, [padding, batch(1.0), padding], 0.25)["w"] == -4


def test_a_step_does_not_grow_with_the_batch() -> None:
    """Padded rows and repeated rows leave the mean as it is."""
    w = {"w": torch.tensor(0.0)}
    for one in (batch(4.0), batch(4.0, 4.0, 4.0, 4.0), batch(4.0, 99.0, mask=[1.0, 0.0])):
        assert sgd(half_square, w, [one], 0.5)["w"] == 2


def test_sgd_of_no_batch_is_the_start() -> None:
    w = {"w": torch.tensor(3.0)}
    assert sgd(half_square, w, [], 0.5) == w


def test_num_examples_counts_what_is_real() -> None:
    batches = make_batches(np.zeros((11, 2), np.float32), {}, 4, None)
    assert num_examples(batches) == 11 and num_examples(batches).shape == ()
    assert num_examples([*batches, batch(1.0, mask=[0.0])]) == 11


def test_losses_of_the_steps_are_kept_by_examples() -> None:
    """(w − x)² / 2 from w = 0 by steps of ½: batches of 1, 1, 0 and 2 examples, at x = 4, 2, 9, −3.

    w is 0, 2, 2, 2, and the losses 8, 0, nothing, 12.5: (1·8 + 1·0 + 2·12.5) / 4 = 8.25.
    """
    batches = [batch(4.0), batch(2.0), batch(9.0, mask=[0.0]), batch(-3.0, -3.0)]
    with losses_kept() as kept:
        w = sgd(half_square, {"w": torch.tensor(0.0)}, batches, 0.5)
        sgd(half_square, {"w": torch.tensor(1e3)}, batches, 0.5, counts=False)
    loss = mean_loss(kept)
    assert loss is not None and loss == 8.25
    assert w["w"] == sgd(half_square, {"w": torch.tensor(0.0)}, batches, 0.5)["w"]


def test_the_loss_in_an_objective_is_kept_without_its_penalty() -> None:
    """From w = 1 towards x = 3 with a penalty of w: the step is that of w − 3 + 1, the loss is 2² / 2."""

    def objective(params: Params, of: Batch) -> tuple[Tensor, Tensor]:
        f = half_square(params, of)
        return f + params["w"], f

    with losses_kept() as kept:
        assert sgd(objective, {"w": torch.tensor(1.0)}, [batch(3.0)], 0.5)["w"] == 1.5
    assert mean_loss(kept) == 2
    assert mean_loss([]) is None

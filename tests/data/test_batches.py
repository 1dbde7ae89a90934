"""Epochs that hold every example once, in batches of equal size."""

import numpy as np
import pytest
import torch

from fedmtl.data.batches import epoch_index, make_batches


def rows(n: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """x [n, 2] and labels of both ranks, from which the row can be read."""
    x = np.stack([np.arange(n), -np.arange(n)], axis=1).astype(np.float32)
    return x, {"a": 10 * np.arange(n, dtype=np.float32), "b": np.arange(3 * n, dtype=np.float32).reshape(n, 3)}


@pytest.mark.parametrize(
    ("n", "batch_size", "steps", "size"),
    [(1, 1, 1, 1), (7, 3, 3, 3), (6, 3, 2, 3), (2, 5, 1, 2), (2, 10**9, 1, 2), (7, None, 1, 7)],
)
@pytest.mark.parametrize("shuffled", [False, True])
def test_an_epoch_holds_every_example_once(
    n: int, batch_size: int | None, steps: int, size: int, shuffled: bool
) -> None:
    """In ⌈n / B⌉ batches of equal size; padding comes last; x, labels and index stay together."""
    x, y = rows(n)
    batches = make_batches(x, y, batch_size, np.random.default_rng(0).permutation(n) if shuffled else None)
    assert len(batches) == steps
    for one in batches:
        assert {key: tuple(value.shape) for key, value in one.items()} == {
            "x": (size, 2), "y.a": (size,), "y.b": (size, 3), "index": (size,), "mask": (size,)
        }  # fmt: skip
        index = one["index"].numpy()
        np.testing.assert_array_equal(one["x"].numpy(), x[index])
        np.testing.assert_array_equal(one["y.a"].numpy(), y["a"][index])
        np.testing.assert_array_equal(one["y.b"].numpy(), y["b"][index])
    mask = torch.cat([one["mask"] for one in batches])
    assert mask.tolist() == [1.0] * n + [0.0] * (steps * size - n)
    order = torch.cat([one["index"] for one in batches])[:n].tolist()
    assert sorted(order) == list(range(n))
    if not shuffled:
        assert order == list(range(n))


def test_the_order_is_the_one_that_was_asked_for() -> None:
    x, y = rows(5)
    batches = make_batches(x, y, 2, np.array([3, 0, 4, 1, 2]))
    assert [batch["index"].tolist() for batch in batches] == [[3, 0], [4, 1], [2, 0]]
    assert [batch["y.a"].tolist() for batch in batches] == [[30, 0], [40, 10], [20, 0]]
    assert batches[2]["mask"].tolist() == [1, 0]


def test_the_epochs_of_several_clients_at_once() -> None:
    """Clients of 3 and 1 examples in batches of 2: what a client of 1 lacks is index 0 under mask 0, also a batch."""
    index, mask = epoch_index(np.array([3, 1]), np.array([[2, 0, 1], [0, 7, 7]]), 2)
    assert index.tolist() == [[[2, 0], [0, 0]], [[1, 0], [0, 0]]]
    assert mask.tolist() == [[[1, 1], [1, 0]], [[1, 0], [0, 0]]]
    for size in (None, 3, 4, 10**9):  # what no client fills is one batch of the largest
        index, mask = epoch_index(np.array([3, 1]), None, size)
        assert index.tolist() == [[[0, 1, 2], [0, 0, 0]]] and mask.tolist() == [[[1, 1, 1], [1, 0, 0]]]
    assert epoch_index(np.array([1]), None, 3, 3)[1].tolist() == [[[1, 0, 0]]]
    assert epoch_index(np.array([1]), None, 10**9, 2)[1].tolist() == [[[1, 0]]]


def test_batches_are_copies_of_the_same_kind() -> None:
    """Labels that are missing stay so; whole numbers stay whole; the data is neither changed nor shared."""
    x, y = np.arange(6, dtype=np.int64).reshape(3, 2), {"a": np.array([1.0, np.nan, 3.0], np.float32)}
    (one,) = make_batches(x, y, None, None)
    assert one["x"].dtype == one["index"].dtype == torch.int64
    assert one["y.a"].dtype == one["mask"].dtype == torch.float32
    np.testing.assert_array_equal(one["y.a"].numpy(), y["a"])
    one["x"].zero_()
    one["y.a"].zero_()
    assert x.sum() == 15 and np.isnan(y["a"][1])

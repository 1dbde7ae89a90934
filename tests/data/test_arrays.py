"""A user's own arrays: the task they are of, what is missing, and what is not taken."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from fedmtl.data import ArrayData, from_arrays
from fedmtl.tasks import Binary, MultiClass, MultiLabel, Regression, Task

NAN = math.nan
X = np.arange(20.0).reshape(10, 2)


def one(y: Any, **options: Any) -> ArrayData:
    return from_arrays({0: (X, {"y": y})}, **options)


def inferred(y: Any, missing: float | None = None) -> Task:
    return one(y, missing=missing).load(0).tasks["y"]


@pytest.mark.parametrize(
    ("y", "missing", "task"),
    [
        (np.arange(10) % 2, None, Binary()),
        (np.arange(10) % 2 == 0, None, Binary()),
        (np.arange(10) % 2 * 1.0, None, Binary()),
        ([0, 1] * 5, None, Binary()),
        ([0, 1, -1, 0, 1] * 2, -1, Binary()),
        ([0.0, 1.0, NAN, 0.0, 1.0] * 2, NAN, Binary()),
        (np.arange(10), None, MultiClass(10)),
        (np.arange(10, dtype=np.uint8), None, MultiClass(10)),
        ([0, 1, 2, 3, -1] * 2, -1, MultiClass(4)),
        ([0, 1, 2, 3, 99] * 2, 99, MultiClass(4)),
        (np.eye(10)[:, :3], None, MultiLabel(3)),
        (np.where(np.eye(10)[:, :3] > 0, -1, 1), -1, MultiLabel(3)),
    ],
)
def test_tasks_are_inferred(y: Any, missing: float | None, task: Task) -> None:
    assert inferred(y, missing) == task


def test_a_class_that_only_one_client_has_counts() -> None:
    federation = from_arrays({0: (X, {"y": [0, 1] * 5}), 1: (X, {"y": [0, 6] * 5})}).load(0)
    assert federation.tasks["y"] == MultiClass(7)


def test_a_regression_is_standardised_by_the_training_labels() -> None:
    """Of all clients that own it, weighted by their examples, missing ones left out; not by what is tested on."""
    draw = np.random.default_rng(0)
    clients = {c: (np.eye(n), {"y": draw.normal(c, 1, n)}) for c, n in ((0, 6), (1, 14))}
    clients = {c: (np.ones((len(x), 2)), y) for c, (x, y) in clients.items()}
    clients[1][1]["y"][:5] = -9
    dataset = from_arrays(clients, missing=-9)
    for seed in range(3):
        federation = dataset.load(seed)
        y = np.concatenate([data.train.y["y"] for data in federation.clients.values()]).astype(float)
        task = federation.tasks["y"]
        assert isinstance(task, Regression)
        assert (task.mean, task.std) == pytest.approx((np.nanmean(y), np.nanstd(y)), rel=1e-6)
    assert dataset.load(0).tasks != dataset.load(1).tasks


def test_tasks_can_be_said() -> None:
    """Whole numbers as something to predict, and more classes than were seen."""
    assert one(np.arange(10), tasks={"y": Regression(4.5, 3.0)}).load(0).tasks == {"y": Regression(4.5, 3.0)}
    assert one(np.arange(10), tasks={"y": MultiClass(12)}).load(0).tasks == {"y": MultiClass(12)}


def test_data_print_without_their_arrays() -> None:
    assert repr(one(np.arange(10) % 2)) == "ArrayData(1 clients, tasks={'y': Binary()}, test_fraction=0.2)"


def test_what_is_missing_becomes_nan() -> None:
    data = one([5, -1, 3, -1, 0, 1, 2, 3, 4, 5], missing=-1).load(0).clients[0]
    pairs = {int(x[0]) // 2: y for split in data for x, y in zip(split.x, split.y["y"], strict=True)}
    assert {row for row, y in pairs.items() if math.isnan(y)} == {1, 3}
    assert pairs[0] == 5 and pairs[2] == 3


def test_rows_stay_together_and_each_is_used_once() -> None:
    data = one(np.arange(10), test_fraction=0.3).load(0).clients[0]
    assert (len(data.train.x), len(data.test.x)) == (7, 3)
    pairs = [(x[0], y) for split in data for x, y in zip(split.x, split.y["y"], strict=True)]
    assert Counter(pairs) == Counter((2.0 * i, float(i)) for i in range(10))


def test_a_test_part_of_ones_own_is_left_alone() -> None:
    x = X[:3]
    data = from_arrays({4: {"train": (x, {"y": [0, 1, 2]}), "test": (x[:1] + 100, {"y": [2]})}})
    for seed in range(2):
        train, test = data.load(seed).clients[4]
        assert train.x.tolist() == x.tolist() and train.y["y"].tolist() == [0, 1, 2]
        assert test.x.tolist() == [[100, 101]] and test.y["y"].tolist() == [2]


def test_clients_may_own_different_tasks() -> None:
    federation = from_arrays({0: (X, {"a": [0, 1] * 5}), 1: (X, {"a": [0, 1] * 5, "b": np.arange(10)})}).load(0)
    assert [data.tasks for data in federation.clients.values()] == [("a",), ("a", "b")]


def test_arrays_are_copied_and_left_as_they_were() -> None:
    x, y = np.asfortranarray(X, np.float64), np.array([0, -1] * 5)
    data = from_arrays({0: (x, {"y": y})}, missing=-1)
    x[:], y[:] = 77.0, 1
    split = data.load(0).clients[0].train
    assert split.x.max() < 77 and split.x.dtype == np.float32 and split.x.flags.c_contiguous
    assert np.isnan(split.y["y"]).any()

    part = (np.zeros((4, 2), np.float32), {"y": np.zeros(4, np.float32)})
    loaded = from_arrays({0: {"train": part, "test": part}}).load(0).clients[0].train
    assert not np.shares_memory(loaded.x, part[0]) and not np.shares_memory(loaded.y["y"], part[1]["y"])


@pytest.mark.parametrize(
    ("clients", "message"),
    [
        ({}, "at least one client, got none"),
        (
            {"anna": (X, {"y": [0, 1] * 5}), 1: (X, {})},
            "all of them, or whole numbers from 0, got 'anna'; number or name",
        ),
        ({3: X}, r"Client 3 is a ndarray; from_arrays takes \(x, \{task: labels\}\)"),
        ({3: (X, np.arange(10))}, r"Client 3 is a tuple; from_arrays takes"),
        ({3: {"train": (X, {"y": [0, 1] * 5})}}, r"Client 3 has parts \['train'\]; use 'train' and 'test'"),
        ({3: (X[:, 0], {"y": [0, 1] * 5})}, r"Client 3: inputs are numbers \[N, …\], got float64 of shape \(10,\)"),
        ({3: (X.astype(str), {"y": [0, 1] * 5})}, r"Client 3, inputs: <U.* must be numbers, not text"),
        ({3: (X, {"y": list("aa") * 5})}, r"Client 3, task 'y': labels: <U1 .* code names as whole numbers .* is 'a'"),
        (
            {3: (X, {"y": [0, 1, NAN, NAN, 1] * 2})},
            r"task 'y': 4 label\(s\) are NaN, the first in row 2; pass missing=",
        ),
        ({3: (X, {"y": [0, 1]})}, r"Client 3: task 'y' has 2 labels for 10 inputs"),
        ({3: (X[:1], {"y": [1]})}, r"Client 3 has 1 example\(s\), too few .* test part of its own"),
        (
            {3: (np.where(X > 5, NAN, X), {"y": [0, 1] * 5})},
            r"Client 3: inputs hold NaN or infinity in 7 row\(s\), first row 3, feature 0 \(nan\); drop or impute them",
        ),
        (
            {3: (X * 1e300, {"y": [0, 1] * 5})},
            r"Client 3: inputs hold numbers beyond float32 .* row 0, feature 1 \(1e\+300\); scale",
        ),
        ({3: (X, {"y": [0, 1] * 5}), 4: (X[:, :1], {"y": [0, 1] * 5})}, r"Client 4: inputs have shape \(1,\)"),
        ({3: (X, {}), 4: (X, {"y": [0, 1] * 5})}, "Client 3 owns no task"),
        ({3: (X, {"y": [0, 2, -1, 2, 2] * 2})}, r"Task 'y' has whole numbers from -1 to 2, .*; pass missing=-1"),
        ({3: (X, {"y": X})}, r"Task 'y' has labels of shape \(N, 2\) that are not columns of 0 and 1"),
        ({3: (X, {"y": np.zeros((10, 2, 2))})}, r"Task 'y' has labels of shape \(N, 2, 2\)"),
        ({3: (X, {"y": [0, 1] * 5}), 4: (X, {"y": np.zeros((10, 2))})}, "Task 'y': labels of one example have shapes"),
        ({3: (X, {"y": np.full(10, 2.5)})}, r"Task 'y' has 8 training label\(s\) that never vary, .*; pass tasks="),
    ],
)
def test_what_it_refuses(clients: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_arrays(clients)


def test_nothing_but_missing_labels() -> None:
    with pytest.raises(ValueError, match="Task 'y' has no label to infer its kind from; pass tasks="):
        one(np.full(10, NAN), missing=NAN)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1])
def test_a_test_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(ValueError, match=f"test_fraction={fraction}"):
        one(np.arange(10), test_fraction=fraction)


def test_labels_that_the_task_said_cannot_have() -> None:
    with pytest.raises(ValueError, match="client 0, .*, task 'y': .* num_classes must be at least 10"):
        one([0, 9] * 5, tasks={"y": MultiClass(9)})

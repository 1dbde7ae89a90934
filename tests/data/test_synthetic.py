"""The planted subspace, found again without the code that planted it."""

from typing import Any

import numpy as np
import pytest

from fedmtl.data import Synthetic
from fedmtl.tasks import Binary, MultiClass, MultiLabel, Regression


def coefficients(dataset: Synthetic, seed: int) -> np.ndarray:
    """Every client's least-squares solution on its own examples, [features, clients]."""
    clients = dataset.load(seed).clients.values()
    solved = [np.linalg.lstsq(d.train.x.astype(float), d.train.y[d.tasks[0]].astype(float))[0] for d in clients]
    return np.stack(solved, axis=1)


PLANTED = Synthetic(clients=30, examples=40, features=12, rank=3, kind="regression")


def test_answers_are_linear_in_a_subspace_that_clients_share() -> None:
    """With 40 examples of 12 features and no noise, least squares finds V w_c exactly: 30 vectors, of rank 3."""
    found = coefficients(PLANTED, 0)
    singular = np.linalg.svd(found, compute_uv=False)
    assert singular[2] > 0.1 and singular[3] < 1e-5 * singular[0]
    v = PLANTED.subspace(0)
    np.testing.assert_allclose(v.T @ v, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(v @ (v.T @ found), found, atol=1e-5)


def test_heads_are_each_clients_own() -> None:
    found = coefficients(PLANTED, 0)
    cosines = found.T @ found / np.outer(*[np.linalg.norm(found, axis=0)] * 2)
    assert np.abs(cosines - np.eye(30)).max() < 0.9999


def test_what_is_learnt_holds_on_the_test_part() -> None:
    found = coefficients(PLANTED, 0)
    for client, data in PLANTED.load(0).clients.items():
        np.testing.assert_allclose(data.test.x @ found[:, client], data.test.y[data.tasks[0]], atol=1e-5)


def test_noise_is_what_no_line_explains() -> None:
    """Residuals of least squares with n examples and d features have variance noise² (1 − d/n): here 0.25 · 0.7."""
    dataset = Synthetic(clients=200, examples=40, features=12, rank=3, kind="regression", noise=0.5)
    found = coefficients(dataset, 0)
    left = [d.train.x @ found[:, c] - d.train.y[d.tasks[0]] for c, d in dataset.load(0).clients.items()]
    assert np.mean(np.square(left)) == pytest.approx(0.25 * 0.7, rel=0.1)
    assert dataset.load(0).tasks["regression_0"] == Regression(0.0, np.sqrt(1.25))


def test_regression_labels_have_the_mean_and_std_that_the_task_says() -> None:
    for noise in (0.0, 1.0):
        federation = Synthetic(clients=2000, kind="regression", noise=noise).load(0)
        y = np.concatenate([y for d in federation.clients.values() for y in d.train.y.values()])
        assert y.mean() == pytest.approx(0, abs=0.05) and y.std() == pytest.approx(np.sqrt(1 + noise**2), rel=0.05)


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
def test_classes_can_be_learnt(kind: str) -> None:
    """Least squares on 400 one-hot (or ±1) labels is right far more often on the test part than chance.

    Chance is 1/4 for four classes and 1/2 for a yes or no.
    """
    dataset = Synthetic(clients=8, examples=400, test_examples=100, features=16, kind=kind)
    right = []
    for data in dataset.load(0).clients.values():
        (name,) = data.tasks
        train, test = data.train.y[name], data.test.y[name]
        target = np.eye(4)[train.astype(int)] if kind == "multiclass" else 2 * train - 1
        scores = data.test.x @ np.linalg.lstsq(data.train.x, target)[0]
        right.append(np.mean((scores.argmax(-1) if kind == "multiclass" else scores > 0) == test))
    assert np.mean(right) > (0.7 if kind == "multiclass" else 0.85)


def test_kinds_and_names_of_tasks() -> None:
    federation = Synthetic(clients=6, kind="mixed", tasks=5, classes=3).load(0)
    assert federation.tasks == {
        "multiclass_0": MultiClass(3),
        "binary_1": Binary(),
        "regression_2": Regression(),
        "multilabel_3": MultiLabel(3),
        "multiclass_4": MultiClass(3),
    }
    assert [data.tasks for data in federation.clients.values()] == [
        (name,) for name in [*federation.tasks, "multiclass_0"]
    ]


def test_clients_can_own_several_tasks() -> None:
    clients = Synthetic(clients=3, tasks=3, tasks_per_client=2).load(0).clients
    names = ["multiclass_0", "multiclass_1", "multiclass_2"]
    assert [set(data.tasks) for data in clients.values()] == [{*names[:2]}, {*names[1:]}, {names[2], names[0]}]


def test_sizes() -> None:
    even = Synthetic(clients=50, examples=20, test_examples=7).load(0)
    assert {(len(d.train.x), len(d.test.x)) for d in even.clients.values()} == {(20, 7)}
    ragged = Synthetic(clients=400, examples=20, test_examples=7, ragged=True).load(0)
    assert {len(d.train.x) for d in ragged.clients.values()} == set(range(5, 21))
    assert {len(d.test.x) for d in ragged.clients.values()} == {7}


def test_ten_thousand_clients_hold_no_more_than_their_numbers() -> None:
    """Their arrays are cut from one block: 10⁴ · 48 · 32 float32 of inputs and one label each, below 65 MB."""
    federation = Synthetic(clients=10_000).load(0)
    splits = [split for data in federation.clients.values() for split in data]
    bases = {id(split.x.base): split.x.base.nbytes for split in splits if split.x.base is not None}
    assert len(splits) == 20_000 and len(bases) == 1 and sum(bases.values()) == 10_000 * 48 * 32 * 4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"clients": 0}, "got clients=0"),
        ({"examples": 0}, "got examples=0"),
        ({"test_examples": 0}, "got test_examples=0"),
        ({"features": 0}, "got features=0"),
        ({"rank": 0}, "got rank=0"),
        ({"tasks": 0}, "got tasks=0"),
        ({"tasks_per_client": 0}, "got tasks_per_client=0"),
        ({"rank": 33}, "features=32, fewer than rank=33"),
        ({"classes": 1}, "got classes=1"),
        ({"kind": "ranking"}, "multiclass, binary, regression, multilabel and mixed, got kind='ranking'"),
        ({"tasks_per_client": 5}, "tasks=4, fewer than tasks_per_client=5"),
        ({"clients": 3}, "clients=3 leaves some of tasks=4 without an owner"),
        ({"noise": -0.1}, "got noise=-0.1"),
        ({"noise": float("nan")}, "got noise=nan"),
    ],
)
def test_what_it_refuses(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Synthetic(**fields)

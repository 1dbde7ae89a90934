"""What is asked of every partition: each example once, the seed decides, what cannot be is refused."""

import pickle
from typing import Any, NamedTuple

import numpy as np
import pytest

from fedmtl.data.partitions import (
    IID,
    Dealt,
    Dirichlet,
    ExampleFacts,
    FeatureShift,
    NaturalIds,
    Pathological,
    QuantitySkew,
    TaskAssignment,
)
from fedmtl.data.partitions.base import as_partition, deal
from fedmtl.registry.components import REGISTRY, describe, make

ROWS = 600
LABELS = np.repeat(np.arange(10), 60)
IDS = np.array([f"site-{row % 7}" for row in range(ROWS)])
EXAMPLES = ExampleFacts(ROWS, LABELS, IDS, ("a", "b", "c"), (1, 4, 4))

SETTINGS = [
    IID(),
    Dirichlet(0.3, min_size=5),
    Pathological(3),
    QuantitySkew(min_size=5),
    QuantitySkew("dirichlet", 0.3, min_size=5),
    NaturalIds(),
    FeatureShift("rotation", 30.0),
    FeatureShift("noise", 0.5, Dirichlet(1.0)),
    FeatureShift("brightness", 0.5, FeatureShift("noise")),
    TaskAssignment(2, Pathological(2)),
]
NAMED = {type(each).__name__ for each in SETTINGS}
ALL = [*SETTINGS, *(make("partition", name) for name in REGISTRY["partition"] if name not in NAMED)]


@pytest.mark.parametrize("partition", ALL, ids=repr)
def test_each_example_goes_to_one_client_and_the_seed_decides(partition: Any) -> None:
    clients = 0 if isinstance(partition, NaturalIds) else 7
    first, again, other = (deal(partition, EXAMPLES, clients, seed) for seed in (3, 3, 4))
    assert len(first.rows) == 7 and sorted(np.concatenate(first.rows).tolist()) == list(range(ROWS))
    assert min(map(len, first.rows)) >= getattr(partition, "min_size", 1)
    assert all(np.array_equal(one, two) for one, two in zip(first.rows, again.rows, strict=True))
    assert first.owned == again.owned and first.names == again.names
    if not isinstance(partition, NaturalIds):
        assert not all(np.array_equal(one, two) for one, two in zip(first.rows, other.rows, strict=True))
    x = np.random.default_rng(0).standard_normal((5, 1, 4, 4)).astype(np.float32)
    for one, two in zip(first.changes, again.changes, strict=True):
        changed = one(x)
        assert changed.dtype == np.float32 and changed.shape == x.shape and np.array_equal(changed, two(x))


@pytest.mark.parametrize("partition", ALL, ids=repr)
def test_it_comes_back_from_its_table_its_repr_and_a_pickle(partition: Any) -> None:
    for again in (describe("partition", partition), repr(partition)):
        assert as_partition(again) == partition
    assert pickle.loads(pickle.dumps(partition)) == partition


def test_natural_clients_have_names_and_their_own_rows() -> None:
    found = deal(NaturalIds(), EXAMPLES, 0, 0)
    assert found.names == [f"site-{k}" for k in range(7)]
    assert all(set(IDS[rows]) == {name} for rows, name in zip(found.rows, found.names, strict=True))
    numbers = deal(NaturalIds(), EXAMPLES._replace(ids=np.arange(ROWS) % 3 + 10), 3, 0)
    assert numbers.names == ["10", "11", "12"]


def test_natural_clients_that_are_too_small() -> None:
    some = EXAMPLES._replace(ids=np.array(["lone", *IDS[1:]]))
    with pytest.raises(ValueError, match=r"Client 'lone' has 1 example.*, one of 1 clients .* NaturalIds\(drop=True\)"):
        deal(NaturalIds(), some, 0, 0)
    found = deal(NaturalIds(drop=True), some, 0, 0)
    assert "lone" not in found.names and 0 not in np.concatenate(found.rows)


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_sizes_are_the_least_and_a_share_of_the_rest(spread: float) -> None:
    """σ = 0: equal shares of 600 over 7: 85 or 86. Else the order of sizes is random and log-normal: σ of the logs of
    n − m is about 1 for 3,000 clients of m = 2 (standard error 1/√(2·3000) = 0.013, and rounding)."""
    if not spread:
        sizes = [len(rows) for rows in deal(QuantitySkew(spread=spread), EXAMPLES, 7, 0).rows]
        assert sorted(sizes) == [85] * 2 + [86] * 5
        return
    many = ExampleFacts(3000 * 500)
    logs = np.log([len(rows) - 2 for rows in QuantitySkew(spread=spread).deal(many, 3000, 0).rows])
    assert logs.std() == pytest.approx(1.0, abs=0.05)


def test_a_quarter_turn_is_a_quarter_turn() -> None:
    """Two clients have levels 0 and 1: turned by −90 and 90 degrees, which numpy's rot90 does without rounding."""
    x = np.random.default_rng(0).random((3, 2, 5, 5)).astype(np.float32)
    found = deal(FeatureShift("rotation", 90.0), ExampleFacts(10, shape=(2, 5, 5)), 2, 0)
    turned = [change(x) for change in found.changes]
    expected = [np.rot90(x, times, (2, 3)) for times in (-1, 1)]
    order = (0, 1) if np.allclose(turned[0], expected[0], atol=1e-5) else (1, 0)
    assert all(np.allclose(turned[place], one, atol=1e-5) for place, one in zip(order, expected, strict=True))


def test_levels_lie_evenly_and_shifts_are_those_of_the_equations() -> None:
    """Five clients: brightness 1 ± 0.5 in steps of 0.25; noise of std 0, 0.1, 0.2, 0.3, 0.4 (error of 1/√(2·16000))."""
    ones = np.ones((1000, 1, 4, 4), np.float32)
    bright = deal(FeatureShift("brightness", 0.5), EXAMPLES, 5, 0).changes
    assert sorted(float(change(ones)[0, 0, 0, 0]) for change in bright) == [0.5, 0.75, 1.0, 1.25, 1.5]
    noisy = [change(ones) - 1 for change in deal(FeatureShift("noise", 0.4), EXAMPLES, 5, 0).changes]
    assert sorted(float(noise.std()) for noise in noisy) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=0.01)


def test_tasks_have_as_many_owners_one_as_another() -> None:
    found = deal(TaskAssignment(2), EXAMPLES, 7, 0)
    owners = [sum(task in owned for owned in found.owned) for task in "abc"]
    assert {len(owned) for owned in found.owned} == {2} and sorted(owners) == [4, 5, 5]


class Own(NamedTuple):
    """A user's own rule, as it may be wrong."""

    dealt: Any

    def deal(self, examples: ExampleFacts, clients: int, seed: int) -> Any:
        return self.dealt


def rows(*parts: list[int]) -> list[np.ndarray]:
    return [np.array(part, np.int64) for part in parts]


@pytest.mark.parametrize(
    ("partition", "examples", "clients", "message"),
    [
        (IID(), EXAMPLES, 0, "got clients=0; use clients=10"),
        (IID(), ExampleFacts(3), 4, "4 clients .* need 4, there are 3"),
        (Dirichlet(), EXAMPLES._replace(labels=None), 4, "goes by classes, and these examples have none"),
        (Pathological(11), EXAMPLES, 4, "1 to 10 of the 10 classes, got classes=11"),
        (QuantitySkew(min_size=100), EXAMPLES, 7, "7 clients with at least 100 examples each need 700, there are 600"),
        (NaturalIds(), EXAMPLES._replace(ids=None), 0, "a column of clients, and these examples have none"),
        (NaturalIds(), EXAMPLES, 5, "finds 7 clients, got clients=5"),
        (FeatureShift(), EXAMPLES._replace(shape=(9,)), 4, r"got inputs of shape \(9,\)"),
        (TaskAssignment(4), EXAMPLES, 4, "each client 4 of 3 task"),
        (TaskAssignment(1), EXAMPLES, 2, "2 clients of 1 task.* without an owner"),
        (Own(None), EXAMPLES, 4, "gives a Dealt of one client or more, got None"),
        (Own(Dealt(())), EXAMPLES, 4, "one client or more"),
        (Own(Dealt(rows([0], []))), EXAMPLES, 2, "client 1 has no example"),
        (Own(Dealt(rows([0], [600]))), EXAMPLES, 2, "whole numbers from 0 to 599"),
        (Own(Dealt(rows([0, 3], [3]))), EXAMPLES, 2, "example 3 is dealt to two clients"),
        (Own(Dealt(rows([0], [1]), names=("a",))), EXAMPLES, 2, "2 clients have 1 names"),
    ],
)
def test_what_cannot_be(partition: Any, examples: ExampleFacts, clients: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        deal(partition, examples, clients, 0)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("Dirichlet(alpha=0.0)", "positive, finite alpha"),
        ("Dirichlet(min_size=0)", "min_size=0"),
        ("Pathological(0)", "classes=0"),
        ("QuantitySkew(kind='normal')", "lognormal, dirichlet"),
        ("QuantitySkew('dirichlet', 0.0)", "above 0, got spread=0.0"),
        ("FeatureShift(kind='blur')", "rotation, brightness, noise"),
        ("FeatureShift('brightness', 2.0)", "at most 1"),
        ("TaskAssignment(0)", "tasks_per_client=0"),
        ("Patological()", "Did you mean Pathological"),
    ],
)
def test_settings_that_cannot_be(written: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_partition(written)

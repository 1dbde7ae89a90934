"""Studies choose on validation parts: an equal grid for every method, and a choice that no test label can move."""

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedmtl.core.random import rng

REPRODUCE = Path(__file__).parents[2] / "simulations" / "reproduce"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Scripts find ``tune`` and ``loaders`` beside them, as they do when they are run."""
    monkeypatch.syspath_prepend(str(REPRODUCE))
    return importlib.import_module


def test_the_choice_is_the_best_setting_and_round(script: Any) -> None:
    """Validation score −(lr − 2)² − (lam − 1)² − (round − 4)²/10 is best at lr 2, lam 1, round 4: inside, score 0."""
    tune = script("tune")
    method = tune.Method("m", lambda lr, lam: (lr, lam), (tune.Axis("lr", (1, 2, 4)), tune.Axis("lam", (0, 1, 3))))

    def measure(algorithm: tuple[float, float]) -> list[dict[int, float]]:
        lr, lam = algorithm
        return [{r: -((lr - 2) ** 2) - (lam - 1) ** 2 - (r - 4) ** 2 / 10 for r in (2, 4, 6)}]

    assert tune.choose(method, measure) == ({"lr": 2, "lam": 1}, 4, 0, ())


def test_ends_of_the_grid_are_named_but_for_natural_ones(script: Any) -> None:
    """More is better in both: lr ends at 4, which is named; lam ends at 3, which is a bound by nature."""
    tune = script("tune")
    axes = (tune.Axis("lr", (1, 2, 4)), tune.Axis("lam", (0, 1, 3), bounds=(3,)))
    choice = tune.choose(tune.Method("m", lambda lr, lam: lr + lam, axes), lambda total: [{1: total}])
    assert choice.setting == {"lr": 4, "lam": 3} and choice.ends == ("lr",)
    assert "no: lr at the end" in tune.choices_table({"m": choice})


def test_what_diverges_is_not_chosen(script: Any) -> None:
    """lr 4 has no curve in the second pilot, lr 2 a NaN at its best round: mean scores are 1 (lr 1), then 2 (lr 2)."""
    tune = script("tune")
    method = tune.Method("m", lambda lr: lr, (tune.Axis("lr", (1, 2, 4)),))
    curves = {1: [{1: 1, 2: 0}, {1: 1, 2: 0}], 2: [{1: 2, 2: 9}, {1: 2, 2: np.nan}], 4: [{1: 9, 2: 9}, {}]}
    assert tune.choose(method, lambda lr: curves[lr])[:3] == ({"lr": 2}, 1, 2)
    with pytest.raises(ValueError, match="No setting of m trains"):
        tune.choose(method, lambda lr: [{}])


def test_unequal_grids_are_refused(script: Any) -> None:
    tune = script("tune")
    one = tune.Method("one", float, (tune.Axis("lr", (1, 2, 3)),))
    with pytest.raises(ValueError, match=r"'one': 3, 'two': 1"):
        tune.check_equal([one, tune.Method("two", float, (tune.Axis("lr", (1,)),))])


@pytest.mark.parametrize(("name", "count"), [("landmine", 25), ("school", 16), ("har", 16), ("fedem_synthetic", 16)])
def test_the_grids_of_every_table_are_equal(script: Any, name: str, count: int) -> None:
    """The settings a method that each page names, and each makes an algorithm."""
    module = script(name)
    tables = [module.METHODS] if name != "har" else [[*module.with_model(None), module.MOCHA]]
    assert [script("tune").check_equal(methods) for methods in tables] == [count]
    made = [repr(method.make(**setting)) for methods in tables for method in methods for setting in method.settings()]
    assert len(set(made)) == len(made)


def test_groups_are_divided_whole(script: Any) -> None:
    """Of 5 groups, .4 are 2; of 2 groups, .1 is still 1 and .9 not both."""
    divide = script("loaders").divide
    groups = np.repeat(np.arange(5), 3)
    chosen = divide(groups, 0.4, np.random.default_rng(0))
    assert chosen.sum() == 6 and all(len(set(chosen[groups == g])) == 1 for g in range(5))
    for share in (0.1, 0.9):
        assert divide(np.arange(2), share, np.random.default_rng(0)).sum() == 1
    with pytest.raises(ValueError, match="two or more groups"):
        divide(np.zeros(4), 0.5, np.random.default_rng(0))


def fields(labels: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64]]) -> Any:
    """29 fields of 100 signatures, of which x_0 tells the 20 mines; the labels of some rows are then changed."""
    draw = np.random.default_rng(0)
    x, y = draw.standard_normal((2900, 9)), np.tile(np.arange(100) < 20, 29).astype(np.int64)
    x[:, 0] += 3 * y
    field = np.repeat(np.arange(29), 100)
    return lambda: (x, labels(y, field), field)


def test_test_labels_move_no_choice_of_landmine(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels of the half for results are turned; then the half for tuning is the same, and so is every choice, while
    the areas that are reported are those of the turned labels."""
    landmine, loaders, tune = script("landmine"), script("loaders"), script("tune")
    methods = tune.thinned([m for m in landmine.METHODS if m.name in ("Local", "MR-MTL")])

    def turned(y: NDArray[np.int64], field: NDArray[np.int64]) -> NDArray[np.int64]:
        data = loaders.Landmine(20, "results")
        ours = [data._half(np.flatnonzero(field == k), k) for k in range(29)]
        new = y.copy()
        rows = np.concatenate(ours)
        new[rows] = np.random.default_rng(1).permutation(y[rows])
        return new

    found = []
    for labels in (lambda y, field: y, turned):
        monkeypatch.setattr(loaders, "landmine_rows", fields(labels))
        choices = [landmine.tuned(method, 20, 1, 2, None) for method in methods]
        areas = landmine.measure(methods[0].make(**choices[0].setting), loaders.Landmine(20, "results"), 0, 2)
        found.append((choices, areas["2"]))
    assert found[0][0] == found[1][0]
    assert found[0][1] > 0.8 > 0.65 > found[1][1]


def arrays(federation: Any) -> list[NDArray[Any]]:
    parts = [getattr(client, part) for client in federation.clients.values() for part in ("train", "test")]
    return [array for part in parts for array in (part.x, *part.y.values())]


def same(one: Any, other: Any) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(arrays(one), arrays(other), strict=True))


def test_test_scores_move_nothing_that_school_validates_on(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Test pupils are the last quarter of the split's order; they alone get other scores."""
    loaders = script("loaders")
    draw = np.random.default_rng(0)
    plain = [(draw.standard_normal((n, 27)), draw.standard_normal(n)) for n in (20, 33, 41)]
    changed = []
    for k, (x, y) in enumerate(plain):
        test = rng(0, 0, k, "school").permutation(len(y))[round(0.75 * len(y)) :]
        new = y.copy()
        new[test] += 7
        changed.append((x, new))
    found = []
    for rows in (plain, changed):
        monkeypatch.setattr(loaders, "school_rows", lambda rows=rows: rows)
        found.append([loaders.School(validation=v).load(0) for v in (True, False)])
    assert same(found[0][0], found[1][0]) and not same(found[0][1], found[1][1])


def test_test_labels_move_nothing_that_the_mixtures_validate_on(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = script("fedem_synthetic")
    data, examples = module.Mixtures(clients=4, tests=10), module.Mixtures.examples

    def changed(self: Any, concepts: Any, seed: int, client: int) -> Any:
        x, y = examples(self, concepts, seed, client)
        size = concepts.sizes[client]
        return x, np.concatenate([y[:size], ~y[size:]])

    found = []
    for rule in (examples, changed):
        monkeypatch.setattr(module.Mixtures, "examples", rule)
        found.append([replace(data, validation=v).load(0) for v in (True, False)])
    assert same(found[0][0], found[1][0]) and not same(found[0][1], found[1][1])
    inner, whole = found[0]
    for fitted, client in zip(inner.clients.values(), whole.clients.values(), strict=True):
        assert len(fitted.train.x) + len(fitted.test.x) == len(client.train.x)


def test_test_labels_move_nothing_that_activities_validate_on(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """3 people, 6 activities, 4 bouts of 2 windows each; and the bouts of the three parts have none in common."""
    module = script("har")
    bout = np.repeat(np.arange(72, dtype=np.uint16), 2)
    x = np.random.default_rng(0).standard_normal((144, 128, 9)).astype(np.float32)
    windows = module.Windows(x, (bout // 4 % 6).astype(np.uint8), (bout // 24).astype(np.uint8), bout)
    test = module.tested(windows, 0.25, 0)
    turned = windows._replace(y=np.where(test, 5 - windows.y, windows.y).astype(np.uint8))
    held = module.validated(windows, test, 0.25, 0)
    assert test.sum() == held.sum() == 18 * 2 and not (test & held).any()
    monkeypatch.setattr(module, "tested", lambda *_: test)
    found = []
    for rows in (windows, turned):
        monkeypatch.setattr(module, "read", lambda rows=rows: rows)
        found.append([module.HumanActivity(validation=v).load(0) for v in (True, False)])
    assert same(found[0][0], found[1][0]) and not same(found[0][1], found[1][1])

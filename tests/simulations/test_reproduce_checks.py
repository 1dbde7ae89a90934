"""Two reruns that check numbers: MOCHA's optimum from both sides, and six methods against a plain loop."""

import importlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner

REPRODUCE = Path(__file__).parents[2] / "simulations" / "reproduce"
DATA = Path(os.environ.get("FEDMTL_DATA", ""))
SMALL = DATA / "landmine_small" / "small.mat"
FASHION = DATA / "fashion_mnist_7k" / "fashion_mnist_7k.npz"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    monkeypatch.syspath_prepend(str(REPRODUCE))
    return importlib.import_module


def quick(module: ModuleType) -> str:
    app = Typer()
    app.command()(module.main)
    done = CliRunner().invoke(app, ["--quick"])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_one_example_by_hand(script: Any) -> None:
    """x = y = 1: P(w) = max(0, 1 − w) + λw²/2 falls until w = 1, as λ < 1, so that the minimum is λ/2.

    D(β) = β − β²/2λ is largest at β = λ: λ/2 again.
    """
    module = script("mocha_optimum")
    field = [(np.ones((1, 1)), np.ones(1))]
    assert module.primal(field, np.ones((1, 1)), 0.1) == pytest.approx(0.05)
    assert module.dual(field, [np.array([0.1])], 0.1) == pytest.approx(0.05)
    low, high = module.bounds(field, 0.1)
    assert low <= 0.05 <= high and high - low < 1e-3


def test_the_two_objectives_are_dual(script: Any) -> None:
    """Weak duality, for any W and any β: D(β) ≤ P(W). Here 200 draws of two fields."""
    module = script("mocha_optimum")
    draw = np.random.default_rng(0)
    fields = [(draw.standard_normal((n, 3)), np.sign(draw.standard_normal(n))) for n in (4, 7)]
    duals = [module.dual(fields, [draw.uniform(0, 1, 4), draw.uniform(0, 1, 7)], 0.3) for _ in range(200)]
    primals = [module.primal(fields, draw.uniform(0, 1) * draw.standard_normal((2, 3)), 0.3) for _ in range(200)]
    low, high = module.bounds(fields, 0.3)
    assert max(duals) <= high and low <= min(primals)
    assert low <= high and high - low < 1e-3


def test_the_proximal_step_is_a_minimum(script: Any) -> None:
    """Of ½ ‖S − V‖² + strength/2 ‖S‖²_*: no nearby matrix is lower. With V = diag(3, 1) and strength 1, one singular
    value is active: s_1 = 3 − 3/2 = 3/2, and 1 < 3/2 goes to 0."""
    module = script("mocha_optimum")
    np.testing.assert_allclose(module.shrink(np.diag([3.0, 1.0]), 1.0), np.diag([1.5, 0.0]), atol=1e-12)
    draw = np.random.default_rng(0)
    v = draw.standard_normal((4, 3))

    def objective(s: Any) -> float:
        return 0.5 * float(((s - v) ** 2).sum()) + 0.2 * float(np.linalg.svd(s, compute_uv=False).sum()) ** 2 / 2

    least = module.shrink(v, 0.2)
    assert all(objective(least + 1e-3 * draw.standard_normal((4, 3))) >= objective(least) for _ in range(200))


@pytest.mark.skipif(not SMALL.is_file(), reason="small.mat is not in $FEDMTL_DATA/landmine_small")
def test_mocha_goes_to_the_optimum(script: Any) -> None:
    """[23.40824, 23.41315] holds the minimum, by another primal and dual than these. With κ = 0.05, MOCHA comes to
    within .5 % of it in 100 passes, from above."""
    module = script("mocha_optimum")
    fields = module.read()
    low, high = module.bounds(fields, 0.1, steps=500, levels=4)
    assert low <= 23.41315 and high >= 23.40824 and high - low < 0.03
    (value,) = module.mocha(fields, module.Mocha(lam=0.1, floor=0.05), [100])
    assert low <= value <= 1.005 * low


@pytest.mark.skipif(not FASHION.is_file(), reason="fashion_mnist_7k.npz is not in $FEDMTL_DATA/fashion_mnist_7k")
def test_partitions_are_as_said(script: Any) -> None:
    """2,100 images of 20 clients; with two classes a client, four clients have each class."""
    module = script("against_pfllib")
    for data in module.PARTITIONS.values():
        clients = data.load(0).clients
        assert len(clients) == 20
        assert sum(len(c.train.x) + len(c.test.x) for c in clients.values()) == 2100
    owned = [
        set(np.concatenate([c.train.y["label"], c.test.y["label"]]).tolist())
        for c in module.PARTITIONS["two classes a client"].load(0).clients.values()
    ]
    assert {len(classes) for classes in owned} == {2}
    assert [sum(label in classes for classes in owned) for label in range(10)] == [4] * 10


@pytest.mark.slow
@pytest.mark.skipif(not FASHION.is_file(), reason="fashion_mnist_7k.npz is not in $FEDMTL_DATA/fashion_mnist_7k")
def test_the_plain_loop_agrees(script: Any) -> None:
    """With the same first numbers and batches, accuracies are equal to four digits: no prediction differs."""
    output = quick(script("against_pfllib"))
    rows = re.findall(r"^\| (\w+) \| (0\.\d{4}) \| (0\.\d{4}) \| (0\.\d{4}) \|$", output, re.MULTILINE)
    assert [name for name, *_ in rows] == ["FedAvg", "FedRep", "Ditto"]
    assert all(ours == plain for _, ours, plain, _ in rows)
    assert "3 times of 3" in output

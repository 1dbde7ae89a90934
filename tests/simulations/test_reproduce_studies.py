"""The reruns of FedRep's subspace, FedEM's synthetic set and Human Activity say what their data say beforehand."""

import importlib
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from typer.testing import CliRunner

from fedmtl.data import HAR
from tests.data.homes import needs

REPRODUCE = Path(__file__).parents[2] / "simulations" / "reproduce"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts find ``summary`` beside them, as they do when they are run."""
    monkeypatch.syspath_prepend(str(REPRODUCE))


def load(name: str) -> ModuleType:
    return importlib.import_module(name)


def quick(module: ModuleType) -> str:
    typer = importlib.import_module("typer")
    app = typer.Typer()
    app.command()(module.main)
    done = CliRunner().invoke(app, ["--quick", "--seeds", "1"])
    assert done.exit_code == 0, done.output
    return done.stdout


def values(output: str, row: str) -> list[float]:
    """Our figure in every row whose method has these words."""
    return [
        float(value) for value in re.findall(rf"^\| [^|]*{re.escape(row)}[^|]* \| (-?[\d.]+)", output, re.MULTILINE)
    ]


def test_the_last_rate_is_the_spectral_radius_that_the_data_say(scripts: None) -> None:
    """By hand for d = 2, k = 1, one client with u = 1: V = e₁, Δ = t e₂, and (5) is t <- (1 − s M₂₂) t.

    M = S − S e₁ (e₁ᵀ S e₁)⁻¹ e₁ᵀ S has M₂₂ = S₂₂ − S₁₂² / S₁₁. With the rows (1, 1) and (1, −1), S = I: 1 − s. With
    (1, 2) and (1, 0), S = [[1, 1], [1, 2]] and M₂₂ = 1: again 1 − s. With (2, 2) and (0, 2), S = [[2, 2], [2, 4]] and
    M₂₂ = 4 − 4/2 = 2: 1 − 2 s.
    """
    module = load("fedrep_subspace")
    V, u = np.array([[1.0], [0.0]]), np.ones((1, 1))
    for rows, curvature in (([[1, 1], [1, -1]], 1), ([[1, 2], [1, 0]], 1), ([[2, 2], [0, 2]], 2)):
        x = np.array([rows], np.float64)
        y = np.einsum("nmd,dk,nk->nm", x, V, u)
        start = np.array([[1.0], [1e-3]]) / np.hypot(1, 1e-3)
        problem = module.Problem(V, u, x, y, start)
        assert module.asymptotic_factor(problem, 2, 0.1) == pytest.approx(1 - 0.1 * curvature)
        path = module.recipe(problem, 2, 20, 0.1)
        assert (path[20] / path[10]) ** 0.1 == pytest.approx(1 - 0.1 * curvature, rel=1e-4)


def test_fedrep_finds_the_subspace_and_fedavg_does_not(scripts: None) -> None:
    """The recipe's last factor is within 3 % of the spectral radius; its distance and FedRep's fall by 10² and more in
    thirty rounds, which at a radius near 0.7 could be 10⁴; FedAvg's error is that of saying 0, √E(xᵀVu)² = 1."""
    output = quick(load("fedrep_subspace"))
    for measured, radius in zip(values(output, ": rounds"), values(output, "spectral radius"), strict=True):
        assert measured == pytest.approx(radius, rel=0.03)
    assert values(output, "numpy, round 30")[0] < -2 and values(output, "60 head steps, round 30")[0] < -2
    assert values(output, "FedAvg, 1 step, round 30")[0] > -0.5
    assert values(output, "FedAvg, 1 step")[-1] == pytest.approx(1, abs=0.25)


def test_no_method_passes_who_knows_the_mixture(scripts: None) -> None:
    """(4) is right where z is the largest concept, and in half of the rest: E max π + (1 − E max π) / 2, less the
    labels that noise turns. x·θ has variance d/9 ≈ 16.7, so noise of 0.1 turns about atan(0.1 / 4.08) / π = 0.8 %.

    Bounds and that formula agree within four standard errors of 20 · 200 examples, weighted: 0.05.
    """
    module = load("fedem_synthetic")
    output = quick(module)
    data = module.Mixtures(clients=20, tests=200)
    pi, sizes = data.concepts(0).pi, data.concepts(0).sizes
    largest = float(np.average(pi.max(1), weights=sizes))
    turned = np.arctan(0.1 / np.sqrt(150 / 9)) / np.pi
    single = module.bounds(data, 0)["(4)"].weighted
    assert single == pytest.approx((largest + (1 - largest) / 2) * (1 - 2 * turned) + turned, abs=0.05)
    means = output.split("bottom decile")[0]
    best = values(means, "knows")[0]
    for method in module.METHODS:
        assert 0.3 < values(means, method.name)[-1] < best


def test_the_sizes_are_the_papers(scripts: None) -> None:
    """E min(50 + ⌊e^(4 + 2ε)⌋, 1000) by quadrature over ε; 300 clients of it in the mean of 40 seeds."""
    module = load("fedem_synthetic")
    grid = np.linspace(-8, 8, 200_001)
    density = np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi)
    size = np.minimum(50 + np.floor(np.exp(4 + 2 * grid)), 1000)
    expected = float((size * density).sum() * (grid[1] - grid[0]))
    found = np.concatenate([module.Mixtures().concepts(seed).sizes for seed in range(40)])
    assert found.mean() == pytest.approx(expected, abs=4 * found.std() / np.sqrt(len(found)))


@needs(HAR.source)
def test_no_bout_is_in_training_and_test(scripts: None) -> None:
    module = load("har")
    windows = module.read()
    test = module.tested(windows, 0.25, 0)
    assert not set(windows.bout[test]) & set(windows.bout[~test])
    for rows in (test, ~test):  # everybody does everything in both
        assert len(np.unique(windows.person[rows].astype(int) * 6 + windows.y[rows])) == 180
    assert (module.tested(windows, 0.25, 0) == test).all() and (module.tested(windows, 0.25, 1) != test).any()


@pytest.mark.slow
@needs(HAR.source)
def test_har(scripts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rounds, and four of MOCHA: sitting is one window in six or so, so that "never" is right on 0.83 of them. 15
    people of thirty, of whom one is the worst tenth."""
    module = load("har")
    monkeypatch.setattr(module, "MOCHA_ROUNDS", 4)
    windows = module.read()
    few = module.Windows(*(part[windows.person < np.unique(windows.person)[15]] for part in windows))
    monkeypatch.setattr(module, "read", lambda: few)
    output = quick(module)
    for name in ("Local", "Pooled", "MR-MTL", "MOCHA"):
        mean, worst = values(output, name)[:2]
        assert 0.5 < worst <= mean < 1
    assert values(output, "MOCHA")[0] > 0.85


def test_without_the_file_the_error_says_whence(scripts: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load("har")
    monkeypatch.setenv("FEDMTL_DATA", str(tmp_path))
    module.read.cache_clear()
    with pytest.raises(FileNotFoundError, match="fedmtl data fetch har.*archive.ics.uci.edu"):
        module.read()

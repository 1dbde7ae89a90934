"""MR-MTL reaches the joint optimum of 139 schools, whose value is known.

The data are the examination scores of 15,362 pupils of 139 schools of the Inner London Education Authority.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from fedmtl.algorithms import MRMTL
from fedmtl.core.types import Batch, Params, Upload
from fedmtl.engines.trace.codegen import compile_graph
from fedmtl.engines.trace.graph import Graph
from fedmtl.engines.trace.tracer import trace
from fedmtl.verify.check import CTX

Array = NDArray[np.float64]


class Schools(NamedTuple):
    """The training pupils of K schools, padded to the largest."""

    x: Array
    """[K, N, 29], 0 where there is no pupil."""
    y: Array
    """[K, N], in [0, 1], 0 where there is no pupil."""
    mask: Array
    """[K, N]."""

    def normal(self) -> tuple[Array, Array]:
        """A_k = E[xxᵀ] [K, 29, 29] and b_k = E[xy] [K, 29] over the pupils of school k."""
        pupils = self.mask.sum(1)
        a = np.einsum("kni,knj->kij", self.x, self.x) / pupils[:, None, None]
        return a, np.einsum("kni,kn->ki", self.x, self.y) / pupils[:, None]

    def joint(self, w: Array, lam: float) -> float:
        """J = Σ_k E(x·w_k − y)² + λ/2 Σ_k ‖w_k − w̄‖² of w [K, 29], w̄ the mean of the w_k."""
        error = (np.einsum("kni,ki->kn", self.x, w) - self.y) * self.mask
        return float(((error**2).sum(1) / self.mask.sum(1)).sum() + lam / 2 * ((w - w.mean(0)) ** 2).sum())

    def minimum(self, lam: float) -> Array:
        """Where J's gradient in every w_k is 0: (2A_k + λ) w_k − λ/K Σ_l w_l = 2b_k, one linear system; [K, 29].

        Solved without its K·29 columns: w_k = (2A_k + λ)⁻¹(2b_k + λw̄), whose mean must be w̄, is a system in w̄. A
        feature that is constant in every school has zero columns throughout; its numbers are 0.
        """
        a, b = self.normal()
        inverse = np.linalg.inv(2 * a + lam * np.eye(a.shape[1]))
        reached = (inverse @ (2 * b)[:, :, None])[:, :, 0].mean(0)
        mean = np.linalg.lstsq(np.eye(a.shape[1]) - lam * inverse.mean(0), reached, rcond=1e-10)[0]
        return (inverse @ (2 * b + lam * mean)[:, :, None])[:, :, 0]


@pytest.fixture(scope="module")
def schools() -> Schools:
    """Seven tenths of each school's pupils, features standardised by them, a column of ones, scores put in [0, 1]."""
    folder = os.environ.get("FEDMTL_DATA")
    if not folder:
        pytest.skip("FEDMTL_DATA names no folder; school/school.mat is read from there")
    file = Path(folder) / "school" / "school.mat"
    if not file.exists():
        pytest.skip(f"there is no {file}")
    raw: dict[str, Any] = pytest.importorskip("scipy.io").loadmat(file)
    parts = []
    for x, y in zip(raw["X"].ravel(), raw["Y"].ravel(), strict=True):
        split: Any = train_test_split(x, y.ravel(), test_size=0.3, random_state=100)
        x, _, y, _ = split
        x = StandardScaler().fit_transform(x.astype(np.float64))
        parts.append((np.column_stack([x, np.ones(len(x))]), (y.astype(np.float64) - 1) / 69))
    longest = max(len(y) for _, y in parts)
    found = Schools(
        np.zeros((len(parts), longest, parts[0][0].shape[1])),
        np.zeros((len(parts), longest)),
        np.zeros((len(parts), longest)),
    )
    for k, (x, y) in enumerate(parts):
        found.x[k, : len(y)], found.y[k, : len(y)], found.mask[k, : len(y)] = x, y, 1
    assert found.x.shape[0] == 139 and found.x.shape[2] == 29
    return found


def loss(params: Params, batch: Batch) -> Tensor:
    """The mean squared error of a school's pupils, E(x·w − y)² = w·Aw − 2b·w + E[y²]."""
    w = params["trunk.w"]
    return w @ batch["a"] @ w - 2 * batch["b"] @ w + batch["squares"]


def rates(smallest: float, largest: float, count: int) -> Array:
    """Learning rates of gradient steps that leave the least of a quadratic with curvatures between two bounds.

    One over the roots of Chebyshev's polynomial; in the order of Lebedev and Finogenov, in which rounding stays small.
    ``count`` is a power of two.
    """
    order = np.zeros(1, np.int64)
    while len(order) < count:
        order = np.stack([order, 2 * len(order) - 1 - order], axis=1).ravel()
    cosines = np.cos(np.pi * (order + 0.5) / count)
    return 2 / (largest + smallest + (largest - smallest) * cosines)


def play(schools: Schools, lam: float, rates: Array) -> Array:
    """A round of all schools for each rate, from zeros: ``local_update`` lifted over the schools; w_k at the end.

    A school's step is w − rate · d, so a round is recorded once, with w + rate · (its result at rate 1 − w), and
    replayed; every 256th one is compared with ``local_update`` of its own rate.
    """
    a, b = schools.normal()
    squares = (schools.y**2).sum(1) / schools.mask.sum(1)
    arrays = {"a": a, "b": b, "squares": squares, "mask": schools.mask}
    batch = {name: torch.from_numpy(values) for name, values in arrays.items()}
    unit = MRMTL(lr=1.0, epochs=1, lam=lam)

    def update(algorithm: MRMTL, mean: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        def client(w: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
            down = algorithm.broadcast({"trunk.w": mean}, 0, CTX)
            own, sent, _ = algorithm.local_update(loss, down, {"trunk.w": w}, [batch], CTX)
            return own["trunk.w"], sent.payload["model"]["trunk.w"]

        return torch.vmap(client)(w, batch)

    def round(given: Sequence[Tensor]) -> list[Tensor]:
        mean, w, rate = given
        private, sent = (w + rate * (result - w) for result in update(unit, mean, w))
        uploads = [(k, Upload({"model": {"trunk.w": own}}, 1.0)) for k, own in enumerate(sent)]
        return [unit.aggregate({"trunk.w": mean}, uploads, CTX)["trunk.w"], private]

    mean = unit.init_server({"trunk.w": torch.zeros(b.shape[1], dtype=torch.float64)}, CTX)["trunk.w"]
    w = torch.zeros(b.shape, dtype=torch.float64)
    steps = torch.from_numpy(rates.astype(np.float32))  # as in local_update
    _, graph = trace(round, [mean, w, steps[0]], False)
    assert isinstance(graph, Graph), graph
    replay = compile_graph(graph)
    for t, rate in enumerate(steps):
        new, after = replay([mean, w, rate])
        if t % 256 == 0:
            for result in update(MRMTL(lr=float(rate), epochs=1, lam=lam), mean, w):
                torch.testing.assert_close(result, after, rtol=1e-9, atol=1e-12)
        mean, w = new, after
    return w.numpy()


@pytest.mark.parametrize(("lam", "smallest", "count"), [(0.1, 3e-4, 2048), (1.0, 3e-4, 1024), (3.0, 8e-4, 512)])
def test_school(schools: Schools, lam: float, smallest: float, count: int) -> None:
    """Rounds from zeros end at the minimum of J, known from a linear system; for λ = 0.1 it is 2.34699082.

    A full-batch round of one step is a gradient step on J in all w_k, so what is known of gradient descent holds: J is
    flat where few schools have much to say, with curvatures down to 1e-4 of the largest, and one rate would take
    100,000 rounds. Rates after Chebyshev, for curvatures of ``smallest`` and more, take ``count``.
    """
    best = schools.minimum(lam)
    a, b = schools.normal()
    slope = 2 * (np.einsum("kij,kj->ki", a, best) - b) + lam * (best - best.mean(0))
    assert np.abs(slope).max() < 1e-12
    expected = schools.joint(best, lam)
    if lam == 0.1:
        assert abs(expected - 2.34699082) < 1e-8
    largest = float(2 * np.linalg.eigvalsh(a).max() + lam)
    found = play(schools, lam, rates(smallest, largest, count))
    assert -1e-9 < schools.joint(found, lam) - expected < 1e-6

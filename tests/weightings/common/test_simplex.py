"""The exact solvers: degenerate vectors, all magnitudes, both ways to the minimum, lifted and recorded."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.engines.trace.graph import Graph
from fedmtl.engines.trace.tracer import trace
from fedmtl.verify.mgda import nearest
from fedmtl.weightings.common import simplex
from fedmtl.weightings.common.simplex import conflict_averse, shortest

Array = NDArray[np.float64]


def combined(rows: Array | list[list[float]]) -> Array:
    given = np.array(rows, np.float64)
    w = shortest(torch.tensor(given)).numpy()
    assert w.min() >= 0 and w.sum() == pytest.approx(1)
    return w @ given


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[3.0, 4]], [3, 4]),
        ([[1.0, 2], [1, 2]], [1, 2]),
        ([[1.0, 2]] * 5, [1, 2]),
        ([[1.0, 2], [0, 0]], [0, 0]),
        ([[0.0, 0], [0, 0]], [0, 0]),
        ([[1.0, 0], [-1, 0]], [0, 0]),
        ([[1.0, 0], [-1, 0], [0, 1]], [0, 0]),
        ([[1.0, 0], [2, 0], [3, 0]], [1, 0]),
        ([[1.0, 1], [1, -1], [3, 0]], [1, 0]),
    ],
)
def test_degenerate_vectors(rows: list[list[float]], expected: list[float]) -> None:
    """One, equal, zero, opposite and collinear ones; a point on an edge of the polytope's that holds no corner."""
    np.testing.assert_allclose(combined(rows), expected, atol=1e-7)


@pytest.mark.parametrize("size", [1e-150, 1e-12, 1.0, 1e12, 1e150])
def test_size_does_not_matter(size: float) -> None:
    rows = np.random.default_rng(0).standard_normal((4, 6)) + 0.5
    np.testing.assert_allclose(combined(size * rows) / size, nearest(rows), atol=1e-9)


def test_sizes_may_differ_by_24_orders() -> None:
    """a = 1e12 (1, 0), b = 1e-12 (−1, 1): λ_a of about 1e-24 takes away what of b is against a: (0, 1e-12)."""
    np.testing.assert_allclose(combined([[1e12, 0], [-1e-12, 1e-12]]) / 1e-12, [0, 1], atol=1e-6)


@pytest.mark.parametrize("count", [2, 3, 4, 6, 8])
def test_from_face_to_face_is_the_best_face(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way for many vectors, taken with few, against all faces."""
    draw = np.random.default_rng(count)
    for _ in range(10):
        rows = torch.tensor(draw.standard_normal((count, 5)) + draw.uniform(-1, 1))
        p, c = torch.tensor(draw.dirichlet(np.ones(count))), float(draw.uniform(0.05, 0.95))
        every = shortest(rows) @ rows, conflict_averse(rows, p, c)[0] @ rows
        monkeypatch.setattr(simplex, "ENUMERATED", 0)
        way = shortest(rows) @ rows, conflict_averse(rows, p, c)[0] @ rows
        alone = conflict_averse(rows, p, c, eager=True)[0] @ rows
        monkeypatch.undo()
        for one, other in zip((*every, every[1]), (*way, alone), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("count", [20, 60, 200])
def test_many_vectors(count: int) -> None:
    """‖u‖² ≤ ⟨g_k, u⟩ for all is what tells the shortest; of CAGrad, the least ⟨g_k, u⟩ is the dual's value at w."""
    draw = np.random.default_rng(count)
    rows = draw.standard_normal((count, count // 2)) + 0.4
    given, p = torch.tensor(rows), torch.full((count,), 1 / count, dtype=torch.float64)
    if count <= 60:
        u = shortest(given).numpy() @ rows
        assert (rows @ u).min() >= u @ u * (1 - 1e-8)
    direction, w = conflict_averse(given, p, 0.4, eager=True)
    mean, g = rows.mean(0), w.numpy() @ rows
    dual = g @ mean + 0.4 * np.linalg.norm(mean) * np.linalg.norm(g)
    assert (rows @ (direction.numpy() @ rows)).min() == pytest.approx(dual, abs=1e-9)


@pytest.mark.parametrize("count", [1, 2, 3, 6, 9])
def test_lifted_it_is_a_loop(count: int) -> None:
    stack = torch.randn(5, count, 7, generator=torch.Generator().manual_seed(count))
    stack[1] = 0
    stack[2, -1] = stack[2, 0]

    def averse(rows: Tensor) -> Tensor:
        return conflict_averse(rows, torch.full((count,), 1 / count), 0.4)[0]

    for function in (shortest, averse):
        looped = torch.stack([function(rows) for rows in stack])
        torch.testing.assert_close(torch.vmap(function)(stack), looped, rtol=0, atol=1e-12)


@pytest.mark.parametrize("count", [2, 6])
def test_it_can_be_traced(count: int) -> None:
    """No number decides the control flow: else an engine could not replay the call."""
    stack = torch.randn(4, count, 7, generator=torch.Generator().manual_seed(count))
    for function in (shortest, lambda rows: conflict_averse(rows, torch.full((count,), 1 / count), 0.4)[0]):
        _, graph = trace(lambda given, f=function: [torch.vmap(f)(given[0])], [stack])
        assert isinstance(graph, Graph)

"""The sweep of all tasks at once, against the steps one by one."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmtl.algorithms.common import sweeps as module
from fedmtl.algorithms.common.sdca import ascend
from fedmtl.engines.trace.graph import Graph
from fedmtl.engines.trace.tracer import trace

LAM = 0.1


def problem(tasks: int, n: int, d: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """float64: w, scale, α within its range, and a batch with padding and without some labels."""
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((tasks, n, d))
    x[:, 1] = 0
    y = draw.integers(0, 2, (tasks, n)).astype(np.float64)
    mask = np.ones((tasks, n))
    mask[:, n - n // 5 :] = 0
    index = np.tile(np.arange(n), (tasks, 1))
    index[mask == 0] = 0
    alpha = (2 * y - 1) * draw.random((tasks, n)) * (mask > 0)
    alpha[:, 2] = 0
    y[:, 2] = np.nan
    batch = {"x": x, "y.t": y, "mask": mask, "index": index}
    w, scale = draw.standard_normal((tasks, 1, d)), draw.uniform(0.02, 0.2, tasks)
    tensors = {key: torch.from_numpy(value) for key, value in batch.items()}
    return torch.from_numpy(w), torch.from_numpy(scale), torch.from_numpy(alpha), tensors


def by_hand(w: Tensor, scale: Tensor, alpha: Tensor, batch: dict[str, Tensor], epochs: int) -> tuple[Tensor, Tensor]:
    """(3) of Mocha, example after example, as it is written there."""
    x, y, mask, index = (batch[key].numpy() for key in ("x", "y.t", "mask", "index"))
    seen = (mask > 0) & ~np.isnan(y)
    n, a, delta = seen.sum(), alpha.numpy().copy(), np.zeros(x.shape[1])
    for _ in range(epochs):
        for i in np.flatnonzero(seen):
            sign = 2 * y[i] - 1
            rest = 1 - sign * (x[i] @ (w.numpy()[0] + float(scale) * delta / LAM))
            size = float(scale) * (x[i] @ x[i])
            better = np.clip(sign * a[index[i]] + LAM * n * rest / size, 0, 1) if size else 1.0
            delta += (sign * better - a[index[i]]) * x[i] / n
            a[index[i]] = sign * better
    return torch.from_numpy(a), torch.from_numpy(delta[None])


@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("gram", [0, 512])
def test_one_task_alone(epochs: int, gram: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one batch and in three, with inner products held and without."""
    monkeypatch.setattr(module, "GRAM", gram)
    w, scale, alpha, batch = problem(1, 30, 5)
    one = {key: value[0] for key, value in batch.items()}
    parts = [{key: value[start : start + 10] for key, value in one.items()} for start in (0, 10, 20)]
    for batches in ([one], parts):
        found = ascend(w[0], scale[0], alpha[0], batches, "y.t", LAM, epochs)
        for got, expected in zip(found, by_hand(w[0], scale[0], alpha[0], one, epochs), strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("epochs", [1, 3])
def test_all_tasks_at_once(epochs: int) -> None:
    w, scale, alpha, batch = problem(7, 30, 5)

    def one(w: Tensor, scale: Tensor, alpha: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        return ascend(w, scale, alpha, [batch], "y.t", LAM, epochs)

    lifted = torch.vmap(one)(w, scale, alpha, batch)
    shared = torch.vmap(one, in_dims=(None, 0, 0, 0))(w[0], scale, alpha, batch)
    for t in range(7):
        own = {key: value[t] for key, value in batch.items()}
        for start, found in ((w[t], lifted), (w[0], shared)):
            expected = by_hand(start, scale[t], alpha[t], own, epochs)
            torch.testing.assert_close(found[0][t], expected[0], rtol=0, atol=1e-12)
            torch.testing.assert_close(found[1][t], expected[1], rtol=0, atol=1e-12)


def test_a_pass_is_few_operations() -> None:
    """Whatever the number of examples, 50 or 500: what a pass costs is then its arithmetic. It was eight an example."""
    counts = []
    for n in (50, 500):
        w, scale, alpha, batch = problem(3, n, 5)
        keys = sorted(batch)

        def lifted(given: list[Tensor], keys: list[str] = keys) -> list[Tensor]:
            w, scale, alpha, *rest = given
            one = torch.vmap(lambda w, s, a, b: ascend(w, s, a, [b], "y.t", LAM, 1))
            return list(one(w, scale, alpha, dict(zip(keys, rest, strict=True))))

        _, graph = trace(lambda given, f=lifted: f(list(given)), [w, scale, alpha, *[batch[key] for key in keys]])
        assert isinstance(graph, Graph)
        counts.append(len(graph.nodes))
    assert counts[0] == counts[1] < 40


def by_torch(w: Tensor, scale: Tensor, alpha: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """(3) of Mocha in torch's own operations, one example after another, as the first version of it was."""
    x, y, mask, index = (batch[key] for key in ("x", "y.t", "mask", "index"))
    sign, n, delta = 2 * y - 1, mask.sum(), torch.zeros_like(w)
    for i in range(len(x)):
        old = alpha[index[i]]
        rest = 1 - sign[i] * (x[i] * (w + scale * delta / LAM)).sum()
        better = sign[i] * (sign[i] * old + LAM * n * rest / (scale * (x[i] * x[i]).sum())).clamp(0, 1)
        delta = delta + (better - old) * x[i] / n
        alpha = alpha.index_put((index[i],), better)
    return alpha


def test_tasks_alone_are_ten_times_as_fast_as_their_steps() -> None:
    """29 tasks of 50 examples, one after another: 17 to 25 times, in the thread's own time, the least of some."""
    draw = torch.Generator().manual_seed(0)
    given = []
    for _ in range(29):
        x, y = torch.randn(50, 9, generator=draw), torch.randint(0, 2, (50,), generator=draw).float()
        batch = {"x": x, "y.t": y, "mask": torch.ones(50), "index": torch.arange(50)}
        given.append((torch.randn(9, generator=draw) / 10, torch.tensor(1 / 29), torch.zeros(50), batch))

    def passes() -> list[Tensor]:
        return [ascend(w, scale, alpha, [batch], "y.t", LAM, 1)[0] for w, scale, alpha, batch in given]

    def steps() -> list[Tensor]:
        return [by_torch(*one) for one in given]

    torch.testing.assert_close(torch.stack(passes()), torch.stack(steps()), rtol=0, atol=1e-5)
    assert min(spent(steps) for _ in range(3)) > 10 * min(spent(passes) for _ in range(20))


def spent(call: Callable[[], Any]) -> float:
    """Seconds of this thread."""
    start = time.thread_time()
    call()
    return time.thread_time() - start

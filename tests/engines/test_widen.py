"""Clients of unlike tasks in one stack: what they are lent, and that it leaves no trace."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from fedmtl.algorithms import Algorithm, FedAvg, FedPer, Local
from fedmtl.data.base import Federation
from fedmtl.engines import Engine, Job, Loop, VMap
from fedmtl.engines.widen import narrow, widen
from fedmtl.federation.job import Wide
from fedmtl.federation.plan import Plan
from fedmtl.trees import leaves, rebuild, sha256, structure
from fedmtl.types import Batch, Payload
from tests.algorithms.rounds import jobs, measurements, play, start
from tests.conftest import tiny_plan


def training(plan: Plan, federation: Federation) -> list[Job]:
    """Of the second round, when no two clients' heads are alike."""
    return jobs(plan, federation, play(plan, federation, start(plan, federation)), round=2)


def wide_of(plan: Plan) -> Wide:
    wide = plan.wide(plan.local_update(plan.all_tasks))
    assert wide is not None
    return wide


def assert_close(found: Any, expected: Any) -> None:
    tensors = rebuild(expected, [torch.as_tensor(leaf) for leaf in leaves(expected)])
    assert structure(found) == structure(tensors)
    for one, other in zip(leaves(found), leaves(tensors), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


ALGORITHMS = [FedPer(epochs=2), FedAvg(epochs=2), Local(epochs=2)]
"""Heads that are private, that are sent, and that stand beside a private trunk."""


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=repr)
def test_training_is_each_clients_own(engine: Engine, algorithm: Algorithm[Any, Any], unlike: Federation) -> None:
    """Same names, shapes and, to 1e-6, numbers as from each client's own function, in the order of the jobs."""
    plan = tiny_plan(unlike, algorithm)
    work = training(plan, unlike)
    expected = [job.function(job.down, job.private, job.batches) for job in work]
    assert_close(engine.map(work, wide_of(plan)), expected)
    assert_close(engine.map(work[::-1], wide_of(plan)), expected[::-1])


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=repr)
def test_measurement_is_each_clients_own(engine: Engine, algorithm: Algorithm[Any, Any], unlike: Federation) -> None:
    """Sums of the client's tasks and of no others."""
    plan = tiny_plan(unlike, algorithm)
    work = measurements(plan, unlike, play(plan, unlike, start(plan, unlike)))
    expected = [job.function(job.down, job.private, job.batches) for job in work]
    assert_close(engine.map(work, plan.wide(plan.measure(plan.all_tasks))), expected)


def test_nobody_has_nothing_to_lend(engine: Engine, unlike: Federation) -> None:
    assert engine.map([], wide_of(tiny_plan(unlike, FedPer()))) == []


@pytest.mark.parametrize(("chunk", "expected"), [(64, 1), (3, 2), (1, 4)])
def test_unlike_clients_run_together(unlike: Federation, chunk: int, expected: int) -> None:
    """Three sets of tasks in one call, where a stack holds them all; each in its own where it holds one."""
    plan = tiny_plan(unlike, FedPer(epochs=1))
    wide, calls = wide_of(plan), []

    def counted(down: Payload, private: Any, batches: Sequence[Batch]) -> Any:
        calls.append(len(batches))
        return wide.function(down, private, batches)

    VMap(chunk=chunk).map(training(plan, unlike), wide._replace(function=counted))
    assert len(calls) == expected


def test_like_clients_borrow_nothing(alike: Federation, unlike: Federation) -> None:
    """Nor does the loop, ever: the wide function is not called."""

    def never(down: Payload, private: Any, batches: Sequence[Batch]) -> Any:
        raise AssertionError

    for engine, federation in ((VMap(), alike), (Loop(), alike), (Loop(), unlike)):
        plan = tiny_plan(federation, FedPer(epochs=1))
        assert len(engine.map(training(plan, federation), wide_of(plan)._replace(function=never))) == 4


def test_what_is_lent(unlike: Federation) -> None:
    """The heads that are missing, as zeros, labels that say nothing, and a note of whose is what."""
    plan = tiny_plan(unlike, FedPer(epochs=1))
    job = training(plan, unlike)[2]
    assert job.client == 4 and job.owned == ("amount", "kind")
    before = sha256((job.down, job.private, list(job.batches)))
    lent = widen(job, wide_of(plan))
    assert lent.client == 4 and lent.owned == plan.all_tasks == ("amount", "flag", "kind", "marks")
    assert lent.down is job.down  # has no heads, and must be known as what others hear too
    assert lent.private.keys() == {name for name in plan.initial if name.startswith("head.")}
    for name, value in lent.private.items():
        assert torch.equal(value, job.private[name] if name in job.private else torch.zeros_like(plan.initial[name]))
    for own, batch in zip(job.batches, lent.batches, strict=True):
        assert batch.keys() == own.keys() | {"y.flag", "y.marks", "owns"}
        assert all(batch[key] is own[key] for key in own)
        assert batch["y.flag"].shape == (4,) and batch["y.marks"].shape == (4, 2)
        assert batch["y.flag"].isnan().all() and batch["y.marks"].isnan().all()
        assert batch["owns"].tolist() == [[1, 0, 1, 0]] * 4
    assert sha256((job.down, job.private, list(job.batches))) == before


def test_what_is_said_with_heads_is_lent_heads_too(unlike: Federation) -> None:
    plan = tiny_plan(unlike, FedAvg(epochs=1))
    job = training(plan, unlike)[0]
    lent = widen(job, wide_of(plan))
    assert lent.private is None and lent.down["model"].keys() == plan.initial.keys()
    assert all(lent.down["model"][name] is value for name, value in job.down["model"].items())


def test_what_was_lent_is_taken_off() -> None:
    """Wherever it stands in a result; a task whose name starts like another's is another task."""
    one = torch.ones(1)
    tree = {"trunk.w": one, "head.a.w": one, "head.ab.w": one, "n": (one, [{"head.b.w": one, "x": one}, None])}
    wide = Wide(lambda *_: None, {}, {"a": (), "ab": (), "b": ()})
    assert narrow(tree, ("a",), wide) == {"trunk.w": one, "head.a.w": one, "n": (one, [{"x": one}, None])}
    assert narrow(tree, ("a", "ab", "b"), wide) == tree
    assert narrow({"a": one, "b": one}, ("a",), wide) == {"a": one}

"""Clients with different tasks in one stack: the padding, and that it leaves no trace in results."""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from fedmtl.algorithms import Algorithm, FedAvg, FedPer, Local
from fedmtl.core.context import Context
from fedmtl.core.trees import sha256
from fedmtl.core.types import Batch, Payload
from fedmtl.data.base import Federation
from fedmtl.engines import Engine, Loop, VMap
from fedmtl.engines.base import TaskPadding
from fedmtl.engines.batching.task_padding import group, pad_tasks, unpad
from fedmtl.protocol.plan import Plan
from tests.conftest import UNLIKE, tiny, tiny_plan
from tests.engines.jobs import Job, alone, assert_close, cohort_of, cohorts_of, measurement, run, training


def padding_of(plan: Plan) -> TaskPadding:
    padding = plan.task_padding(plan.training(plan.all_tasks))
    assert padding is not None
    return padding


ALGORITHMS = [FedPer(epochs=2), FedAvg(epochs=2), Local(epochs=2)]
"""Private heads, heads that are sent, and heads beside a private trunk."""


class Case(NamedTuple):
    """Work of clients with different tasks, and each one's own results, which engines must not change."""

    plan: Plan
    work: list[Job]
    expected: list[Any]


@cache
def trained(algorithm: Algorithm[Any, Any]) -> Case:
    federation = tiny(UNLIKE)
    plan = tiny_plan(federation, algorithm)
    work = training(plan, federation)
    return Case(plan, work, alone(work))


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=repr)
def test_training_is_each_clients_own(engine: Engine, algorithm: Algorithm[Any, Any]) -> None:
    """Same names, shapes and, to 1e-6, numbers as from each client's own function, in any order of the cohorts."""
    plan, work, expected = trained(algorithm)
    assert_close(run(engine, work, padding_of(plan)), expected)
    assert_close(run(engine, work[::-1], padding_of(plan)), expected[::-1])


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=repr)
def test_measurement_is_each_clients_own(engine: Engine, algorithm: Algorithm[Any, Any], unlike: Federation) -> None:
    """The result has sums of the client's tasks and of no others."""
    plan = tiny_plan(unlike, algorithm)
    work = measurement(plan, unlike)
    assert_close(run(engine, work, plan.task_padding(plan.measure(plan.all_tasks))), alone(work))


def test_no_cohort_needs_no_padding(engine: Engine, unlike: Federation) -> None:
    assert engine.map([], padding_of(tiny_plan(unlike, FedPer()))) == []


@pytest.mark.parametrize(("chunk", "expected"), [(64, 1), (3, 2), (1, 4)])
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=repr)
def test_unlike_clients_run_together(
    unlike: Federation, algorithm: Algorithm[Any, Any], chunk: int, expected: int
) -> None:
    """Three sets of tasks in one call, where a stack holds them all; each in its own where it holds one."""
    plan = tiny_plan(unlike, algorithm)
    padding, calls = padding_of(plan), []

    def counted(down: Payload, private: Any, batches: Sequence[Batch], ctx: Context) -> Any:
        calls.append(len(batches))
        return padding.function(down, private, batches, ctx)

    run(VMap(chunk=chunk), training(plan, unlike), padding._replace(function=counted))
    assert len(calls) == expected


def test_clients_of_equal_tasks_are_not_padded(alike: Federation, unlike: Federation) -> None:
    """Nor are the loop's clients: the padded function is not called."""

    def never(down: Payload, private: Any, batches: Sequence[Batch], ctx: Context) -> Any:
        raise AssertionError

    for engine, federation in ((VMap(), alike), (Loop(), alike), (Loop(), unlike)):
        plan = tiny_plan(federation, FedPer(epochs=1))
        work = training(plan, federation)
        assert len(run(engine, work, padding_of(plan)._replace(function=never))) == 4


def test_padding_of_a_client(unlike: Federation) -> None:
    """The missing heads are zeros, the missing labels NaN, and ``owns`` marks the client's own tasks."""
    plan = tiny_plan(unlike, FedPer(epochs=1))
    job = training(plan, unlike)[2]
    assert job.client == 4 and job.owned == ("amount", "kind")
    own = cohort_of([job, job])
    before = sha256((job.down, job.private, list(job.batches)))
    padded = pad_tasks(own, padding_of(plan))
    assert list(padded.clients) == [4, 4] and padded.owned == plan.all_tasks == ("amount", "flag", "kind", "marks")
    assert padded.downs[0] is job.down  # has no heads, and stays the object that other clients receive too
    assert padded.private.keys() == {name for name in plan.initial if name.startswith("head.")}
    for name, value in padded.private.items():
        row = job.private[name] if name in job.private else torch.zeros_like(plan.initial[name])
        assert torch.equal(value, torch.stack([row, row]))
    for mine, batch in zip(job.batches, padded.batches(np.array([1])), strict=True):
        assert batch.keys() == mine.keys() | {"y.flag", "y.marks", "owns"}
        assert all(torch.equal(batch[key][0], mine[key]) for key in mine if not key.startswith("y."))
        assert batch["y.flag"].shape == (1, 4) and batch["y.marks"].shape == (1, 4, 2)
        assert batch["y.flag"].isnan().all() and batch["y.marks"].isnan().all()
        assert batch["owns"].tolist() == [[[1, 0, 1, 0]] * 4]
    assert sha256((job.down, job.private, list(job.batches))) == before


def test_a_broadcast_with_heads_is_padded(unlike: Federation) -> None:
    plan = tiny_plan(unlike, FedAvg(epochs=1))
    job = training(plan, unlike)[0]
    padded = pad_tasks(cohort_of([job]), padding_of(plan))
    assert padded.private is None and padded.downs[0]["model"].keys() == plan.initial.keys()
    assert all(padded.downs[0]["model"][name] is value for name, value in job.down["model"].items())


def test_equal_broadcasts_become_one(unlike: Federation) -> None:
    """Each cohort has its own copy of the trunk; the joined cohort has one, and a second one where a cohort's differs.

    By hand: tasks (kind), (amount, kind), (flag, marks), of clients 0 and 1, 4, and 9.
    """
    plan = tiny_plan(unlike, FedPer(epochs=1))
    work = [job._replace(down={"trunk": dict(job.down["trunk"])}) for job in training(plan, unlike)]
    work[1] = work[1]._replace(down=work[0].down)
    cohorts, _ = cohorts_of(work)
    ((numbers, joined),) = group(cohorts, padding_of(plan))
    assert numbers == [0, 1, 2] and list(joined.clients) == [0, 1, 4, 9]
    assert len(joined.downs) == 1 and joined.broadcast_index.tolist() == [0, 0, 0, 0]
    louder = {"trunk": {name: value + 1 for name, value in work[2].down["trunk"].items()}}
    cohorts, _ = cohorts_of([work[0], work[1], work[2]._replace(down=louder), work[3]])
    ((_, joined),) = group(cohorts, padding_of(plan))
    assert len(joined.downs) == 2 and joined.broadcast_index.tolist() == [0, 0, 1, 0]


def test_batches_of_joined_cohorts(unlike: Federation) -> None:
    """Rows in any order, some twice: the longest client has 3 steps, the others end in steps of mask 0."""
    plan = tiny_plan(unlike, FedPer(epochs=1))
    work = training(plan, unlike)
    ((_, joined),) = group(cohorts_of(work)[0], padding_of(plan))
    rows = [3, 0, 2, 0]
    batches = joined.batches(np.array(rows))
    assert len(batches) == 3
    for step, batch in enumerate(batches):
        for place, row in enumerate(rows):
            mine = work[row].batches
            if step < len(mine):
                own = len(mine[step]["mask"])  # a client that does not fill a batch by itself has a shorter one
                assert torch.equal(batch["x"][place, :own], mine[step]["x"])
                assert torch.equal(batch["mask"][place, :own], mine[step]["mask"])
                assert not batch["mask"][place, own:].any()
                owned = [float(task in work[row].owned) for task in plan.all_tasks]
                assert batch["owns"][place, :own].tolist() == [owned] * own
            else:
                assert not batch["mask"][place].any()


def test_cohorts_that_padding_does_not_make_alike_are_not_joined(unlike: Federation) -> None:
    """Here a private state has a tensor that the others lack; each kind runs by itself."""
    plan = tiny_plan(unlike, FedPer(epochs=1))
    jobs = training(plan, unlike)
    cohorts = cohorts_of(jobs)[0]
    cohorts[1] = cohorts[1]._replace(private={**cohorts[1].private, "moment": torch.zeros(1, 3)})
    found = group(cohorts, padding_of(plan))
    assert [numbers for numbers, _ in found] == [[0, 2], [1]]
    assert [list(cohort.clients) for _, cohort in found] == [[0, 1, 9], [4]]


def test_padding_is_removed_from_results() -> None:
    """At any depth of a result; a task whose name starts like another's is another task."""
    one = torch.ones(1)
    tree = {"trunk.w": one, "head.a.w": one, "head.ab.w": one, "n": (one, [{"head.b.w": one, "x": one}, None])}
    padding = TaskPadding(lambda *_: None, {}, {"a": (), "ab": (), "b": ()})
    assert unpad(tree, ("a",), padding) == {"trunk.w": one, "head.a.w": one, "n": (one, [{"x": one}, None])}
    assert unpad(tree, ("a", "ab", "b"), padding) == tree
    assert unpad({"a": one, "b": one}, ("a",), padding) == {"a": one}

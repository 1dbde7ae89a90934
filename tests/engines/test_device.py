"""The path of a GPU, without one: no number is computed, but every tensor has a device, and two may not be mixed.

torch's device "meta" knows shapes and types alone, and refuses operations on tensors of two devices, as a GPU would
(save scalars of the CPU, which GPUs take too). It shows neither the speed nor the rounding of a GPU.
"""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn

from fedmtl.algorithms import Algorithm, FedPer
from fedmtl.core.context import NO_CONTEXT, Context, context_of, training_step
from fedmtl.core.trees import tree_leaves, tree_map, tree_structure
from fedmtl.data.base import Federation
from fedmtl.engines import Loop, VMap
from fedmtl.engines.batching.gather import Inputs
from fedmtl.engines.trace.batched_function import BatchedFunction
from fedmtl.engines.tuning import most_in_memory
from fedmtl.models import FromModule, LoRA
from tests.algorithms.rounds import jobs, measurements, start
from tests.cases import case
from tests.conftest import ALL_ALGORITHMS, tiny_plan
from tests.engines.jobs import alone, assert_close, cohort_of, run


def away(tree: Any) -> Any:
    """Tensors of the same shapes and types, elsewhere."""
    return tree_map(lambda leaf: torch.as_tensor(leaf).to("meta"), tree)


def devices(tree: Any) -> set[str]:
    return {leaf.device.type for leaf in tree_leaves(tree)}


@pytest.mark.parametrize("algorithm", ALL_ALGORITHMS, ids=repr)
def test_nothing_is_left_on_the_cpu(algorithm: Algorithm[Any, Any], alike: Federation) -> None:
    """Training and measurement: a client by itself, and stacked; one batch each, which some algorithms pass twice."""
    plan = tiny_plan(alike, algorithm, batch_size=None)
    state = start(plan, alike)
    for kind in (jobs, measurements):
        work = kind(plan, alike, state)
        cohort = cohort_of([job for job in work if tree_structure(job.private) == tree_structure(work[0].private)])
        rows = torch.arange(len(cohort.clients)).numpy()
        batches = away(cohort.batches(rows))
        down, private = away(cohort.downs[0]), away(cohort.private)
        context = None if cohort.context is None else away(cohort.context)
        one, epoch, own = tree_map(lambda leaf: leaf[0], (private, batches, context))
        ctx = NO_CONTEXT if own is None else Context(*own)
        with case(kind.__name__):
            assert devices(cohort.function(down, one, epoch, ctx)) == {"meta"}
            inputs = Inputs(down, True, private, batches, context=context)
            assert devices(BatchedFunction(cohort.function)(inputs)) == {"meta"}


@pytest.mark.parametrize("engine", [Loop("cpu:0"), VMap(device="cpu:0"), VMap(chunk=3, device="cpu:0")], ids=repr)
def test_results_are_copied_from_another_device(
    engine: Loop | VMap, alike: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ "cpu:0" is another device by its name: tensors are sent there and back, and chunks are sized by its memory."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**20, 2**20))
    plan = tiny_plan(alike, FedPer(epochs=2))
    work = jobs(plan, alike, start(plan, alike))
    assert_close(run(engine, work), alone(work))


@pytest.mark.parametrize(("free", "expected"), [(7 * 32_000 + 31_999, 7), (10**15, 4096), (5, 1)])
def test_chunks_fill_the_memory_that_is_free(free: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of 1,000 bytes, for which a step keeps 32 times as much: 7 in seven times 32,000 bytes and some more."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, free))
    assert most_in_memory(1000, "cuda") == expected


@pytest.mark.parametrize("stateful", [False, True])
def test_constants_of_a_model_go_to_the_device(stateful: bool, alike: Federation) -> None:
    """Frozen weights and statistics, of a module with adapters; one copy serves all calls."""
    net = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6) if stateful else nn.LayerNorm(6), nn.Dropout(0.1 * stateful))
    plan = tiny_plan(alike, FedPer(epochs=1), model=LoRA(FromModule(net, trunk="."), rank=2))
    loss = plan.loss(plan.all_tasks)
    params, x = away(plan.initial), away(torch.zeros(4, 5))
    batch = {"x": x, "mask": away(torch.ones(4)), "y.amount": x[:, 0], "y.kind": x[:, 0]}
    assert plan.module.stateful is stateful
    for ctx in (context_of(), None):
        with training_step(ctx) if ctx is not None else nullcontext():
            assert loss(params, batch).device.type == "meta"

"""Contexts of clients in engines: the same bits alone, stacked, replayed and in one stack with other tasks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmtl.core.context import Context, NoContext, context_of
from fedmtl.core.types import Batch, Payload
from fedmtl.engines import Engine, VMap
from fedmtl.engines.trace.stages import REPLAYING
from tests.engines.jobs import Job, alone, run


def draw(down: Payload, private: Tensor, batches: Sequence[Batch], ctx: Context) -> Any:
    """Noise, a mask a step, and the round."""
    masks = [ctx.fold(step).bernoulli(0.5, batch["mask"].shape) for step, batch in enumerate(batches)]
    kept = torch.stack([(mask * batch["mask"]).sum() for mask, batch in zip(masks, batches, strict=True)]).sum()
    return {"noise": ctx.fold("noise").normal(private.shape), "kept": kept, "round": private.sum() * 0 + ctx.round}


def jobs(round: int) -> list[Job]:
    found = []
    for client, rows in enumerate((3, 2, 3, 1, 3)):
        batches = [{"mask": torch.ones(rows), "index": torch.arange(rows)} for _ in range(1 + client % 2)]
        found.append(Job(client, draw, {}, torch.zeros(5), batches, ctx=context_of(8, round, client)))
    return found


def test_draws_have_the_bits_of_a_direct_call(engine: Engine) -> None:
    """In six rounds, of which vmap replays the last; clients of 1 to 3 rows and 1 or 2 batches, padded in a stack."""
    seen = []
    for round in range(6):
        work = jobs(round)
        for found, expected in zip(run(engine, work), alone(work), strict=True):
            assert torch.equal(found["noise"], expected["noise"])
            assert float(found["kept"]) == float(expected["kept"]) and float(found["round"]) == round
            seen.append(tuple(found["noise"].tolist()))
    assert len(set(seen)) == 30


def test_draws_are_replayed() -> None:
    engine = VMap(chunk=8)
    for round in range(6):
        run(engine, jobs(round))
    (batched,) = engine._functions.values()
    assert all(state.stage in REPLAYING for state in batched._states.values())


def test_a_function_that_is_given_none_says_so(engine: Engine) -> None:
    with pytest.raises(NoContext, match="no context"):
        run(engine, [job._replace(ctx=Job(0, draw, {}, None, []).ctx) for job in jobs(0)])


def test_rounds_are_numbers_like_any(engine: Engine) -> None:
    """A schedule of one's own: w · 2^-t."""

    def halve(down: Payload, private: Tensor, batches: Sequence[Batch], ctx: Context) -> Tensor:
        return private * 0.5**ctx.round

    work = [Job(c, halve, {}, torch.ones(()), jobs(0)[0].batches, ctx=context_of(0, c, c)) for c in range(3)]
    np.testing.assert_array_equal([float(found) for found in run(engine, work)], [1, 0.5, 0.25])

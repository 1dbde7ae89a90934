"""Every algorithm trains a model that draws: each of its descents hands the context on."""

from dataclasses import dataclass
from typing import Any

import pytest
from torch import nn

from fedmtl.algorithms import Mocha
from fedmtl.core.context import context_of
from fedmtl.core.trees import sha256
from fedmtl.data.base import Federation
from fedmtl.models import LoRA
from tests.algorithms.rounds import jobs, start
from tests.conftest import ADAPTED, ALL_ALGORITHMS, tiny_plan
from tests.engines.jobs import alone

LINEAR = (Mocha,)
"""It takes linear models alone, which have no layer that draws."""


@dataclass(frozen=True)
class Dropped:
    """One hidden layer, half of which is dropped in every step."""

    p: float = 0.5

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(input_shape[0], 6), nn.LayerNorm(6), nn.Dropout(self.p))

    def head(self, features: int, outputs: Any) -> nn.Module:
        return nn.Linear(features, outputs)


@pytest.mark.parametrize("algorithm", [one for one in ALL_ALGORITHMS if not isinstance(one, LINEAR)], ids=repr)
def test_every_descent_draws_from_the_context(algorithm: Any, unlike: Federation) -> None:
    """From equal states, batches and models, another round's context gives another result, and its own the same."""
    # One batch each: a descent that does not hand its context on does not so from its first step.
    model = LoRA(Dropped(), rank=2) if isinstance(algorithm, ADAPTED) else Dropped()
    plan = tiny_plan(unlike, algorithm, batch_size=None, model=model)
    work = jobs(plan, unlike, start(plan, unlike), cohort=(0, 9))  # the smallest and the largest
    expected = alone(work)
    assert sha256(alone(work[:1])) == sha256(expected[:1])
    other = [job._replace(ctx=context_of(plan.seed, 1, job.client)) for job in work]
    for one, two in zip(alone(other), expected, strict=True):
        assert sha256((one.private, one.upload.payload)) != sha256((two.private, two.upload.payload))

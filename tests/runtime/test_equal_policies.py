"""Every round policy on every runtime and engine: equal ledgers, clocks and, but for rounding, models."""

from typing import Any

import pytest

from fedmtl.run_experiment import run
from fedmtl.runs.result import Result
from tests.runtime.policies import CODED, POLICIES, experiment
from tests.runtime.test_equality import difference

LOOP, VMAP, RAY = "engine=loop", "engine=VMap", "runtime=Ray(workers=2)"
ALIKE = ("link=Constant(0.05, 0.02)", "data.ragged=false")
"""Equal links and clients: all replies of a cohort come at once."""


def clocked(result: Result) -> tuple[Any, ...]:
    """All that the clock decides on, and all that it says."""
    named = [row for row in result.training if row["metric"].startswith("simulated")]
    rows = [
        (row["round"], row["client"], row.get("simulated_seconds"), row.get("simulated_joules")) for row in result.rows
    ]
    return result.ledger, result.summary.get("simulated"), named, rows


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_is_equal_with_loop_stacked_and_on_ray(policy: str) -> None:
    """Between engines a model may differ by rounding, 1e-6 a round; on Ray it is bit-identical."""
    loop, vmap, ray = (run(experiment(*POLICIES[policy], where)) for where in (LOOP, VMAP, RAY))
    assert clocked(vmap) == clocked(loop) == clocked(ray)
    assert difference(vmap.state, loop.state) <= 5e-6
    assert ray.summary["digests"] == loop.summary["digests"] and ray.training == loop.training
    assert bool(loop.summary.get("simulated", {}).get("late")) == (policy in ("Deadline", "OverSelection"))


@pytest.mark.parametrize("where", [LOOP, VMAP, RAY])
def test_a_buffer_of_the_cohort_is_a_synchronous_run(where: str) -> None:
    """Equal speeds: bit for bit, with error memories and heads, on each runtime and engine."""
    asynchronous = run(experiment(*CODED, *ALIKE, "policy=FedBuff(0)", where))
    synchronous = run(experiment(*CODED, *ALIKE, where))
    assert asynchronous.summary["digests"] == synchronous.summary["digests"]
    assert asynchronous.summary["simulated"] == pytest.approx(synchronous.summary["simulated"])

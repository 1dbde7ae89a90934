"""SIGKILL under every round policy, then ``--resume``: the bits of a run that was never interrupted."""

import signal
from pathlib import Path

import pytest

from fedmtl.run_experiment import run
from tests.forks import start
from tests.runtime.policies import CODED, POLICIES, STAGES, experiment
from tests.test_resume import assert_same_run

STAGE = dict(zip(POLICIES, (*STAGES, *STAGES, *STAGES), strict=False))
"""Asynchronous policies, of which updates are under way, are the last three: each is killed at another stage."""


@pytest.mark.parametrize("policy", POLICIES)
def test_killed_in_a_round_and_resumed_is_the_same(policy: str, tmp_path: Path) -> None:
    """In the third of five exchanges: digests, ledger, rows, private states, simulated seconds and joules."""
    settings, folder = (*CODED, *POLICIES[policy]), tmp_path / "killed"
    whole = run(experiment(*settings), tmp_path / "whole")
    arguments = f"{str(folder)!r}, {settings!r}, {STAGE[policy]!r}, 3"
    child = start(code=f"from tests.runtime.policies import run_until_killed\nrun_until_killed({arguments})")
    assert child.wait(60) == -signal.SIGKILL
    killed = run(experiment(*settings), folder, resume=True)
    assert_same_run((killed, folder), (whole, tmp_path / "whole"))
    assert killed.training == whole.training and killed.ledger == whole.ledger
    if policy != "Synchronous":
        simulated = whole.summary["simulated"]
        assert killed.summary["simulated"] == simulated and simulated["joules"] > 0 and simulated["dropped"] > 0
        assert bool(simulated["late"]) == (policy in ("Deadline", "OverSelection"))

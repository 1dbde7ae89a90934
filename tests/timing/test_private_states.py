"""Clients that are late or drop out have trained: what is theirs alone stays as they have it."""

from pathlib import Path
from typing import Any

import pytest

from fedmtl.algorithms import FedPer
from fedmtl.run_experiment import run
from tests.test_resume import private_states
from tests.toys import experiment

HEADS: dict[str, Any] = {
    "algorithm": FedPer(lr=0.05, epochs=1),
    "up_codec": "ErrorFeedback(TopK(0.5))",
    "devices": "DeviceClasses([200, 20], [4, 2], [1, 1])",
    "rounds": 1,
}


@pytest.mark.parametrize("lossy", [{"policy": "Deadline(0.3)"}, {"availability": "Always(dropout=0.5)"}])
def test_heads_and_error_memories_of_clients_whose_update_is_not_used(lossy: dict[str, Any], tmp_path: Path) -> None:
    """After the first round, which all begin alike, they are those of a run in which each update is used; the server's
    state is another one."""
    every = run(experiment(**HEADS), tmp_path / "every")
    some = run(experiment(**HEADS, **lossy), tmp_path / "some")
    spent = some.summary["simulated"]
    assert 0 < spent["in_time"] < 6 == spent["in_time"] + spent["late"] + spent["dropped"]
    assert private_states(tmp_path / "some") == private_states(tmp_path / "every")
    assert some.summary["digests"]["server_state"] != every.summary["digests"]["server_state"]

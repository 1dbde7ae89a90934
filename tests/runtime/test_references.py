"""Whole runs whose broadcasts are changes: nothing private leaks, and the model that a run leaves is the measured one.

That they end with equal bits on every runtime, and after a kill, is tested with those of other codecs:
test_equality.py, flower/test_equality.py (kinds.toml), test_kill.py, test_kill_deployed.py and tests/test_resume.py.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmtl.algorithms import FedAvg, FedPer
from fedmtl.codecs import EF21, STC, ErrorFeedback, TopK
from fedmtl.export.load_result import load_result
from fedmtl.protocol.packets import HEADER_BYTES
from fedmtl.protocol.reference import whole_bytes
from fedmtl.run_experiment import run
from fedmtl.runs.result import Result
from tests import toys
from tests.server.caught import data_pairs, leaked_names, leaked_values, play, private_pairs
from tests.server.toy import TRUNK_NUMBERS
from tests.toys import mixed


@pytest.mark.parametrize("algorithm", [FedPer(epochs=1), FedAvg(epochs=1)], ids=lambda one: type(one).__name__)
def test_nothing_private_is_in_a_packet(algorithm: Any) -> None:
    caught = play(algorithm, (ErrorFeedback(TopK(0.25)), TopK(0.25)), engine="loop")
    assert (
        leaked_values(caught, private_pairs(caught)) == 0 and leaked_values(caught, data_pairs(caught.federation)) == 0
    )
    assert leaked_names(caught) == []
    assert len(private_pairs(caught)) > 100 or isinstance(algorithm, FedAvg)
    sizes = {len(request.packet) for _, request in caught.requests}
    assert len(sizes) > 1
    if isinstance(algorithm, FedPer):
        assert max(sizes) == HEADER_BYTES + whole_bytes(TRUNK_NUMBERS)
    assert sum(row["packet_bytes"] for row in caught.result.ledger) == sum(map(len, caught.packets))


DATA = mixed(examples=12, ragged=True)


def outcome(result: Result) -> tuple[Any, ...]:
    return result.summary["digests"], result.ledger, [{**row, "seconds": 0} for row in result.rows]


@pytest.mark.parametrize(
    "changes",
    [
        {"valid_fraction": 0.2},
        {"link": "Constant(down_mbps=2, up_mbps=1)", "availability": "Always(dropout=0.4)"},
        {"policy": "FedBuff(2)", "link": "LogNormal(down_mbps=2, up_mbps=1)", "cohort": 4},
        {"up_codec": EF21(STC(0.1)), "availability": "Always(dropout=0.4)", "rounds": 6, "valid_fraction": 0.2},
        {"up_codec": EF21(STC(0.1)), "policy": "FedBuff(2)", "link": "LogNormal(down_mbps=2, up_mbps=1)", "cohort": 4},
    ],
    ids=["validation", "dropout", "asynchronous", "EF21, dropout", "EF21, asynchronous"],
)
def test_paused_runs_end_with_the_same_bits_and_leave_the_model_that_was_measured(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    """Stopped after each exchange. Clients' models, read from the folder, score what the run has measured."""
    values = {"data": DATA, "algorithm": FedPer(lr=0.05, epochs=1), "rounds": 4, "cohort": 3, "batch_size": 3}
    codecs = {"up_codec": ErrorFeedback(STC(0.1)), "down_codec": STC(0.1)}
    experiment = toys.experiment(**{**values, **codecs, "engine": "Loop", "evaluate_every": 2, **changes})
    whole, stops = run(experiment), [0]

    def pause(_: Any) -> bool:
        stops[0] += 1
        return stops[0] % 2 == 0

    part = run(experiment, tmp_path / "run", pause=pause)
    while not part.summary:
        part = run(experiment, tmp_path / "run", resume=True, pause=pause)
    assert outcome(part) == outcome(whole) and stops[0] > 4
    federation, read = experiment.load(), load_result(tmp_path / "run")
    last = [row for row in part.rows if row["part"] == "test" and row["client"] is not None]
    last = [row for row in last if row["round"] == max(row["round"] for row in last)]
    for row in (row for row in last if row["task"].startswith(("multiclass", "binary")) and row["examples"]):
        data = federation.clients[row["client"]].test
        for result in (whole, read):
            found = result.predict(row["client"], data.x)[row["task"]].values
            labels = data.y[row["task"]]
            known = ~np.isnan(labels)
            right = (np.asarray(found)[known] == labels[known]).mean()
            assert right == pytest.approx(row["value"], abs=1e-6)

"""Asynchronous rounds: equal to synchronous ones where all is equal, their staleness by hand, and resumed."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedmtl.algorithms import IFCA, FedPer
from fedmtl.run_experiment import run
from fedmtl.runs.result import named_tensors
from fedmtl.timing.policies import FedAsync, FedBuff, SemiSynchronous
from tests.toys import ALIKE, experiment, mixed

UNLIKE: dict[str, Any] = {
    "link": "LogNormal(down_mbps=0.01, up_mbps=0.005, period=0.5)",
    "devices": "DeviceClasses([200, 20], [4, 2], [1, 1])",
    "availability": "Always(dropout=0.1)",
    "policy": "FedBuff(2)",
    "cohort": 4,
    "rounds": 5,
}


@pytest.mark.parametrize("data", [ALIKE, mixed()])
def test_equal_speeds_and_a_buffer_of_the_cohort_are_a_synchronous_run(data: Any) -> None:
    changes = {"data": data, "link": "Constant", "cohort": 4, "up_codec": "ErrorFeedback(TopK(0.5))"}
    asynchronous = run(experiment(**changes, policy="FedBuff(0)")).summary
    synchronous = run(experiment(**changes)).summary
    assert asynchronous["digests"] == synchronous["digests"]
    assert asynchronous["simulated"] == pytest.approx(synchronous["simulated"])


@dataclass(frozen=True)
class Turns:
    """Devices of 1 s, but of 10 s for client 0."""

    def seconds(self, seed: int, clients: np.ndarray, examples: np.ndarray) -> np.ndarray:
        return np.where(clients == 0, 10.0, 1.0)

    def watts(self, seed: int, clients: np.ndarray) -> np.ndarray:
        return np.zeros(len(clients))


def test_staleness_by_hand() -> None:
    """Two clients and a buffer of 1: client 1 makes versions 1 to 9, at 1 s, 2 s, …, and the tenth at 10 s, at which
    client 0 is first, comes from it: w_9 + (1 + 9)^−½ (w_0' − w_0), where w_0' − w_0 is its step of the first round.

    Both have 12 examples, so that w_0' is twice the mean of both less that of client 1.
    """
    data = replace(ALIKE, clients=2, tasks=1)
    changes = {"data": data, "devices": Turns(), "cohort": 2, "policy": FedBuff(1), "metrics": "primary"}
    ten, nine = (run(experiment(**changes, rounds=rounds)).state for rounds in (10, 9))
    first = run(experiment(data=data, devices=Turns(), rounds=1, cohort=2, policy="FedBuff(1)")).state
    both = run(experiment(data=data, rounds=1, cohort=2)).state
    begin = experiment(data=data).make_plan(data.load(0)).initial
    for name, last in tensors(ten).items():
        before, one, mean = tensors(nine)[name], tensors(first)[name], tensors(both)[name]
        expected = before + (2 * mean - one - begin[name]) / np.sqrt(10)
        assert torch.allclose(last, expected, atol=2e-6), name


def test_fed_async_by_hand() -> None:
    """The same clients, each reply a step: the tenth version is (1 − α) w_9 + α w_0', with α = 0.5 · 10^−1."""
    data = replace(ALIKE, clients=2, tasks=1)
    changes = {"data": data, "devices": Turns(), "cohort": 2, "policy": FedAsync(0.5, staleness=1.0)}
    ten, nine = (tensors(run(experiment(**changes, rounds=rounds)).state) for rounds in (10, 9))
    first = tensors(run(experiment(data=data, devices=Turns(), rounds=1, cohort=2, policy="FedBuff(1)")).state)
    both = tensors(run(experiment(data=data, rounds=1, cohort=2)).state)
    for name, last in ten.items():
        expected = 0.95 * nine[name] + 0.05 * (2 * both[name] - first[name])
        assert torch.allclose(last, expected, atol=2e-6), name


def test_times_of_steps() -> None:
    """Six uploads under way; a step at 10 s, or when the first has come."""
    ends = np.array([11.0, 12.0, 12.0, 15.0, 19.0, 30.0])
    assert FedBuff(2).arrivals(ends, 5.0, 4) == (2, 12.0) and FedBuff(9).arrivals(ends, 5.0, 4) == (6, 30.0)
    assert FedBuff(0).arrivals(ends, 5.0, 4) == (4, 15.0) and FedAsync().arrivals(ends, 5.0, 4) == (1, 11.0)
    assert SemiSynchronous(10.0).arrivals(ends, 5.0, 4) == (4, 15.0)
    assert SemiSynchronous(11.0).arrivals(ends, 5.0, 4) == (4, 16.0)
    assert SemiSynchronous(1.0).arrivals(ends, 5.0, 4) == (1, 11.0)


def tensors(state: Any) -> dict[str, torch.Tensor]:
    return {name.removeprefix("model."): value for name, value in named_tensors(state).items()}


@pytest.mark.parametrize("policy", ["FedBuff(2)", "FedAsync()", "SemiSynchronous(0.5)"])
def test_a_run_with_updates_under_way_is_resumed(policy: str, tmp_path: Path) -> None:
    changes = {**UNLIKE, "policy": policy}
    whole = run(experiment(**changes))
    for stop in (1, 3):
        folder = tmp_path / str(stop)
        run(experiment(**changes), folder, pause=lambda progress, stop=stop: progress.round == stop)
        (flight,) = (folder / "checkpoint").glob("flight-*.state")
        assert flight.name == f"flight-{stop}.state" and flight.stat().st_size > 700
        again = run(experiment(**changes), folder, resume=True)
        assert again.summary["digests"] == whole.summary["digests"]
        assert again.summary["simulated"] == whole.summary["simulated"] and again.training == whole.training


def test_damaged_updates_under_way(tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    run(experiment(**UNLIKE), folder, pause=lambda progress: progress.round == 2)
    (folder / "checkpoint" / "flight-2.state").write_bytes(b"gone")
    with pytest.raises(ValueError, match="updates under way, is gone or damaged; restore the file"):
        run(experiment(**UNLIKE), folder, resume=True)


def test_nodes_do_not_matter() -> None:
    alone = run(experiment(**UNLIKE)).summary
    workers = run(experiment(**{**UNLIKE, "runtime": "Ray(workers=2)"}), in_process=True).summary
    assert (workers["digests"], workers["simulated"]) == (alone["digests"], alone["simulated"])


def test_methods_that_send_no_differences_are_refused() -> None:
    with pytest.raises(ValueError, match=r"adds up differences from one model of the server, which uploads of IFCA"):
        experiment(algorithm=IFCA(), policy="FedBuff")
    experiment(algorithm=FedPer(), policy="FedBuff")
    with pytest.raises(ValueError, match="FedBuff: buffer is a whole number of at least 0, got -1"):
        FedBuff(buffer=-1)

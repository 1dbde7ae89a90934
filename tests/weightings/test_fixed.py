"""Fixed weights: refusals, and names of tasks that an experiment does not have."""

from typing import Any

import pytest

from fedmtl.registry.components import describe, make
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.weightings import Fixed


def test_weights_print_and_travel() -> None:
    weighting = Fixed({"digit": 2, "parity": 0.5})
    assert repr(weighting) == "Fixed(weights=('digit:2.0', 'parity:0.5'))"
    assert make("weighting", repr(weighting)) == weighting and hash(weighting) == hash(Fixed(weighting.weights))
    assert make("weighting", describe("weighting", weighting)) == weighting
    assert make("weighting", 'Fixed({"digit": 2, "parity": 0.5})') == weighting


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), "2", True, None])
def test_weights_that_are_none(weight: Any) -> None:
    with pytest.raises(ValueError, match="finite number of at least 0, got .* for 'digit'"):
        Fixed({"digit": weight})


@pytest.mark.parametrize("weights", [2.0, "digit", [1.0, 2.0], ("digit",), None, [("digit", 2.0)]])
def test_weights_without_names(weights: Any) -> None:
    with pytest.raises(ValueError, match="takes the weights of tasks by name"):
        Fixed(weights)


def test_texts_that_hold_no_weight() -> None:
    with pytest.raises(ValueError, match="finite number of at least 0, got 'two' for 'digit'"):
        Fixed(("digit:two",))
    with pytest.raises(ValueError, match="a task has one weight"):
        Fixed(("digit:2", "digit:3"))


def test_a_task_that_an_experiment_does_not_have() -> None:
    algorithm = "TaskWeighted(algorithm=FedPer(), weighting=Fixed({'digits': 2.0}))"
    experiment = Experiment(data="digits", model="Linear", algorithm=algorithm, rounds=1, runtime="InProcess")
    with pytest.raises(ValueError, match=r"unknown task 'digits'; the tasks are \['digit', .*Did you mean digit\?"):
        run(experiment)

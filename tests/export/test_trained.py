"""Models and predictions of a run: those that it measured, from a live result and from its folder."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from fedmtl import MLP, Experiment, FedPer, FromModule, InProcess, Result, from_arrays, load_result, run
from fedmtl.algorithms import FedAvg, FedBN, FedEM
from fedmtl.export.programs import to_torch
from fedmtl.models.predictions import TaskPrediction
from fedmtl.tasks import Binary, MultiClass, MultiLabel, Regression
from tests.export.measured import check_measured
from tests.export.test_shrink import tiny_run
from tests.export.tiny_data import Tiny


@pytest.mark.parametrize("algorithm", [FedPer(epochs=1), FedAvg(epochs=1), FedEM(epochs=1)], ids=repr)
def test_the_best_round_is_what_predicts(algorithm: Any, tmp_path: Path) -> None:
    """With validation parts, the result is the best round's model, of which private states are kept, too."""
    keywords: dict[str, Any] = {"rounds": 5, "valid_fraction": 0.4, "cohort": 1.0, "patience": 2}
    experiment = tiny_run(tmp_path, algorithm, **keywords)
    live = run(experiment)
    for result in (live, load_result(tmp_path, allow=["tests"])):
        check_measured(result, experiment.load())


def test_a_model_is_a_module_of_torch(tmp_path: Path) -> None:
    """FedPer's trunk and heads, put together from torch's layers by the names of the state dict, give the same."""
    experiment = tiny_run(tmp_path, FedPer(epochs=1), cohort=1.0)
    model = load_result(tmp_path, allow=["tests"]).model(4)
    assert isinstance(model, nn.Module) and not model.training
    own = model.state_dict()
    assert sorted(own) == sorted(
        f"{part}.{kind}" for part in ("trunk.1", "head.amount", "head.kind") for kind in ("weight", "bias")
    )
    x = torch.from_numpy(experiment.load().clients[4].test.x)
    features = torch.relu(x @ own["trunk.1.weight"].T + own["trunk.1.bias"])
    for task, outputs in model(x).items():
        wanted = features @ own[f"head.{task}.weight"].T + own[f"head.{task}.bias"]
        assert torch.allclose(outputs, wanted, atol=1e-6)
    loss = model(x)["amount"].square().mean()  # and it can be trained further
    loss.backward()
    assert all(value.grad is not None for name, value in model.named_parameters() if not name.startswith("head.kind"))


class Own(nn.Module):
    """A user's network, with running statistics and dropout, whose forward gives all outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.3))
        self.out = nn.ModuleDict({task: nn.Linear(6, n) for task, n in OUTPUTS.items()})

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.body(x)
        return {task: head(features) for task, head in self.out.items()}


OUTPUTS = {"amount": 1, "flag": 1, "kind": 3, "marks": 2}


@pytest.mark.parametrize("algorithm", [FedPer(epochs=2), FedBN(epochs=2), FedEM(epochs=1)], ids=repr)
@pytest.mark.parametrize("trunk", ["", "body"], ids=["outputs", "features"])
def test_a_users_own_module_predicts_what_was_measured(trunk: str, algorithm: Any, tmp_path: Path) -> None:
    """A module as an object, by its outputs and by its features: BatchNorm and dropout are as in evaluation. It goes to
    torch.export, too: every algorithm's by its outputs, and one by its features, which are the algorithm's no more."""
    torch.manual_seed(0)
    model = FromModule(Own(), trunk=trunk)
    given: dict[str, Any] = {"rounds": 2, "batch_size": 4, "runtime": "InProcess", "engine": "loop"}
    experiment = Experiment(data=Tiny(), model=model, algorithm=algorithm, down_codec="FP16", **given)
    live = run(experiment, tmp_path)
    for result in (live, load_result(tmp_path, experiment=experiment)):
        check_measured(result, experiment.load())
    if not trunk or isinstance(algorithm, FedPer):
        to_torch(live.model(4), ["amount", "kind"], torch.randn(2, 5))


@pytest.fixture(scope="module")
def clinics() -> Result:
    """Two named clients: which of three stages, whether sick, two signs, and a number of days around 30."""
    draw = np.random.default_rng(0)
    clients = {}
    for name in ("north", "south"):
        x = draw.standard_normal((60, 3))
        stage = np.array(["early", "late", "middle"])[(x[:, 0] > 0.5).astype(int) + (x[:, 0] > -0.5)]
        labels = {"stage": stage, "sick": x[:, 1] > 0, "signs": x[:, 1:] > 0, "days": 30 + 10 * x[:, 2]}
        clients[name] = (x, labels)
    tasks = {"signs": MultiLabel(2, names=["fever", "cough"])}
    data = from_arrays(clients, tasks=tasks)
    return run(Experiment(data=data, model=MLP(hidden=(8,)), rounds=8, runtime="InProcess", algorithm=FedPer(lr=0.1)))


def probabilities(found: TaskPrediction) -> NDArray[np.float32]:
    assert found.probabilities is not None
    return found.probabilities


def test_predictions_are_decoded(clinics: Result) -> None:
    """Names of classes, probabilities that are softmax and σ of the outputs, numbers in the label's unit."""
    x = np.random.default_rng(1).standard_normal((50, 3))
    found = clinics.predict("south", x)
    outputs = clinics.model("south")(torch.from_numpy(x.astype(np.float32)))
    stage = torch.softmax(outputs["stage"], 1).detach().numpy()
    assert np.allclose(probabilities(found["stage"]), stage, atol=1e-6)
    assert found["stage"].values.tolist() == [["early", "late", "middle"][k] for k in stage.argmax(1)]
    sick = 1 / (1 + np.exp(-outputs["sick"][:, 0].detach().numpy()))
    assert np.allclose(probabilities(found["sick"]), sick, atol=1e-6)
    assert found["sick"].values.tolist() == (sick > 0.5).astype(int).tolist()
    assert found["signs"].values.shape == (50, 2)
    assert abs(found["days"].values.mean() - 30) < 5 and found["days"].probabilities is None
    table = pd.DataFrame(found.table())
    assert list(table) == [
        *("days", "sick", "sick_probability", "signs.fever", "signs.fever_probability", "signs.cough"),
        *("signs.cough_probability", "stage", "stage_probability"),
    ]
    assert np.allclose(table["stage_probability"], stage.max(1), atol=1e-6)


def test_examples_are_arrays_tensors_lists_or_tables(clinics: Result) -> None:
    """All the same predictions; 3,000 examples are several batches."""
    x = np.random.default_rng(1).standard_normal((3000, 3)).astype(np.float32)
    wanted = clinics.predict("north", x)["days"].values
    assert wanted.shape == (3000,)
    for other in (torch.from_numpy(x), x.tolist(), pd.DataFrame(x, columns=["a", "b", "c"]), x.astype(np.float64)):
        assert np.allclose(clinics.predict("north", other)["days"].values, wanted, atol=1e-5)
    assert np.allclose(clinics.predict(0, x[:1])["days"].values, wanted[:1], atol=1e-4)
    assert clinics.predict("north", x[:0])["days"].values.shape == (0,)


@pytest.mark.parametrize(
    ("client", "x", "message"),
    [
        ("nord", np.zeros((1, 3)), r"no client 'nord'; its 2 are north, south\. Did you mean north\?"),
        (2, np.zeros((1, 3)), "no client 2; its 2 are north, south"),
        (True, np.zeros((1, 3)), "no client True"),
        ("north", np.zeros((4, 5)), "x: examples have 5 features, and the run's have 3; give the same ones"),
        ("north", np.zeros(3), r"x: one example has shape \(3,\); give examples \[N, …\], such as x\[None\]"),
        ("north", np.zeros((2, 3, 1)), r"x: examples are \[N, 3\] as in the run, got \[2, 3, 1\]"),
        ("north", [[0, math.nan, 1]], "x: inputs hold NaN or infinity in 1 row.*feature 1"),
        ("north", [["a", "b", "c"]], "x: .* must be numbers, not text"),
        ("north", [[1, 2, 3], [1, 2]], "x: no array can be made"),
    ],
)
def test_bad_examples_are_one_clear_error(clinics: Result, client: Any, x: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        clinics.predict(client, x)


def test_an_unknown_task_is_named(clinics: Result) -> None:
    with pytest.raises(KeyError, match=r"no task 'stages'.*Did you mean stage\?"):
        clinics.predict("north", np.zeros((1, 3)))["stages"]


def test_tokens_that_the_model_does_not_know() -> None:
    """Ten words and an embedding of as many rows: 10 is none of them, and 1.5 no word."""
    words = np.random.default_rng(0).integers(0, 10, (20, 4))
    data = from_arrays({0: (words, {"long": words[:, 0] > 4})})
    result = run(Experiment(data=data, model=Words(), rounds=1, runtime="InProcess"))
    assert result.predict(0, words)["long"].values.shape == (20,)
    with pytest.raises(ValueError, match="x: the model fails on whole numbers from 10 to 10.*give tokens"):
        result.predict(0, np.full((1, 4), 10))
    with pytest.raises(ValueError, match=r"x: the model takes whole numbers, such as tokens, and 1\.5 is none"):
        result.predict(0, np.full((1, 4), 1.5))


class Words:
    """An embedding of ten words."""

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        return nn.Sequential(nn.Embedding(10, 3), nn.Flatten())

    def head(self, features: int, outputs: int) -> nn.Module:
        return nn.Linear(features, outputs)


def test_a_model_that_diverged_predicts_nothing() -> None:
    data = from_arrays({0: (np.ones((4, 1)), {"y": np.arange(4.0)})}, tasks={"y": Regression()})
    result = run(Experiment(data=data, model=MLP(hidden=(2,)), rounds=1, runtime="InProcess", algorithm=FedPer(lr=0.1)))
    model = result.model(0)
    with torch.no_grad():
        model.get_parameter("head.y.bias").fill_(math.nan)
    from fedmtl.export.predict import predict

    with pytest.raises(ValueError, match="task 'y': an output is NaN; the model has diverged"):
        predict(model, {"y": Regression()}, torch.ones(1, 1))


def test_a_folder_of_arrays_needs_no_arrays(tmp_path: Path, clinics: Result) -> None:
    """Arrays are in no file; schema.json has what models need, and a run folder may be moved."""
    data = from_arrays({"north": (np.eye(4), {"kind": np.array(["a", "b", "a", "b"])})})
    result = run(Experiment(data=data, rounds=1, runtime="InProcess"), tmp_path / "run")
    shutil.move(tmp_path / "run", tmp_path / "moved")
    kept = load_result(tmp_path / "moved")
    found = kept.predict("north", np.eye(4))["kind"]
    assert set(found.values.tolist()) <= {"a", "b"}
    assert np.array_equal(found.outputs, kept.predict("north", np.eye(4))["kind"].outputs)
    assert kept.summary == result.summary


def test_a_model_of_an_object_is_given_again(tmp_path: Path) -> None:
    data = from_arrays({0: (np.eye(4), {"kind": np.array(["a", "b", "a", "b"])})})
    experiment = Experiment(data=data, model=Objected(nn.Linear(4, 3)), rounds=1, runtime="InProcess")
    result = run(experiment, tmp_path)
    with pytest.raises(ValueError, match="passed as an object.*pass it again from Python"):
        load_result(tmp_path)
    kept = load_result(tmp_path, experiment=experiment)
    assert np.array_equal(kept.predict(0, np.eye(4))["kind"].outputs, result.predict(0, np.eye(4))["kind"].outputs)


class Objected:
    """A model around a layer."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        import copy

        return copy.deepcopy(self.layer)

    def head(self, features: int, outputs: int) -> nn.Module:
        return nn.Linear(features, outputs)

    def fingerprint(self) -> str:
        return "objected"


def test_private_states_that_are_elsewhere(tmp_path: Path) -> None:
    """Devices keep them in a state folder, which is given; a client that never trained has its first state."""
    tiny_run(tmp_path / "run", FedPer(epochs=1), cohort=1.0, runtime=InProcess(str(tmp_path / "state")))
    (tmp_path / "state").rename(tmp_path / "device")
    with pytest.raises(ValueError, match="private state of FedPer.* is not in .*--state DIR"):
        load_result(tmp_path / "run", allow=["tests"]).model(0)
    kept = load_result(tmp_path / "run", allow=["tests"], state=tmp_path / "device")
    assert isinstance(kept.model(0), nn.Module)


def test_a_paused_run_has_no_model_yet(tmp_path: Path) -> None:
    data = from_arrays({0: (np.eye(4), {"kind": np.array(["a", "b", "a", "b"])})})
    result = run(Experiment(data=data, rounds=3, runtime="InProcess"), tmp_path, pause=lambda progress: True)
    with pytest.raises(RuntimeError, match="paused.*resume=True"):
        result.model(0)
    with pytest.raises(FileNotFoundError, match="summary.json is missing"):
        load_result(tmp_path)


def test_binary_stays_numbers() -> None:
    """A yes or no of numbers is 0 or 1 in predictions."""
    assert Binary().decode(torch.tensor([[-2.0], [3.0]])).values.tolist() == [0, 1]
    assert MultiClass(3).decode(torch.tensor([[0.0, 5.0, 1.0]])).values.tolist() == [1]

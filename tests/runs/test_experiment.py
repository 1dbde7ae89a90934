"""Experiments as data: files, settings, and what is refused."""

import dataclasses
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from fedmtl.algorithms import FedAvg, FedPer, FedRep, Local, Mocha, Pooled
from fedmtl.callbacks.tensorboard import TensorBoard
from fedmtl.codecs import FP16, Chain, Dense, ErrorFeedback, Int8, PerLayer, TopK
from fedmtl.data import Digits, Synthetic, TableFile, Watch, from_arrays
from fedmtl.engines import Loop, VMap
from fedmtl.models import (
    CNN,
    GRU,
    LSTM,
    MLP,
    BagOfEmbeddings,
    FromModule,
    Linear,
    LoRA,
    Pretrained,
    ResNet,
    ShareMap,
    Stems,
    TemporalCNN,
    TextCNN,
    TextEncoder,
    Timm,
    TransformerEncoder,
    Transformers,
    UNet,
)
from fedmtl.registry.allowed import beside
from fedmtl.registry.components import REGISTRY, find
from fedmtl.runs.experiment import COMPONENTS, LISTS, Experiment, from_dict
from fedmtl.runs.experiment_fields import EXECUTION_FIELDS
from fedmtl.runs.presets import load_experiment, override, presets, read_preset
from fedmtl.runtime import Flower, InProcess, Ray
from fedmtl.tasks import Binary
from fedmtl.timing.availability import Daily, Windows
from fedmtl.timing.links import Constant, Trace
from fedmtl.timing.policies import Deadline, OverSelection
from fedmtl.timing.radios import LTE
from tests.conftest import ALL_ALGORITHMS

EXPERIMENTS = [
    Experiment(),
    Experiment(algorithm=FedRep(lr=0.01, head_epochs=1), data=Synthetic(kind="mixed", noise=0.25, ragged=True)),
    Experiment(algorithm=Local(lr=1), model=CNN(channels=(4, 8), hidden=9)),
    Experiment(model=ShareMap(MLP(hidden=(5,)), {"trunk.0.*": "frozen", "*.bias": "private"})),
    Experiment(algorithm=Pooled(epochs=1), model=TemporalCNN(channels=(4,)), data=Watch()),
    Experiment(algorithm=FedAvg(), model=MLP(hidden=(3, 4)), data=Digits(clients=7), cohort=0.25),
    Experiment(data=TableFile('a, "b".csv', "site", ("churn", "ltv"), kinds={"churn": Binary()}, missing=-1)),
    *[Experiment(data=find("data", name)()) for name in REGISTRY["data"]],
    *[Experiment(up_codec=find("codec", name)()) for name in REGISTRY["codec"] if name != "Chain"],
    *[
        Experiment(model=model)
        for model in (
            ResNet(depth=18, norm="batch"),
            UNet(channels=(4,)),
            GRU(vocabulary=9),
            LSTM(per_step=True),
            BagOfEmbeddings(9, hidden=3),
            TextCNN(kernels=(2, 7), dropout=0.5),
            TransformerEncoder(layers=1, per_token=True),
            TextEncoder(freeze=("embed.*",)),
            LoRA(MLP(hidden=(6,)), rank=2, targets=("0", '"a".*')),
            Stems({"digit": CNN(), "*": MLP(hidden=(64,))}, body=MLP(hidden=(3,))),
            Timm("resnet34", pretrained=True),
            Transformers("a folder", pretrained=False, per_token=True),
            Pretrained(ShareMap(CNN()), "a b.pt", {"encoder.": ""}, ("fc.*",), freeze=("*",)),
        )
    ],
    Experiment(up_codec=ErrorFeedback(TopK(0.01)), down_codec=FP16(), cohort=3),
    Experiment(up_codec=ErrorFeedback(FP16()), down_codec=Int8(block=8)),
    Experiment(up_codec=["ClipNorm(1.0)", "GaussianNoise(0.8)", "ErrorFeedback(TopK(0.05))"], down_codec=["FP16"]),
    Experiment(up_codec=PerLayer({'"a" = [b].*': Int8(), "*": ["ClipNorm", TopK()]}), down_codec=PerLayer()),
    Experiment(up_codec=Chain("ClipNorm(1.0)", PerLayer({"trunk.0.*": "Int8()"}, default="TopK(0.05)"))),
    Experiment(up_codec=TopK(0.125), down_codec=Dense()),
    Experiment(algorithm=Mocha(lam=0.5), model=Linear(intercept=False)),
    *[Experiment(algorithm=algorithm) for algorithm in ALL_ALGORITHMS],
    Experiment(link="LogNormal(20, 5, radio=WiFi())", devices="DeviceClasses([9, 3.5], [1, 2], [1, 1])"),
    Experiment(link=Constant(radio=LTE(tail_seconds=0.0)), availability=Daily(dropout=0.1), policy=Deadline(9)),
    Experiment(link="Markov(bad=0)", policy="FedBuff(0)"),
    *[Experiment(policy=policy) for policy in ("FedAsync(mix=1)", "SemiSynchronous(9)")],
    Experiment(link="Shared(Markov(bad=0), 100, 100)", availability="Always(0.5)", policy=OverSelection(1.5)),
    Experiment(engine=Loop(device="cuda"), runtime=InProcess(state_dir="states")),
    Experiment(runtime=Flower(wait_seconds=2.0)),
    Experiment(
        name='say "ä" = [1] #',
        rounds=3,
        cohort=2,
        batch_size=0,
        augment=tuple(REGISTRY["augmentation"]),
        evaluate_every=2,
        evaluate_clients=3,
        metrics="all",
        train_loss=True,
        train_metrics=True,
        seed=7,
        engine=VMap(chunk=7, device="cpu:0", compile=True),
        runtime=Ray(5, 0.5, address="auto", state_dir="C:\\a b\\", wait_seconds=1, round_seconds=0.5),
        max_weight=2.0,
        max_norm=0.0,
        valid_fraction=0.25,
        patience=4,
        wire=True,
        callbacks=("CSV(path='a, \"b\".csv')", TensorBoard(clients=False), "MLflow"),
    ),
]


def ray(**fields: Any) -> dict[str, Any]:
    return {"name": "Ray", **fields}


@pytest.fixture
def imports() -> Iterator[None]:
    """What ``read_preset`` makes importable is forgotten again."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("beside_"):
            del sys.modules[name]


# To files and back


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda e: e.label)
def test_an_experiment_comes_back_from_toml(experiment: Experiment) -> None:
    text = tomli_w.dumps(experiment.to_dict())
    again = from_dict(tomllib.loads(text))
    assert again == experiment
    assert again.to_dict() == experiment.to_dict() and again.result_settings == experiment.result_settings


def test_the_round_trip_covers_every_component() -> None:
    seen = {type(getattr(experiment, field)) for experiment in EXPERIMENTS for field in COMPONENTS}
    seen |= {type(one) for experiment in EXPERIMENTS for field in LISTS for one in getattr(experiment, field)}
    for kind in {*COMPONENTS.values(), *LISTS.values()}:
        # A module of a user's own is allowed where it is read: tests/models/test_from_module.py. Traces are files:
        # tests/timing/test_contract.py.
        assert {find(kind, name) for name in REGISTRY[kind]} - {FromModule, Trace, Windows} <= seen
    values = dataclasses.asdict(EXPERIMENTS[-1])
    unchanged = [field for field in values if field not in COMPONENTS and values[field] == getattr(Experiment(), field)]
    assert unchanged == []  # no field that the round trip could forget


def test_components_may_be_objects_words_calls_or_tables() -> None:
    same = [
        Experiment(algorithm=FedPer(lr=0.5), up_codec=TopK(0.5)),
        Experiment(algorithm="fedper(lr=0.5)", up_codec="TopK(keep=0.5)"),
        Experiment(algorithm={"name": "FedPer", "lr": 0.5}, up_codec={"name": "topk", "keep": 0.5}),
    ]
    assert same[0] == same[1] == same[2]
    assert from_dict({"algorithm": "fedper(lr=0.5)", "up_codec": "topk(keep=0.5)"}) == same[0]


def test_arrays_in_memory_are_described_and_not_read_back() -> None:
    data = from_arrays({0: ([[0.0], [1.0], [2.0]], {"age": [0.0, 0.5, 1.5]})})
    experiment = Experiment(data=data)
    table = experiment.to_dict()["data"]
    assert table["name"] == "fedmtl.data.arrays:ArrayData" and "passed_as_object" in table
    tomli_w.dumps(experiment.to_dict())
    with pytest.raises(ValueError, match="cannot be made from a file; pass it again from Python"):
        from_dict(experiment.to_dict())


def test_what_is_what_results_depend_on() -> None:
    """``cohort=1`` is one client and ``cohort=1.0`` everybody, although Python takes the two numbers for equal."""
    how = {
        "name": "other",
        "engine": "VMap(chunk=3, compile=True)",
        "runtime": "Ray(workers=9, gpus_per_worker=1.0, address='auto', state_dir='/x', round_seconds=1.0)",
        "max_weight": 3.0,
        "max_norm": 5.0,
        "train_loss": True,
        "callbacks": ["TensorBoard"],
    }
    assert set(how) == set(EXECUTION_FIELDS)
    for key, value in how.items():
        assert Experiment(**{key: value}).result_settings == Experiment().result_settings
    what = {
        "data": "synthetic",
        "model": "CNN",
        "algorithm": "FedRep",
        "up_codec": "FP16",
        "down_codec": "FP16",
        "rounds": 1,
        "cohort": 1,
        "batch_size": 1,
        "evaluate_every": 2,
        "evaluate_clients": 3,
        "metrics": "primary",
        "train_metrics": True,
        "seed": 1,
        "valid_fraction": 0.25,
        "augment": "Jitter",
        "link": "Constant",
        "devices": "DeviceClasses",
        "wire": True,
        "availability": "Always(dropout=0.5)",
        "policy": "Deadline",
    }
    for key, value in what.items():
        assert Experiment(**{key: value}).result_settings != Experiment().result_settings
    stopping = Experiment(valid_fraction=0.25, patience=2)
    assert stopping.result_settings != Experiment(valid_fraction=0.25).result_settings
    assert {*how, *what, "patience"} == {field.name for field in dataclasses.fields(Experiment)}


def test_the_label_names_algorithm_and_codecs() -> None:
    plain = "FedRep(lr=1, head_epochs=2, trunk_epochs=3, optimizer=SGD())"
    assert Experiment(algorithm=FedRep(1, 2, 3)).label == f"{plain} / Dense()"
    local = Experiment(algorithm=Local(1, 2), up_codec=FP16())
    assert local.label == "Local(lr=1, epochs=2, optimizer=SGD()) / FP16() up, Dense() down"


def test_batch_size_nought_is_everything() -> None:
    federation = Synthetic(clients=4, examples=3, test_examples=1).load(0)
    assert Experiment(batch_size=0).make_plan(federation).batch_size is None
    assert Experiment(batch_size=5).make_plan(federation).batch_size == 5


# Presets


@pytest.mark.parametrize("name", sorted(presets()))
def test_every_preset_loads_by_name_and_by_file(name: str, imports: None) -> None:
    experiment = load_experiment(name)
    assert load_experiment(presets()[name]) == experiment
    assert from_dict(tomllib.loads(tomli_w.dumps(experiment.to_dict()))) == experiment
    assert load_experiment(name, ["rounds=1", "runtime=InProcess"]).rounds == 1


def test_every_preset_in_the_checkout_is_found() -> None:
    """Also those in folders of their own, which ``presets`` must then know. One beside a script is the script's."""
    folder = Path(__file__).parents[2] / "simulations" / "presets"
    files = [path for path in folder.rglob("*.toml")] if folder.is_dir() else []
    assert {path.resolve() for path in files} <= {path.resolve() for path in presets().values()}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_preset_is_a_file_with_settings_on_top(tmp_path: Path, imports: None) -> None:
    path = write(
        tmp_path / "mine.toml",
        'name = "mine"\nrounds = 4\nalgorithm = "FedRep"\n'
        '[up_codec]\nname = "TopK"\nkeep = 0.25\n'
        '[compare]\nalgorithms = ["FedPer", "Local"]\nseeds = 3\n',
    )
    expected = Experiment(name="mine", rounds=4, algorithm=FedRep(), up_codec=TopK(0.25))
    assert load_experiment(path) == load_experiment(str(path)) == expected  # [compare] is not for a run
    changed = load_experiment(path, ["rounds=9", "algorithm.lr=0.5", "up_codec.keep=0.5"])
    assert changed == Experiment(name="mine", rounds=9, algorithm=FedRep(lr=0.5), up_codec=TopK(0.5))


def test_a_preset_finds_components_that_lie_beside_it(tmp_path: Path, imports: None) -> None:
    write(
        tmp_path / "beside_preset.py",
        "from dataclasses import dataclass\n"
        "from fedmtl.models import MLP\n"
        "@dataclass(frozen=True)\n"
        "class Small:\n"
        "    hidden: int = 2\n"
        "    def trunk(self, input_shape): return MLP((self.hidden,)).trunk(input_shape)\n"
        "    def head(self, features, outputs): return MLP().head(features, outputs)\n",
    )
    path = write(tmp_path / "mine.toml", 'model = { name = "beside_preset:Small", hidden = 3 }\n')
    experiment = load_experiment(path)
    assert experiment.model.hidden == 3
    assert experiment.to_dict()["model"] == {"name": "beside_preset:Small", "hidden": 3}
    assert from_dict(experiment.to_dict(), allowed=beside(path)) == experiment
    assert load_experiment(path, ["model.hidden=5"]).model.hidden == 5


def test_a_preset_of_a_module_that_is_elsewhere_says_where_it_looked(tmp_path: Path, imports: None) -> None:
    path = write(tmp_path / "mine.toml", 'model = "beside_nobody:Small"\n')
    with pytest.raises(ValueError) as error:
        load_experiment(path)
    assert str(path) in str(error.value) and "no module 'beside_nobody' may be imported" in str(error.value)
    assert f"from the preset's own folder ({str(tmp_path)!r} has none)" in str(error.value)


def test_a_preset_that_is_not_there_lists_those_that_are() -> None:
    known = ", ".join(presets()) or "none installed"
    with pytest.raises(ValueError, match=re.escape(f"No preset 'nope': give a .toml file, or one of {known}")):
        read_preset("nope")


@pytest.mark.parametrize("content", [b"rounds = = 3", b"rounds: 3", b"\xff\xfe"])
def test_a_preset_that_is_not_toml_names_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(f"{path} is not TOML: ")):
        read_preset(path)


def test_errors_in_a_preset_name_the_file(tmp_path: Path, imports: None) -> None:
    path = write(tmp_path / "bad.toml", "rouns = 3\n")
    with pytest.raises(ValueError, match=re.escape(f"{path}: unknown key 'rouns'; the keys are name, data, ")):
        load_experiment(path)


# Settings


@pytest.mark.parametrize(
    ("values", "settings", "expected"),
    [
        ({}, [], {}),
        ({}, ["rounds=5"], {"rounds": 5}),
        ({"rounds": 9}, ["rounds=5", " rounds = 6 "], {"rounds": 6}),
        ({}, ["cohort=0.5"], {"cohort": 0.5}),
        ({}, ["cohort=1e-1"], {"cohort": 0.1}),
        ({}, ["name=two words"], {"name": "two words"}),
        ({}, ["name='two words'"], {"name": "two words"}),
        ({}, ['name="5"'], {"name": "5"}),
        ({}, ["name=a=b"], {"name": "a=b"}),
        ({}, ["name="], {"name": ""}),
        ({"data": "synthetic"}, ["data.ragged=true"], {"data": {"name": "synthetic", "ragged": True}}),
        ({}, ["model.hidden=[3, 4]"], {"model": {"name": Experiment.model, "hidden": [3, 4]}}),
        ({}, ["algorithm=FedRep(lr=0.5)"], {"algorithm": "FedRep(lr=0.5)"}),
        ({}, ["algorithm.lr=0.5"], {"algorithm": {"name": Experiment.algorithm, "lr": 0.5}}),
        ({"algorithm": "FedRep"}, ["algorithm.lr=0.5"], {"algorithm": {"name": "FedRep", "lr": 0.5}}),
        (
            {"algorithm": {"name": "FedRep", "lr": 0.1, "head_epochs": 2}},
            ["algorithm.lr=0.5"],
            {"algorithm": {"name": "FedRep", "lr": 0.5, "head_epochs": 2}},
        ),
        ({}, ["up_codec.name=TopK", "up_codec.keep=0.5"], {"up_codec": {"name": "TopK", "keep": 0.5}}),
        ({}, ["up_codec={name='TopK', keep=0.5}"], {"up_codec": {"name": "TopK", "keep": 0.5}}),
        (
            {"up_codec": {"name": "ErrorFeedback", "codec": {"name": "TopK", "keep": 0.1}}},
            ["up_codec.codec.keep=0.5"],
            {"up_codec": {"name": "ErrorFeedback", "codec": {"name": "TopK", "keep": 0.5}}},
        ),
        (
            {"up_codec": {"name": "ErrorFeedback", "codec": "TopK"}},
            ["up_codec.codec.keep=0.5"],
            {"up_codec": {"name": "ErrorFeedback", "codec": {"name": "TopK", "keep": 0.5}}},
        ),
        # A new name takes other fields: those of the old do not stay.
        ({"algorithm": {"name": "FedRep", "head_epochs": 2}}, ["algorithm=FedPer"], {"algorithm": "FedPer"}),
    ],
)
def test_settings(values: dict[str, Any], settings: list[str], expected: dict[str, Any]) -> None:
    before = tomli_w.dumps(values)
    got = override(values, settings)
    assert got == expected
    assert tomli_w.dumps(values) == before  # what was given is left alone
    from_dict(got)  # and it is an experiment


@pytest.mark.parametrize(
    ("values", "setting", "message"),
    [
        ({}, "rounds", "A setting is written key=value, got 'rounds'; for example rounds=5 or algorithm.lr=0.05"),
        ({}, "=5", "A setting is written key=value, got '=5'"),
        ({}, "", "A setting is written key=value, got ''"),
        (
            {},
            "rounds.x=5",
            "'rounds' has no fields; those that have are data, model, algorithm, up_codec, down_codec, e",
        ),
        ({"rounds": 3}, "rounds.x=5", "'rounds' has no fields"),
        ({}, "nothing.x=5", "'nothing' has no fields"),
        ({"algorithm": "FedPer(lr=1"}, "algorithm.lr=2", r"algorithm is written like .*, got 'FedPer\(lr=1'"),
        ({}, "algorithm.lr.x=5", "'lr'"),
    ],
)
def test_settings_that_are_refused(values: dict[str, Any], setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(values, [setting])


# Refusals


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"round": 3}, "unknown key 'round'; the keys are name, data, model, algorithm, up_codec, down_codec, rounds"),
        ({"compare": {}}, "unknown key 'compare'"),
        ({"algorithm": "FedNope"}, "Unknown algorithm 'FedNope'; known: Local, Ensemble, Pooled, FedAvg, FedPer"),
        ({"algorithm": {"name": "FedPer", "rate": 1}}, "'FedPer' has no field 'rate'; its fields are lr, epochs"),
        ({"model": {"hidden": [3]}}, "A table for model needs a name, such as name = 'MLP'"),
        ({"rounds": "ten"}, "rounds is a whole number, got 'ten'"),
        ({"rounds": 2.5}, "rounds is a whole number, got 2.5"),
        ({"rounds": 0}, "rounds is at least 1, got 0"),
        ({"rounds": True}, "rounds is a whole number, got True"),
        ({"batch_size": -1}, "batch_size is at least 0, got -1"),
        ({"evaluate_every": 0}, "evaluate_every is at least 1, got 0"),
        ({"seed": -1}, "seed is at least 0, got -1"),
        ({"runtime": "Ray(workers=0)"}, "workers is at least 1, got 0"),
        ({"runtime": "Ray(workers='2')"}, "runtime 'Ray': workers is a whole number, got '2'"),
        ({"runtime": "Ray(chunk=2)"}, "runtime 'Ray' has no field 'chunk'; its fields are workers, gpus_per_worker"),
        ({"engine": "VMap(chunk=-1)"}, "chunk is at least 0, got -1"),
        ({"engine": "VMap(device='gpu')"}, "device is one of torch's, such as 'cpu', 'cuda' or 'cuda:1', got 'gpu'"),
        ({"engine": "Loop(chunk=2)"}, "engine 'Loop' has no field 'chunk'; its fields are device"),
        ({"engine": {"chunk": 2}}, "A table for engine needs a name, such as name = 'VMap'"),
        ({"cohort": 0}, "at least 1 client"),
        ({"cohort": 1.5}, r"in \(0, 1\], got cohort=1.5; a whole number counts clients"),
        ({"cohort": "all"}, "cohort is a whole number or a number, got 'all'"),
        ({"name": 3}, "name is a text, got 3"),
        ({"engine": "jax"}, "Unknown engine 'jax'; known: VMap, Loop; or name your own"),
        ({"runtime": "flwr"}, "Unknown runtime 'flwr'; known: Ray, InProcess, Flower; or name your own"),
        ({"runtime": ray(wait_seconds=0)}, "wait_seconds is a positive number of seconds, got 0"),
        ({"runtime": "Flower(wait_seconds=0)"}, "wait_seconds is a positive number of seconds, got 0"),
        ({"runtime": ray(wait_seconds=float("nan"))}, "wait_seconds is a finite number, got nan"),
        ({"runtime": ray(round_seconds=-1)}, "round_seconds is a positive number of seconds, got -1"),
        ({"runtime": ray(gpus_per_worker=-1)}, "gpus_per_worker is 0 or more, got -1"),
        ({"runtime": ray(gpus_per_worker=float("nan"))}, "gpus_per_worker is a finite number, got nan"),
        ({"down_codec": "ErrorFeedback"}, "down_codec: ErrorFeedback.* keeps a memory of .*write the codec inside"),
    ],
)
def test_refuses_and_says_where(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^my.toml: {message}|^my.toml: .*{message}"):
        from_dict(values, "my.toml")


def test_a_class_or_another_kind_of_object_is_refused() -> None:
    given: Any
    for given, what in ((FedPer, "a class; give an instance"), (Dense(), "without init_server")):
        with pytest.raises(ValueError, match=what):
            Experiment(algorithm=given)

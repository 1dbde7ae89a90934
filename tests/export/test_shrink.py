"""From a run folder to small models: the same models that the run measured, and what remains of them."""

import csv
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from fedmtl import Experiment, run
from fedmtl.algorithms import FedAvg, FedPer, Mocha
from fedmtl.analysis.report import write_report
from fedmtl.cli import app
from fedmtl.codecs import FP16, Int8
from fedmtl.core.file_format import FORMAT
from fedmtl.export import ModelFormat, load
from fedmtl.export.outputs import summary, to_csv
from fedmtl.export.shrink import Shrunk
from fedmtl.export.shrink import shrink as make_small
from fedmtl.runtime import InProcess
from tests.conftest import UNLIKE, tiny_model
from tests.export.tiny_data import Normed, Tiny

DENSE = (ModelFormat(),)

shrink = partial(make_small, allow=["tests"])
"""The runs here name components of these tests."""


def tiny_run(folder: Path, algorithm: Any, **keywords: Any) -> Experiment:
    """Two rounds of half of the four clients, with broadcasts that lose something.

    By chance, where all hear the same. Clients that share tensors among others have them coded once, with the chance of
    the first, and a checkpoint does not say who shares.
    """
    model = tiny_model(algorithm)
    down = Int8() if algorithm.traits.uniform_broadcast else FP16()
    experiment = Experiment(
        data=Tiny(isinstance(algorithm, Mocha)),
        model=Normed() if type(model).__name__ == "Normed" else model,
        algorithm=algorithm,
        **{"rounds": 2, "batch_size": 4, "cohort": 0.5, "down_codec": down, "runtime": "InProcess", "engine": "loop"}
        | keywords,
    )
    run(experiment, folder)
    return experiment


def last_rows(folder: Path) -> list[tuple[Any, ...]]:
    """What the run measured at its end."""
    rows = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    end = max(row["round"] for row in rows)
    return sorted((str(row["client"]), row["task"], row["value"], row["score"]) for row in rows if row["round"] == end)


def dense_rows(shrunk: Shrunk) -> list[tuple[Any, ...]]:
    def number(text: str) -> float | None:
        return float(text) if text else None

    rows = [row for row in csv.DictReader(to_csv(shrunk).splitlines()) if row["format"] == "float32"]
    return sorted((row["client"] or "None", row["task"], number(row["value"]), number(row["score"])) for row in rows)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run on digits, made small, with all files; its folder."""
    folder = tmp_path_factory.mktemp("digits")
    experiment = Experiment(
        data="Digits(clients=6, alpha=10.0, test_fraction=0.75)",
        model="MLP(hidden=[64])",
        algorithm=FedPer(lr=0.1, epochs=10),
        batch_size=0,
        rounds=15,
        evaluate_every=15,
        runtime="InProcess",
    )
    run(experiment, folder)
    result = CliRunner().invoke(
        app, ["shrink", str(folder), "--export", str(folder / "small"), "--keep", "0.2", "--allow", "tests"]
    )
    assert result.exit_code == 0, result.output
    return folder


def test_int8_costs_little_and_saves_much(digits: Path) -> None:
    """A trunk of 64 channels with d = 64 and heads with d = 64: 4 · 65 / 72 = 3.61 times smaller but for what the file
    has around its numbers (test_file): 12 and some 26 + 19 a layer, 100 to 300 bytes of 5 kB, at worst 3.4 times.

    |w' − w| <= max |w_c| / 254: the weights move by 0.4 % of their channel's largest, and the mean score by < .02.
    """
    sizes = json.loads((digits / "size.json").read_text())
    assert sizes["format"] == FORMAT
    formats = sizes["formats"]
    assert list(formats) == ["float32", "int8", "float32-keep0.2", "int8-keep0.2"]
    assert formats["float32"]["mean_score"] > 0.5
    assert abs(formats["int8"]["mean_score"] - formats["float32"]["mean_score"]) < 0.02
    assert 3.4 < formats["int8"]["times_smaller"] < 3.61
    for name, model_format in formats.items():
        assert model_format["bytes"] == sum(path.stat().st_size for path in digits.glob(f"small/*/{name}.small"))


@pytest.mark.parametrize("model_format", ["float32", "int8", "float32-keep0.2", "int8-keep0.2"])
def test_a_device_that_has_only_the_file_reaches_what_was_measured(digits: Path, model_format: str) -> None:
    """The model is put together from torch's layers, and its accuracy counted by hand."""
    rows = [row for row in csv.DictReader((digits / "size.csv").open()) if row["format"] == model_format]
    assert {row["file_format"] for row in rows} == {str(FORMAT)}
    data = Experiment(data="Digits(clients=6, alpha=10.0, test_fraction=0.75)").load()
    checked = 0
    for row in rows:
        if row["task"] != "digit" or not row["client"]:
            continue
        file = digits / "small" / row["client"] / f"{model_format}.small"
        assert file.stat().st_size == int(row["bytes"])
        params = load(file.read_bytes())
        layers = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        names = ("trunk.1.weight", "trunk.1.bias", "head.digit.weight", "head.digit.bias")
        layers.load_state_dict(dict(zip(layers.state_dict(), (params[name] for name in names), strict=True)))
        test = data.clients[int(row["client"])].test
        labels = test.y["digit"]
        with torch.no_grad():
            guess = layers(torch.from_numpy(test.x.reshape(len(test.x), -1))).argmax(1).numpy()
        known = ~np.isnan(labels)
        assert float(row["value"]) == pytest.approx((guess == labels)[known].mean(), abs=1e-12)
        checked += 1
    assert checked >= 2


def test_a_report_has_the_table(digits: Path, tmp_path: Path, no_pictures: None) -> None:
    write_report([digits], tmp_path)
    text = (tmp_path / "report.md").read_text()
    times = json.loads((digits / "size.json").read_text())["formats"]["int8"]["times_smaller"]
    assert "### Small models\n\nFedPer, seed 0:" in text and f"| {times:.2f} |" in text


def test_a_fifth_of_the_weights_is_not_zero(digits: Path) -> None:
    """ceil(N/5) of a client's N weights stay, all biases do."""
    for file in digits.glob("small/*/float32-keep0.2.small"):
        dense = load(file.with_name("float32.small").read_bytes())
        pruned = load(file.read_bytes())
        total = sum(value.numel() for value in dense.values() if value.ndim > 1)
        assert sum(int((value != 0).sum()) for value in pruned.values() if value.ndim > 1) == -(-total // 5)
        assert all(torch.equal(pruned[name], value) for name, value in dense.items() if value.ndim == 1)


def test_some_clients_are_drawn_by_the_seed(tmp_path: Path) -> None:
    tiny_run(tmp_path, FedPer(epochs=1))
    some = [set(shrink(tmp_path, DENSE, clients=2).smalls[0].bytes) for _ in range(2)]
    assert some[0] == some[1] < set(UNLIKE) and len(some[0]) == 2
    for wrong in (5, -1):
        with pytest.raises(ValueError, match=f"at most the 4 that there are, got {wrong}"):
            shrink(tmp_path, DENSE, clients=wrong)


def test_who_never_trained_counts_with_the_first_state(tmp_path: Path) -> None:
    """One round of two of the four: nobody has kept a state of the other two, and the run measured them."""
    tiny_run(tmp_path, FedPer(epochs=1), rounds=1)
    shrunk = shrink(tmp_path, DENSE)
    assert not shrunk.absent and dense_rows(shrunk) == last_rows(tmp_path)


def test_private_state_that_is_elsewhere_is_named(tmp_path: Path) -> None:
    """The folder of a run on devices has no private state. FedAvg has none anywhere, save its codec's memory."""
    tiny_run(tmp_path / "private", FedPer(epochs=1))
    shutil.rmtree(tmp_path / "private/checkpoint/clients")
    with pytest.raises(ValueError, match="is not in .*clients.*--state DIR"):
        shrink(tmp_path / "private", DENSE)
    assert not (tmp_path / "private/checkpoint/clients").exists()
    memory = "ErrorFeedback(codec=TopK(keep=0.5))"
    tiny_run(tmp_path / "none", FedAvg(epochs=1), up_codec=memory)
    shutil.rmtree(tmp_path / "none/checkpoint/clients")
    assert dense_rows(shrink(tmp_path / "none", DENSE)) == last_rows(tmp_path / "none")


def test_on_a_device_those_who_live_there_are_measured(tmp_path: Path) -> None:
    """A state folder with a file a client, as devices keep it; of four clients two have lived here."""
    experiment = tiny_run(tmp_path / "run", FedPer(epochs=1), cohort=1.0, runtime=InProcess(str(tmp_path / "state")))
    assert dense_rows(shrink(tmp_path / "run", DENSE)) == last_rows(tmp_path / "run")
    (kept,) = (tmp_path / "state").iterdir()
    for client in (1, 4):
        shutil.rmtree(kept / f"{client}")
    (tmp_path / "state").rename(tmp_path / "device")
    with pytest.raises(ValueError, match=f"is not in '{experiment.runtime.state_dir}"):
        shrink(tmp_path / "run", DENSE)
    shrunk = shrink(tmp_path / "run", DENSE, state=tmp_path / "device")
    assert set(shrunk.smalls[0].bytes) == {0, 9} and shrunk.absent == {1, 4}
    assert summary(shrunk)["left_out"] == [1, 4]
    own = [row for row in last_rows(tmp_path / "run") if row[0] in ("0", "9")]
    assert [row for row in dense_rows(shrunk) if row[0] != "None"] == own


@pytest.mark.parametrize("missing", ["summary.json", "checkpoint/server.state", "experiment.toml"])
def test_a_run_that_is_not_finished(missing: str, tmp_path: Path) -> None:
    tiny_run(tmp_path, FedPer(epochs=1), down_codec=FP16())
    (tmp_path / missing).unlink()
    with pytest.raises(FileNotFoundError, match=f"{missing} is missing.*--resume"):
        shrink(tmp_path)
    result = CliRunner().invoke(app, ["shrink", str(tmp_path), "--allow", "tests"])
    assert result.exit_code == 2 and "is not a finished run" in result.output


def test_a_command_with_a_keep_that_is_no_fraction(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["shrink", str(tmp_path), "--keep", "2", "--allow", "tests"])
    assert result.exit_code == 2 and "keeps a fraction" in result.output

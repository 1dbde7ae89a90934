"""Errors name their cause, an option or a preset's file; unknown names get a hint; no number of a machine is shown."""

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fedmtl.bench.systems import peers
from fedmtl.cli import app
from fedmtl.core.suggest import alike, did_you_mean
from fedmtl.data.arrays import from_arrays
from fedmtl.data.digits import Digits
from fedmtl.data.synthetic import Synthetic
from fedmtl.registry.components import find
from fedmtl.registry.names import REGISTRY
from fedmtl.runs.experiment import Experiment, from_dict
from fedmtl.runs.experiment_fields import BOUNDS
from fedmtl.runs.presets import load_experiment
from fedmtl.tasks.multiclass import MultiClass

PRESET = """name = "small"
rounds = 2
runtime = "InProcess"
engine = "loop"
data = { name = "synthetic", clients = 5, examples = 6, test_examples = 4, features = 4, rank = 2, tasks = 1 }
model = { name = "MLP", hidden = [3] }
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEDMTL_DEBUG", raising=False)
    (tmp_path / "small.toml").write_text(PRESET)
    return tmp_path


def error(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    return line.removeprefix("error: ")


def fits(line: str, pattern: str) -> bool:
    """Whether a line begins with a text in which ``…`` stands for any words; what follows it then ends the line."""
    start, _, end = pattern.partition("…")
    return line.startswith(start) and line.endswith(end)


# The cause


@pytest.mark.parametrize(
    ("setting", "rest"),
    [
        ("rounds=0", "rounds is at least 1, got 0."),
        ("round=3", "unknown key 'round'; the keys are name, data,… Did you mean rounds?"),
        ("rounds", "A setting is written key=value, got 'rounds'"),
        ("algorithm=FedPr", "Unknown algorithm 'FedPr'; known: Local,… Did you mean FedPer or FedProx?"),
        (
            "algorithm.epoch=1",
            "algorithm 'FedPer' has no field 'epoch'; its fields are lr, epochs, optimizer. Did you mean epochs?",
        ),
        ("algoritm.lr=1", "'algoritm' has no fields; those that have are data,… Did you mean algorithm?"),
        ("up_codec=TopQ", "Unknown codec 'TopQ'; known: Dense,… Did you mean TopK?"),
        ("data=digit", "Unknown data 'digit'; known: digits,… Did you mean digits?"),
        ("model=Linaer", "Unknown model 'Linaer'; known: MLP,… Did you mean Linear?"),
        ("algorithm.optimizer=Momentun", "Unknown optimizer 'Momentun'; known: SGD,… Did you mean Momentum?"),
        ("engine=vmp", "Unknown engine 'vmp'; known: VMap, Loop; or name your own … Did you mean VMap?"),
        ("runtime=rey", "Unknown runtime 'rey'; known: Ray, InProcess, Flower; or name … Did you mean Ray?"),
        ("data.clients=0", "Synthetic needs at least one of each, got clients=0."),
        ("cohort=6", "A cohort has at least 1 client and at most the federation's 5, got cohort=6"),
        ("model=CNN", "CNN takes images of shape (channels, height, width), got (4,)"),
        ("model=nowhere:Net", "model 'nowhere:Net': no module 'nowhere' may be imported"),
    ],
)
def test_the_setting_that_causes_an_error_is_named(here: Path, setting: str, rest: str) -> None:
    """Also among settings that are right, and where the data has to be loaded to find out."""
    line = error("run", "small.toml", "--set", "seed=1", "--set", setting, "--set", "engine.device=cpu")
    assert fits(line, f"--set {setting}: {rest}"), line


@pytest.mark.parametrize(
    ("command", "line", "rest"),
    [
        ("run", "cohort = 6", "A cohort has at least 1 client and at most the federation's 5"),
        ("run", "batch_size = -1", "batch_size is at least 0, got -1."),
        ("run", "algorithm = 'FedPr'", "Unknown algorithm 'FedPr';… Did you mean FedPer or FedProx?"),
        ("run", "epochs = 3", "unknown key 'epochs'"),
        ("compare", "batch_size = -1", "batch_size is at least 0, got -1."),
        ("compare", "algorithm = 'FedPr'", "Unknown algorithm 'FedPr';… Did you mean FedPer or FedProx?"),
        ("compare", "epochs = 3", "unknown key 'epochs'"),
    ],
)
def test_the_file_that_causes_an_error_is_named(here: Path, command: str, line: str, rest: str) -> None:
    (here / "wrong.toml").write_text(f"{line}\n{PRESET}")
    line = error(command, "wrong.toml", "--set", "seed=1")
    assert fits(line, f"wrong.toml: {rest}"), line


def test_the_option_of_a_comparison_that_causes_an_error_is_named(here: Path) -> None:
    assert fits(
        error("compare", "small.toml", "--algorithm", "Local", "--algorithm", "FedRp"),
        "--algorithm FedRp: Unknown algorithm 'FedRp'; known:… Did you mean FedRep?",
    )
    assert fits(
        error("compare", "small.toml", "--codec", "Dense/Int"),
        "--codec Dense/Int: Unknown codec 'Int'; known:… Did you mean Int8 or Int4?",
    )
    assert error("compare", "small.toml", "--seeds", "0").startswith("--seeds 0: compare: at least one seed")
    assert error("compare", "small.toml", "--seeds", "1", "--set", "rounds=0").startswith("--set rounds=0: rounds is")
    (here / "sweep.toml").write_text('[compare]\nalgoritms = ["FedPer"]')
    assert fits(
        error("compare", "sweep.toml"), "sweep.toml: compare: unknown key 'algoritms';… Did you mean algorithms?"
    )


def test_a_setting_that_mends_the_file_is_not_blamed(here: Path) -> None:
    """The file fails for its rounds, which a setting mends; another setting fails for the cohort."""
    (here / "wrong.toml").write_text(PRESET.replace("rounds = 2", "rounds = 0"))
    line = error("run", "wrong.toml", "--set", "rounds=1", "--set", "cohort=9")
    assert line.startswith("--set cohort=9: A cohort")


def test_python_names_the_setting_too(here: Path) -> None:
    with pytest.raises(ValueError, match=r"^--set rounds=0: rounds is at least 1, got 0\.$"):
        load_experiment("small.toml", ["seed=1", "rounds=0"])


# Hints


@pytest.mark.parametrize("kind", REGISTRY)
def test_a_slip_in_any_registered_name_gets_it_as_a_hint(kind: str) -> None:
    """The last letter is left out; where another name is that, it is found, so a letter is doubled instead."""
    for name in REGISTRY[kind]:
        slip = name[:-1] if len(name) > 3 else name + name[-1]
        if slip.lower() in map(str.lower, REGISTRY[kind]):
            continue
        with pytest.raises(ValueError) as raised:
            find(kind, slip)
        (hint,) = re.findall(r"Did you mean (.*?)\?$", str(raised.value))
        assert name in hint.split(" or "), (slip, hint)


def test_a_name_like_none_gets_no_hint() -> None:
    assert did_you_mean("zzz", REGISTRY["algorithm"]) == ""
    assert alike("x" * 10_000, ["x"]) == [] and alike(3, ["3"]) == []


def test_a_hint_does_not_mind_case_and_dashes() -> None:
    assert alike("fed-avg-m", ["FedAvg", "FedAvgM"])[0] == "FedAvgM"


def test_names_of_tasks_kinds_and_systems_get_hints() -> None:
    x, y = np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"unknown task 'digt'; the tasks are \['digit'\]\. Did you mean digit\?"):
        from_arrays({0: (x, {"digt": y})}, tasks={"digit": MultiClass(2)})
    with pytest.raises(ValueError, match=r"got tasks=\['digt'\]\. Did you mean digit\?"):
        Digits(tasks=("digt",))
    with pytest.raises(ValueError, match=r"got kind='binry'\. Did you mean binary\?"):
        Synthetic(kind="binry")
    with pytest.raises(ValueError, match=r"got 'flowr'; .*\. Did you mean flower\?"):
        peers("flowr", 1)


def test_a_preset_and_a_file_beside_get_hints(here: Path) -> None:
    assert fits(error("run", "digts"), "No preset 'digts': give a .toml file, or one of… Did you mean digits?")
    assert fits(error("run", "smal.toml"), "No preset 'smal.toml':… Did you mean small.toml?")


# Numbers of machines


@pytest.mark.parametrize("value", [-(10**30), -(2**63) - 1, -1, 0, 2**63, 10**30, float("nan"), float("inf"), 1.5])
@pytest.mark.parametrize("key", ["cohort", *BOUNDS])
def test_no_bound_is_shown_as_a_number_of_a_machine(key: str, value: float) -> None:
    """2^63 - 1 and its like mean nothing to a user; numbers of the user's own are shown as they were given."""
    try:
        from_dict({key: value})
    except ValueError as raised:
        text = str(raised).replace(str(value), "")
        assert not re.search(r"\d{12}", text.replace(",", "")), text


def test_a_cohort_of_no_client_is_refused_in_numbers_of_clients() -> None:
    with pytest.raises(ValueError, match=r"^A cohort has at least 1 client, got cohort=0\.$"):
        Experiment(cohort=0)

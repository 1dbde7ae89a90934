"""The command line: what is printed where, exit codes, and what is left on disk."""

import csv
import dataclasses
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
import torch
import typer
from click.testing import Result
from typer.testing import CliRunner

import fedmtl as fedmtl_package
from fedmtl.cli import app
from fedmtl.cli import run as run_command
from fedmtl.cli.baseline import local_beside
from fedmtl.cli.listing import ListKind
from fedmtl.cli.progress import describe
from fedmtl.registry.components import find
from fedmtl.registry.described import described
from fedmtl.registry.names import REGISTRY
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.presets import presets
from fedmtl.runs.progress import Progress
from tests.pictures import undrawn

PRESET = """# Five clients and one task: small.
name = "small"
rounds = 2
runtime = "InProcess"
engine = "loop"
data = { name = "synthetic", clients = 5, examples = 6, test_examples = 4, features = 4, rank = 2, tasks = 1 }
model = { name = "MLP", hidden = [3] }
algorithm = { name = "FedPer", lr = 0.1, epochs = 1 }

[compare]
algorithms = ["Local(epochs=1)", "FedPer(epochs=1)"]
packets = [{ up_codec = "Dense" }, { up_codec = "FP16", down_codec = "FP16" }]
seeds = 2
"""

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder with a preset, ``small.toml``. What commands do to ``sys.path`` is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delenv("FEDMTL_DEBUG", raising=False)
    (tmp_path / "small.toml").write_text(PRESET)
    return tmp_path


def fedmtl(*arguments: str) -> Result:
    """A command that succeeds."""
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "100"})


def process(arguments: Sequence[str], **keywords: Any) -> "subprocess.Popen[str]":
    """``python -m fedmtl``, as a user's shell on a terminal of 80 columns starts it."""
    path = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "TERM": "xterm", "COLUMNS": "80"}
    return subprocess.Popen(
        [sys.executable, "-m", "fedmtl", *arguments], env=environment, text=True, stdin=subprocess.DEVNULL, **keywords
    )


# Help


def test_no_command_is_a_question_for_help() -> None:
    assert re.search(r"Commands:\n  run .*\n  compare .*\n  report .*\n  list .*", call().output)


@pytest.mark.parametrize("name", COMMANDS)
def test_everything_is_explained(name: str) -> None:
    """The command and its options have help texts, and the command's text says what the arguments are.

    A first line that has to be cut short in the list of commands says too little there.
    """
    command = COMMANDS[name]
    text = fedmtl(name, "--help").output
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts[0]}"
            assert parameter.opts[0] in text
        else:
            argument = parameter.make_metavar(click.Context(command)).rstrip(".").strip("[]")  # it may be left out
            assert re.search(rf"^  {argument} (is|are) ", text, re.MULTILINE), argument
    assert "\\" not in text
    assert "..." not in fedmtl("--help").output.replace("[ARGS]...", "")


def test_list_of_kinds_in_the_help_is_complete() -> None:
    assert "KIND is " + ", ".join(list(ListKind)[:-1]) + f" or {list(ListKind)[-1]}." in " ".join(
        fedmtl("list", "--help").output.split()
    )


# list


def whole(*arguments: str) -> list[str]:
    """Lines of a command whose output goes to a file: none is wrapped."""
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": ""})
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


@pytest.mark.parametrize("kind", [kind for kind in ListKind if kind is not ListKind.presets])
def test_list_prints_every_name_and_field(kind: ListKind) -> None:
    registered = REGISTRY[kind.singular]
    first, *lines = whole("list", kind.value)
    assert re.match(r"An? .* (is|are) .*\.$", first)
    assert [line.split()[0] for line in lines[::2]] == list(registered)
    assert all(re.search(r"\w+ \w+", line[16:]) for line in lines[::2])
    fields = dict(zip(registered, (line.strip() for line in lines[1::2]), strict=True))
    known = {
        "FedRep": "lr=0.05, head_epochs=5, trunk_epochs=1, optimizer=SGD()",
        "Dense": "no fields",
        "MultiClass": "num_classes=0, names=(), class_weights=()",
    }
    assert {name: text for name, text in fields.items() if name in known} == {
        name: text for name, text in known.items() if name in fields
    }


@pytest.mark.parametrize("kind", REGISTRY)
def test_list_reads_of_the_source_what_the_class_has(kind: str) -> None:
    """Names of fields, and defaults that give the same objects, for every registered component."""
    for each in described(kind):
        cls = find(kind, each.name)
        fields = [field for field in dataclasses.fields(cls) if field.init]
        assert list(each.fields) == [field.name for field in fields], each.name
        scope = {**vars(sys.modules[cls.__module__])}
        for field in fields:
            factory = field.default_factory
            default = field.default if factory is dataclasses.MISSING else factory()
            text = each.fields[field.name]
            assert (eval(text, scope) if text else dataclasses.MISSING) == default, (each.name, field.name)


def test_list_says_what_each_thing_is() -> None:
    """The first words of a method's file, in a sentence, and not how it behaves at an edge of its settings."""
    summaries = {each.name: each.summary for kind in REGISTRY for each in described(kind)}
    assert summaries["Ditto"] == "FedAvg's model for all, and a personal model of each client that is held near it."
    assert all(re.match(r"[A-Z0-9].*\.$|.*\?$", text) and len(text) > 15 for text in summaries.values()), summaries
    assert not [name for name, text in summaries.items() if re.match(r"[λβεμσc] ?=", text)]


def test_list_for_programs() -> None:
    found = json.loads("\n".join(whole("list", "codecs", "--json")))
    assert [each["name"] for each in found] == list(REGISTRY["codec"])
    fields = {each["name"]: each["fields"] for each in found}
    assert fields["ErrorFeedback"] == {"codec": "TopK()"} and found[0]["summary"]
    assert fields["PerLayer"] == {"layers": "()", "default": "Dense()"} and fields["Chain"] == {"parts": ""}
    assert [each["name"] for each in json.loads("\n".join(whole("list", "presets", "--json")))] == list(presets())


def test_list_imports_nothing_heavy() -> None:
    """torch takes seconds; without it the answer takes a tenth of one. Of all kinds one after the other, each of which
    is asked what it has imported."""
    program = (
        "import sys; from fedmtl.cli import app\n"
        f"for kind in {[kind.value for kind in ListKind]}:\n"
        "    try: app(['list', kind])\n"
        "    except SystemExit: print(kind, {'torch', 'numpy', 'flwr', 'ray', 'scipy'} & sys.modules.keys())"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert [line for line in run.stdout.splitlines() if line.endswith((" set()", "}"))] == [
        f"{kind.value} set()" for kind in ListKind
    ], run.stderr


def test_list_prints_every_preset_with_its_first_line() -> None:
    first, *lines = whole("list", "presets")
    assert first.startswith("A preset is a file ")
    assert [line.split()[0] for line in lines] == list(presets())
    for line, path in zip(lines, presets().values(), strict=True):
        first = path.read_text().splitlines()[0]
        assert first.startswith("# ") and line.endswith(first[2:]) and len(first) <= 120, path


# run


def test_run_prints_plain_lines_that_agree_with_its_summary(here: Path) -> None:
    """Off a terminal: the label, a line a round, one for the last model, and the end in words. No control characters.

    Bytes by hand: a trunk of 4 · 3 + 3 = 15 numbers is a packet of 60 + 32 bytes; 5 clients and 2 rounds make
    920 B either way.
    """
    result = fedmtl("run", "small.toml", "--out", "out")
    label, first, second, last, task, mean, training, folder = result.stdout.splitlines()
    summary = json.loads((here / "out" / "summary.json").read_text())
    rows = [json.loads(line) for line in (here / "out" / "rounds.jsonl").read_text().splitlines()]
    scores = [f"{row['score']:.4f}" for row in rows if row["client"] is None]
    assert label == "small: FedPer(lr=0.1, epochs=1, optimizer=SGD()) / Dense()"
    assert first == f"  round 1/2  mean score {scores[0]}  up 460 B  down 460 B"
    assert second == f"  round 2/2  mean score {scores[1]}  up 920 B  down 920 B"
    assert last == f"  last model  mean score {scores[2]}  up 920 B  down 920 B"
    assert task.split() == [
        "multiclass_0", "accuracy", f"{rows[-1]['value']:.4f}",
        "client", "mean", f"{summary['tasks']['multiclass_0']['client_mean']:.4f}",
        "worst", "tenth", f"{summary['tasks']['multiclass_0']['worst_tenth']:.4f}",
        "(higher", "is", "better)",
    ]  # fmt: skip
    assert mean.split() == ["mean", "score", scores[2]]
    assert training.split("; ")[0].split() == "training up 920 B down 920 B total 1.84 kB".split()
    assert folder.endswith("out  (pictures and a table: fedmtl report out)")
    assert result.stderr == ""


def test_lines_come_for_measured_rounds_and_the_last_model(here: Path) -> None:
    """Rounds 0, 2 and 4 of 5 are measured, by the rounds that follow; an old score is no round's."""
    lines = fedmtl("run", "small.toml", "--set", "rounds=5", "--set", "evaluate_every=2").stdout.splitlines()
    assert [line.split("  ")[1] for line in lines if line.startswith("  ") and "round" in line] == [
        "round 1/5", "round 3/5", "round 5/5",
    ]  # fmt: skip
    assert sum(line.startswith("  last model  mean score ") for line in lines) == 1


def test_a_round_that_measured_nothing_says_so() -> None:
    progress = Progress(3, 9, 0.5, 10, 20, measured=False)
    assert describe(progress) == "round 3/9  not measured yet  up 10 B  down 20 B"
    assert describe(progress, short=True) == "not measured  up 10 B  down 20 B"
    trained = replace(progress, train_loss=1.23456)
    assert describe(trained) == "round 3/9  training loss 1.235  up 10 B  down 20 B"
    assert describe(trained, short=True) == "loss 1.235  up 10 B  down 20 B"
    assert describe(replace(trained, train_loss=math.nan), short=True).startswith("loss –  up")
    assert describe(replace(trained, measured=True), short=True).startswith("score 0.5000  up")
    assert describe(replace(progress, measured=True, mean_score=math.nan)).startswith("round 3/9  mean score –  up")


@pytest.mark.usefixtures("no_pictures")
def test_a_baseline_is_a_run_of_local_by_the_same_work(here: Path) -> None:
    """In the run's folder, with its seed and as many passes: Ditto's 1 + 2. The report has both."""
    settings = ["--set", "algorithm=Ditto(epochs=1, personal_epochs=2, lr=0.2)", "--set", "seed=3"]
    lines = fedmtl("run", "small.toml", "--baseline", "--out", "out", *settings).stdout.splitlines()
    own, local = (json.loads((here / "out" / name).read_text()) for name in ("summary.json", "baseline/summary.json"))
    assert local["algorithm"] == "Local(lr=0.2, epochs=3, optimizer=SGD())" and local["seed"] == own["seed"] == 3
    assert local["bytes"]["train"]["total"] == 0 and local["local_passes"] == own["local_passes"] == 3
    gap = own["mean_score"] - local["mean_score"]
    (floor,) = [line for line in lines if "Local floor" in line]
    assert floor.split("floor  ")[1].startswith(f"mean score {local['mean_score']:.4f}, each client alone; the run is ")
    assert ("above" in floor, "below" in floor) == (gap > 0, gap < 0)
    fedmtl("report", "out")
    with open(here / "out" / "table.csv") as file:
        assert {"Ditto", "Local"} <= {row["name"].split(" ")[0] for row in csv.DictReader(file)}
    before = contents(here / "out")
    fedmtl("run", "small.toml", "--baseline", "--out", "out", "--resume", *settings)
    assert {name: data for name, data in contents(here / "out").items() if "summary" in name} == {
        name: data for name, data in before.items() if "summary" in name
    }


def test_a_baseline_of_a_wrapper_and_of_local(here: Path) -> None:
    experiment = Experiment(algorithm="FedAdam(algorithm=FedProx(lr=0.3, epochs=4))", up_codec="Int8")
    assert repr(local_beside(experiment).algorithm) == "Local(lr=0.3, epochs=4, optimizer=SGD())"
    result = call("run", "small.toml", "--set", "algorithm=Local", "--baseline")
    assert result.exit_code == 2 and "--baseline adds a run of Local" in result.stderr


def test_run_without_arguments_is_a_demo_with_its_floor(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its preset is one that is installed; here with few rounds and clients."""
    assert run_command.DEFAULT in presets()
    lines = fedmtl("run", *sum((["--set", text] for text in ("rounds=1", "data.clients=4")), [])).stdout.splitlines()
    assert lines[0].startswith(f"{run_command.DEFAULT}: ") and any("Local floor" in line for line in lines)
    assert sorted(path.name for path in here.iterdir()) == ["small.toml"]


def test_settings_change_the_preset_in_order(here: Path) -> None:
    settings = [
        "--set",
        "rounds=9",
        "--set",
        "rounds=1",
        "--set",
        "algorithm=FedRep",
        "--set",
        "up_codec=Int8(block=8)",
    ]
    fedmtl("run", "small.toml", "--out", "out", *settings)
    summary = json.loads((here / "out" / "summary.json").read_text())
    assert (summary["rounds"], summary["algorithm"]) == (
        1,
        "FedRep(lr=0.05, head_epochs=5, trunk_epochs=1, optimizer=SGD())",
    )
    assert (summary["up_codec"], summary["down_codec"]) == ("Int8(block=8)", "Dense()")


def test_export_prints_what_a_short_run_leaves_as_lines_of_json(here: Path) -> None:
    fedmtl("run", "small.toml", "--out", "out")
    assert fedmtl("export", "out").stdout == (here / "out" / "rounds.jsonl").read_text()
    ledger = (here / "out" / "ledger.jsonl").read_text()
    assert fedmtl("export", "out", "--what", "ledger").stdout == ledger
    assert fedmtl("export", "out", "--what", "ledger", "--format", "csv", "--out", "l.csv").stdout == ""
    rows = [json.loads(line) for line in ledger.splitlines()]
    with open(here / "l.csv", newline="") as file:
        found = list(csv.DictReader(file))
    assert found == [{key: str(value) for key, value in row.items() if key != "format"} for row in rows]
    assert sorted(path.name for path in here.iterdir()) == ["l.csv", "out", "small.toml"]


def test_export_of_a_damaged_table_is_one_line_and_leaves_no_file(here: Path) -> None:
    fedmtl("run", "small.toml", "--out", "out")
    data = bytearray((here / "out" / "rounds.columns").read_bytes())
    data[-1] ^= 1
    (here / "out" / "rounds.columns").write_bytes(data)
    result = call("export", "out", "--out", "rows.jsonl")
    assert result.exit_code == 2
    assert re.fullmatch(r"error: out/rounds\.columns, block \d+ at byte \d+: .* damaged; .*\n", result.stderr)
    assert sorted(path.name for path in here.iterdir()) == ["out", "small.toml"]


def test_run_without_a_folder_leaves_nothing(here: Path) -> None:
    assert "folder" not in fedmtl("run", "small.toml").output
    assert sorted(path.name for path in here.iterdir()) == ["small.toml"]


def test_a_resolved_experiment_is_a_preset(here: Path) -> None:
    fedmtl("run", "small.toml", "--out", "a")
    fedmtl("run", "a/experiment.toml", "--out", "b")
    assert (here / "a" / "rounds.jsonl").exists()
    digests = [json.loads((here / out / "summary.json").read_text())["digests"] for out in ("a", "b")]
    assert digests[0] == digests[1]


def test_resume_of_a_finished_run_says_what_it_reached(here: Path) -> None:
    before = fedmtl("run", "small.toml", "--out", "out").stdout.splitlines()
    after = fedmtl("run", "small.toml", "--out", "out", "--resume").stdout.splitlines()
    assert after == [before[0], *before[-4:]]


# Errors

WRONG: dict[str, tuple[list[str], str]] = {
    "unknown preset": (["run", "nope"], "No preset 'nope'"),
    "unknown preset to compare": (["compare", "small.toml", "nope"], "No preset 'nope'"),
    "a folder as preset": (["run", "."], "No preset '.'"),
    "not TOML": (["run", "broken.toml"], "broken.toml is not TOML"),
    "unknown key": (["run", "small.toml", "--set", "round=3"], "unknown key 'round'"),
    "setting without value": (["run", "small.toml", "--set", "rounds"], "A setting is written key=value, got 'rounds'"),
    "wrong type": (["run", "small.toml", "--set", "rounds=many"], "rounds is a whole number, got 'many'"),
    "unknown field": (["run", "small.toml", "--set", "algorithm.rate=1"], "has no field 'rate'"),
    "unknown algorithm": (["run", "small.toml", "--set", "algorithm=Fed"], "Unknown algorithm 'Fed'; known: Local"),
    "unknown algorithm to compare": (["compare", "small.toml", "--algorithm", "Fed"], "Unknown algorithm 'Fed'"),
    "unknown codec to compare": (["compare", "small.toml", "--codec", "Dense/Zip"], "Unknown codec 'Zip'"),
    "unknown key to compare": (["compare", "sweep.toml"], "compare: unknown key 'algoritms'"),
    "no seeds": (["compare", "small.toml", "--seeds", "0"], "at least one seed is needed"),
    "no such module": (["run", "small.toml", "--set", "model=nowhere:Model"], "no module 'nowhere'"),
    "model that does not fit": (["run", "small.toml", "--set", "model=CNN"], "CNN takes images"),
    "cohort too large": (["run", "small.toml", "--set", "cohort=6"], "got cohort=6"),
    "diverged": (["run", "small.toml", "--set", "algorithm.lr=1e38"], "lower the learning rate"),
    "resume of nothing": (["run", "small.toml", "--resume"], "--resume needs the folder to go on in: add --out DIR."),
    "folder holds a run": (["run", "small.toml", "--out", "done"], "done' holds a run; resume it (--resume)"),
    "folder holds another run": (
        ["run", "small.toml", "--out", "done", "--resume", "--set", "seed=1"],
        "holds a run with seed = 0, got 1",
    ),
    "folder is a file": (["run", "small.toml", "--out", "small.toml"], "cannot be written"),
    "no folder to report": (["report", "nowhere"], "nowhere is not a folder"),
    "no run to report": (["report", "empty"], "No run in empty"),
}
"""What is wrong -> the command, and what its error says."""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of ``small.toml``."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "small.toml").write_text(PRESET)
    fedmtl("run", str(folder / "small.toml"), "--out", str(folder / "run"))
    return folder / "run"


@pytest.fixture
def wrong(here: Path, done: Path) -> Path:
    (here / "broken.toml").write_text("rounds = = 3")
    (here / "sweep.toml").write_text('[compare]\nalgoritms = ["FedPer"]')
    (here / "empty").mkdir()
    shutil.copytree(done, here / "done")
    return here


@pytest.mark.parametrize("case", WRONG)
def test_an_error_is_one_line_and_exit_code_2(case: str, wrong: Path) -> None:
    arguments, message = WRONG[case]
    result = call(*arguments)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and not line.startswith("error: [Errno")
    assert message in line
    assert "Traceback" not in result.output


def test_a_process_ends_with_the_error_too(here: Path) -> None:
    """The installed command and ``python -m fedmtl`` share ``main``; nothing else is written to either stream."""
    child = process(["run", "nope"], cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output, errors = child.communicate(timeout=60)
    assert (child.returncode, output) == (2, "")
    assert re.fullmatch(r"error: No preset 'nope': give a \.toml file, or one of .*\.\n", errors)


def test_debug_shows_where_an_error_comes_from(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDMTL_DEBUG", "1")
    result = call("run", "nope")
    assert isinstance(result.exception, ValueError) and result.exit_code == 1


def test_usage_errors_name_the_command() -> None:
    for arguments in (["export"], ["run", "digits", "--nothing"], ["list", "nothing"]):
        result = call(*arguments)
        assert result.exit_code == 2 and f"{arguments[0]} --help' for help" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rnu"], "No such command 'rnu'. Did you mean run?"),
        (["run", "digits", "--ot", "x"], "No such option '--ot'. Did you mean --out?"),
        (["run", "digits", "--rounds", "5"], "No such option '--rounds'. Did you mean --set rounds=5?"),
        (["run", "digits", "--rounds=5"], "No such option '--rounds'. Did you mean --set rounds=5?"),
        (["run", "digits", "--batch-size", "5"], "No such option '--batch-size'. Did you mean --set batch_size=5?"),
        (["run", "digits", "--algorithm", "Ditto"], "Did you mean --set algorithm=Ditto?"),
        (["run", "digits", "--lr", "0.1"], "No such option '--lr'. Did you mean --set algorithm.lr=0.1?"),
        (["run", "digits", "--algorithm.lr=0.1"], "Did you mean --set algorithm.lr=0.1?"),
        (["run", "digits", "--hidden", "[8]"], "Did you mean --set model.hidden=[8]?"),
        (["run", "digits", "--clients", "4"], "Did you mean --set data.clients=4 or --client?"),
        (["compare", "digits", "--rounds", "5"], "No such option '--rounds'. Did you mean --set rounds=5?"),
        (["compare", "digits", "--seed", "5"], "Did you mean --set seed=5 or --seeds?"),
        (
            ["list", "model"],
            "links, devices, availability, policies, radios, presets, got 'model'. Did you mean models?",
        ),
        (
            ["export", "x", "--what", "rouns"],
            "--what is one of rounds, ledger, measures, confusion, training, bytes, got 'rouns'. Did you mean rounds?",
        ),
        (["--verson"], "No such option '--verson'. Did you mean --version?"),
        (["report", "x", "--rounds", "5"], "No such option '--rounds'."),
    ],
)
def test_usage_errors_say_what_was_meant(words: list[str], message: str) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert result.stderr.rstrip().endswith(message), result.stderr


def test_version_of_fedmtl_and_of_what_it_stands_on() -> None:
    lines = fedmtl("--version").stdout.splitlines()
    found = dict(line.split(" ", 1) for line in lines)
    assert list(found) == ["fedmtl", "python", "flwr", "torch", "ray", "numpy"]
    assert found["fedmtl"] == fedmtl_package.__version__
    assert found["torch"].split("+")[0] == torch.__version__.split("+")[0]


# compare and report


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below. A summary holds measured seconds, which no second run would repeat."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_compare_writes_everything_and_runs_nothing_twice(here: Path) -> None:
    """Local uploads nothing, so it runs with one of the two pairs of codecs: 1 + 2 experiments, 2 seeds each."""
    first = "\n".join(whole("compare", "small.toml", "--target", "0.01", "--out", "out"))
    assert re.findall(r"^\[\d/6\] .*", first, re.MULTILINE) == [
        "[1/6] small-Local/seed0",
        "[2/6] small-Local/seed1",
        "[3/6] small-FedPer-Dense/seed0",
        "[4/6] small-FedPer-Dense/seed1",
        "[5/6] small-FedPer-FP16/seed0",
        "[6/6] small-FedPer-FP16/seed1",
    ]
    assert first.count("  round 1/2  ") == 6
    report = (here / "out" / "report.md").read_text()
    assert report in first and first.rstrip().endswith("table and pictures: out")
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", report)
    assert pictures == [
        "overview.png",
        "tradeoff.png",
        "clients.png",
        "confusion-1.png",
    ]  # the one task is the overview
    assert all((here / "out" / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
    with open(here / "out" / "table.csv") as file:
        table = {row["name"]: row for row in csv.DictReader(file)}
    assert table.keys() == {"Local", "FedPer", "FedPer · FP16 ↑↓", "constant guess"}
    # A trunk of 15 numbers in 60 or 30 + 1 bytes, and 32 of header, for 5 clients and 2 rounds, either way.
    assert [table[name]["train_bytes"] for name in table] == ["1840", "1260", "0", ""]
    assert {row["target_score"] for row in table.values()} == {"0.01"}

    runs = contents(here / "out" / "runs")
    assert len([name for name in runs if name.endswith("summary.json")]) == 6
    with undrawn():
        second = "\n".join(whole("compare", "small.toml", "--target", "0.01", "--out", "out"))
    assert contents(here / "out" / "runs") == runs
    assert "round 1/2" not in second
    assert second.split("# Report")[1] == first.split("# Report")[1]


@pytest.mark.usefixtures("no_pictures")
def test_compare_takes_what_varies_from_the_command_line(here: Path) -> None:
    """Options replace the preset's [compare] table; Pooled sends raw data, which no codec touches."""
    options = ["--algorithm", "Pooled", "--algorithm", "FedPer(lr=0.2)", "--codec", "Int8/FP16", "--codec", "TopK"]
    fedmtl("compare", "small.toml", *options, "--seeds", "1", "--set", "rounds=1", "--out", "out")
    names = {path.parent.relative_to(here / "out" / "runs").as_posix() for path in here.rglob("summary.json")}
    assert names == {"small-Pooled/seed0", "small-FedPer-Int8-FP16/seed0", "small-FedPer-TopK-Dense/seed0"}


@pytest.mark.usefixtures("no_pictures")
def test_compare_of_two_presets_is_one_report(here: Path) -> None:
    (here / "other.toml").write_text(PRESET.replace("clients = 5", "clients = 6").replace('"small"', '"other"'))
    options = ["--algorithm", "FedPer", "--codec", "Dense", "--seeds", "1", "--set", "rounds=1", "--out", "out"]
    fedmtl("compare", "small.toml", "other.toml", *options)
    report = (here / "out" / "report.md").read_text()
    assert len(re.findall("^## synthetic", report, re.MULTILINE)) == 2


def test_a_mistake_in_the_last_experiment_is_found_before_the_first_runs(here: Path) -> None:
    options = ["--algorithm", "FedPer", "--algorithm", "FedRep(lr=0)", "--out", "out"]
    result = call("compare", "small.toml", *options)
    assert result.exit_code == 2 and result.stdout == "" and not (here / "out").exists()


@pytest.mark.usefixtures("no_pictures")
def test_report_prints_what_it_wrote(here: Path) -> None:
    fedmtl("run", "small.toml", "--out", "a/run")
    inside = [Path(line) for line in fedmtl("report", "a").stdout.splitlines()]
    assert {path.parent for path in inside} == {Path("a")} and {path.name for path in inside} >= {
        "report.md",
        "table.csv",
    }
    elsewhere = [Path(line) for line in fedmtl("report", "a", "--out", "b", "--target", "0.5").stdout.splitlines()]
    assert [path.name for path in elsewhere] == [path.name for path in inside]
    assert all((here / path).stat().st_size > 0 for path in elsewhere)
    assert "to score 0.5" in (here / "b" / "report.md").read_text()


def test_every_key_is_described() -> None:
    """README sends readers to the experiment's source for the keys; each field there has its sentence."""
    source = (Path(__file__).parents[1] / "fedmtl" / "runs" / "experiment.py").read_text()
    fields = Experiment.__dataclass_fields__
    assert [name for name in fields if not re.search(rf'^    {name}: .*\n    """', source, re.MULTILINE)] == []

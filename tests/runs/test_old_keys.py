"""Keys of experiments before engine and runtime were components: each way in gives the lines to write instead."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fedmtl.cli import app
from fedmtl.engines import Loop, VMap
from fedmtl.runs.axis import Axis
from fedmtl.runs.experiment import Experiment, from_dict
from fedmtl.runs.presets import load_experiment
from fedmtl.runs.sweep import Sweep, expand
from fedmtl.runtime import InProcess, Ray
from fedmtl.runtime.node import read_run_config

CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "workers": ({"workers": 4}, ('runtime = "Ray(workers=4)"', "--set runtime.workers=4")),
    "chunk": ({"chunk": 8}, ('engine = "VMap(chunk=8)"', "--set engine.chunk=8")),
    "compile": ({"compile": True}, ('engine = "VMap(compile=True)"', "--set engine.compile=true")),
    "all of the engine": ({"engine": "vmap", "chunk": 8, "compile": True}, ('"VMap(chunk=8, compile=True)"',)),
    "of the loop": ({"engine": "loop", "chunk": 8}, ('engine = "Loop" has none', 'engine = "VMap(chunk=8)"')),
    "both": ({"chunk": 8, "workers": 1}, ('engine = "VMap(chunk=8)" and runtime = "Ray(workers=1)"',)),
    "address": ({"ray_address": "auto"}, ("runtime = \"Ray(address='auto')\"", "--set runtime.address=auto")),
    "folder": ({"runtime": "local", "state_dir": "/a"}, ("runtime = \"InProcess(state_dir='/a')\"",)),
    "in this process": (
        {"runtime": "local", "workers": 4},
        ('a field of Ray now, and runtime = "InProcess" has none: leave it out', 'runtime = "Ray(workers=4)"'),
    ),
    "of a runtime without it": ({"runtime": {"name": "InProcess"}, "round_seconds": 5}, ('"Ray(round_seconds=5)"',)),
    "a GPU in this process": ({"runtime": "local", "gpus_per_worker": 1.0}, ("engine = \"VMap(device='cuda')\"",)),
    "half of it is new": (
        {"runtime": "Ray(workers=3)", "round_seconds": 5.0},
        ('"Ray(workers=3, round_seconds=5.0)"',),
    ),
    "waiting": ({"wait_seconds": 5}, ('runtime = "Ray(wait_seconds=5)"',)),
    "the name": ({"runtime": "local"}, ("runtime 'local' is now 'InProcess', since Local is an algorithm",)),
}


@pytest.mark.parametrize("case", CASES)
def test_python_and_dictionaries(case: str) -> None:
    values, parts = CASES[case]
    attempts = [
        lambda: Experiment(**values),
        lambda: dataclasses.replace(Experiment(), **values),
        lambda: from_dict(values, "my.toml"),
    ]
    for attempt, where in zip(attempts, ("", "", "my.toml: "), strict=True):
        with pytest.raises(ValueError) as error:
            attempt()
        assert all(part in str(error.value) for part in parts) and "\n" not in str(error.value)
        assert str(error.value).startswith(where)


def test_presets_settings_axes_and_flower(tmp_path: Path) -> None:
    message = r"workers = 4 is a field of the runtime now: write runtime = \"Ray\(workers=4\)\""
    preset = tmp_path / "p.toml"
    preset.write_text("workers = 4\n")
    with pytest.raises(ValueError, match=f"p.toml: {message}"):
        load_experiment(preset)
    with pytest.raises(ValueError, match=f"^--set workers=4: {message}"):
        load_experiment("digits", ["rounds=2", "workers=4"])
    with pytest.raises(ValueError, match=message):
        expand({}, Sweep(axis=Axis("workers", (4,))), "digits")
    run = {"preset": "digits", "overrides": "round_seconds=9"}
    with pytest.raises(ValueError, match=r"runtime = \"Flower\(round_seconds=9\)\""):
        read_run_config(run)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "digits", "--set", "workers=4"], "error: --set workers=4: workers = 4 is a field of the runtime now"),
        (["run", "digits", "--workers", "4"], "No such option '--workers'. Did you mean --set runtime.workers=4?"),
        (["run", "digits", "--ray-address", "auto"], "Did you mean --set runtime.address=auto?"),
        (["run", "digits", "--chunk=8"], "Did you mean --set engine.chunk=8?"),
        (["run", "digits", "--runtime", "local"], "runtime 'local' is now 'InProcess'"),
        (["run", "demo", "--engine", "Loop(chunk=8)"], "engine 'Loop' has no field 'chunk'; its fields are device."),
        (["run", "digits", "--runtime", "Flower"], "is started by 'flwr run'"),
    ],
)
def test_the_command_line(words: list[str], message: str) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2 and message in " ".join(result.stderr.split())


def test_the_new_ways_in(tmp_path: Path) -> None:
    """As text, as tables, as objects, by settings of one field, on top of a call."""
    same = Experiment(engine=VMap(chunk=8), runtime=Ray(workers=4))
    preset = tmp_path / "p.toml"
    preset.write_text('engine = "VMap(chunk=8)"\n[runtime]\nname = "Ray"\nworkers = 4\n')
    assert load_experiment(preset) == same == Experiment(engine="VMap(chunk=8)", runtime="ray(workers=4)")
    assert from_dict({}, "x") == Experiment(engine=VMap(), runtime=Ray())
    preset.write_text(
        'name = "digits"\nengine = "VMap(compile=true)"\nruntime = "Ray(workers=2)"\n'.replace("true", "True")
    )
    found = load_experiment(preset, ["engine.chunk=8", "runtime.workers=4"])
    assert (found.engine, found.runtime) == (VMap(chunk=8, compile=True), Ray(workers=4))
    assert load_experiment(preset, ["runtime=InProcess", "engine=Loop"]).runtime == InProcess()
    with pytest.raises(ValueError, match="^--set runtime.workers=4: .*'InProcess' has no field 'workers'"):
        load_experiment(preset, ["runtime=InProcess", "runtime.workers=4"])


def test_the_engine_of_a_node() -> None:
    """Workers with GPUs train on them; elsewhere the engine's device counts. The experiment's own engine keeps nothing
    of a run, so that it stays small and equal."""
    experiment = Experiment(engine="VMap(chunk=3)", runtime="Ray(gpus_per_worker=0.5)")
    assert experiment.make_engine() == VMap(chunk=3, device="cuda")
    assert Experiment(engine=Loop("cpu:0"), runtime="InProcess").make_engine() == Loop("cpu:0")
    assert Experiment().make_engine() is not Experiment().engine

"""Files by a stranger: nothing that they name runs, and they are refused in one line and at once.

Every hostile preset lies in a folder with modules that write a marker when they are imported, and is loaded with that
folder as the current one. Times are those of this thread, whatever else the machine does. Numbers of the bounds are
those that ``fedmtl/core/bounds.py`` and ``fedmtl/runs/experiment.py`` state.
"""

import math
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fedmtl.algorithms import FedPer
from fedmtl.analysis import read_run
from fedmtl.cli import app
from fedmtl.client.state import rollback_journal
from fedmtl.core.files import Folder
from fedmtl.registry.allowed import RUN_MARKS, Allowed, beside
from fedmtl.runs.experiment import Experiment, from_dict
from fedmtl.runs.presets import load_experiment, override
from fedmtl.runs.sweep import expand, sweep_of
from fedmtl.runtime import Ray
from fedmtl.runtime.node import read_run_config
from tests.analysis.run_folders import write_run
from tests.cases import case
from tests.test_extension import PRESET, USERS_FILE

MARK = "open({mark!r}, 'a').write(__name__ + chr(10))\n"

GOOD = """
class Data:
    def __init__(self, clients=3, **fields): self.clients = clients
    def load(self, seed): return None

    def __eq__(self, other): return type(self) is type(other)
    __hash__ = None
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder: modules that say when they are imported, and nothing that is imported stays."""
    here = tmp_path / "here"
    (here / "pack" / "deep").mkdir(parents=True)
    mark = MARK.format(mark=str(here / "ran"))
    bodies = {
        "evil": "class X: pass\ndef load(seed): open('called', 'w')\ndef make(**fields): open('called', 'w')\nN = 3\n",
        "sneaky": "import subprocess\nfrom os import system as Data\n"
        "from subprocess import Popen as Other\n"
        "class Child(subprocess.Popen): pass\n"
        "class Loop(Loop): pass\nAlias = Data\nMade = Other(['touch', 'called'])\n",
        "random": GOOD,
        "json": GOOD,
        "pack/__init__": "",
        "pack/deep/__init__": "",
        "pack/deep/mod": "class X: pass\n",
        "broken": "class Data(:\n",
        "good": GOOD,
        "reexports": "from good import Data\nREADY = Data()\n",
        "nul": GOOD + "\0",
        "bases": "class C0: pass\n"
        + "".join(f"class C{i}({', '.join([f'C{j}' for j in range(i)] * 5)}): pass\n" for i in range(1, 40)),
        "chain": "class C0: pass\n" + "".join(f"class C{i}(C{i - 1}): pass\n" for i in range(1, 3000)),
        "large": "x = [" + "1, " * 200_000 + "]\n" + GOOD,
    }
    for name, body in bodies.items():
        (here / f"{name}.py").write_text(body if name == "broken" else mark + body)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "linked.py").write_text(mark + GOOD)
    (here / "linked.py").symlink_to(outside / "linked.py")
    (outside / "folder").mkdir()
    (outside / "folder" / "mod.py").write_text(mark + GOOD)
    (here / "linkedfolder").symlink_to(outside / "folder")
    (outside / "elsewhere.py").write_text(mark + GOOD)
    monkeypatch.chdir(here)
    before, path = set(sys.modules), list(sys.path)
    yield here
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if name.split(".")[0] in {Path(body).parts[0] for body in bodies} | {"linked", "linkedfolder", "elsewhere"}:
            del sys.modules[name]


def nested(first: str, last: str, count: int, inner: str = "") -> str:
    return first * count + inner + last * count


SHELL = "touch called"
PRESETS: dict[str, tuple[str | bytes, str]] = {
    # Callables of anything that is installed
    "os:system as a call": (f'data = "os:system(command=\\"{SHELL}\\")"', "no module 'os' may be imported"),
    "os:system as a table": (f'data = {{ name = "os:system", command = "{SHELL}" }}', "no module 'os' may be imported"),
    "getoutput": (f'data = {{ name = "subprocess:getoutput", cmd = "{SHELL}" }}', "no module 'subprocess' may"),
    "Popen": ('data = { name = "subprocess:Popen", args = ["touch", "called"] }', "no module 'subprocess' may"),
    "builtins": ("model = { name = \"builtins:exec\", source = \"open('called','w')\" }", "no module 'builtins' may"),
    "dotted": ('data = { name = "os.path:join", a = "x" }', "no module 'os.path' may be imported"),
    "through a package of fedmtl": ('data = { name = "fedmtl.cli:os.system", command = "x" }', "module fedmtl.cli has"),
    "a function of fedmtl": ('data = { name = "fedmtl.data.digits:read" }', "module fedmtl.data.digits has no 'read'"),
    "a class of fedmtl": ('data = { name = "fedmtl.core.files:Path" }', "module fedmtl.core.files has no 'Path'"),
    "another kind of fedmtl": ('data = "fedmtl.codecs.topk:TopK"', "has no 'TopK' of this kind"),
    "a module in fedmtl's name": ('data = "fedmtl.evil:X"', "module fedmtl.evil has no 'X'"),
    "numpy": ('data = { name = "numpy:load", file = "x", allow_pickle = true }', "no module 'numpy' may be imported"),
    "a class with the method": ('data = { name = "pickle:Unpickler", file = "x" }', "no module 'pickle' may"),
    "this program": ('data = "__main__:X"', "no module '__main__' may be imported"),
    "in each field: model": ('model = "os:system"', "no module 'os'"),
    "in each field: algorithm": ('algorithm = "os:system"', "no module 'os'"),
    "in each field: up_codec": ('up_codec = "os:system"', "no module 'os'"),
    "in each field: down_codec": ('down_codec = "os:system"', "no module 'os'"),
    # Inside components
    "nested call": ("algorithm = \"FedPer(optimizer='os:system')\"", "optimizer 'os:system': no module 'os'"),
    "nested table": (
        'algorithm = { name = "FedPer", optimizer = { name = "os:system", command = "touch called" } }',
        "no module 'os'",
    ),
    "nested twice": (
        'up_codec = { name = "ErrorFeedback", codec = { name = "ErrorFeedback", codec = "os:system" } }',
        "no module 'os'",
    ),
    "in a list": ('model = { name = "MLP", hidden = [{ name = "os:system", command = "x" }] }', "no module 'os'"),
    "in a plain field": (
        'algorithm = { name = "FedPer", lr = { name = "os:system", command = "touch called" } }',
        "no module 'os'",
    ),
    # The preset's own folder: modules that are there, and hold no component
    "a class without methods": ('data = "evil:X"', "data 'evil:X' is without load"),
    "a function": ('data = { name = "evil:make", x = 1 }', "has no 'make' that is a component"),
    "a function of a method's name": ('data = "evil:load"', "has no 'load' that is a component"),
    "a number": ('data = "evil:N"', "has no 'N' that is a component"),
    "a name that is not there": ('data = "evil:Nope"', "has no 'Nope' that is a component"),
    "a function of Python's by another name": ('data = { name = "sneaky:Data", command = "x" }', "has no 'Data' that"),
    "a class of Python's by another name": ('data = { name = "sneaky:Other", args = "x" }', "has no 'Other' that"),
    "another name of another name": ('data = "sneaky:Alias"', "has no 'Alias' that"),
    "an object of it": ('data = "sneaky:Made"', "has no 'Made' that"),
    "a child of a class of Python's": ('data = "sneaky:Child"', "is without load"),
    "a class of itself": ('data = "sneaky:Loop"', "is without load"),
    "bases without end": ('data = "bases:C39"', "is without load"),
    "a chain of bases": ('data = "chain:C2999"', "is without load"),
    "a large source": ('data = "large:Data"', "it has more than 524,288 bytes"),
    "a package's module": ('data = "pack.deep.mod:X"', "is without load"),
    "a module with a mistake": ('data = "broken:Data"', "the source of .* cannot be read"),
    "a module with a null": ('data = "nul:Data"', "the source of .* cannot be read"),
    # Names that are hidden, or lead elsewhere
    "hidden by Python's": ('data = "random:Data"', "a module 'random' is known from .* rename yours"),
    "hidden, imported before": ('data = "json:Data"', "a module 'json' is known from .* rename yours"),
    "a link": ('data = "linked:Data"', "no module 'linked' may be imported"),
    "a linked folder": ('data = "linkedfolder.mod:Data"', "no module 'linkedfolder.mod' may be imported"),
    "a path": ('data = "../outside/elsewhere:Data"', "no module '../outside/elsewhere' may be imported"),
    "dots": ('data = "..outside.elsewhere:Data"', "no module '..outside.elsewhere' may be imported"),
    "a relative module": ('data = ".good:Data"', "no module '.good' may be imported"),
    "a long module": (f'data = {{ name = "{"a." * 2000}a:Data" }}', "no module 'a.a.a.* may be imported"),
    "an empty module": ('data = ":Data"', "an import path is written 'package.module:Name'"),
    "an empty name": ('data = "good:"', "an import path is written"),
    "a name of a name": ('data = "good:Data.load"', "an import path is written"),
    "a dunder of a name": ('data = "good:Data:x"', "an import path is written"),
    # Depth
    "deep call": (
        f'algorithm = "{nested("FedAdam(algorithm=", ")", 300, "FedPer")}"',
        "nests more than 32 deep; make it flatter",
    ),
    "very deep call": (f'algorithm = "{nested("FedAdam(algorithm=", ")", 3000, "FedPer")}"', "nests more than 32 deep"),
    "a call too long": (f'algorithm = "FedPer(lr={"1" * 70000})"', "has at most 65536 characters, got 70011"),
    "many signs": (f'algorithm = "FedPer(lr={"-" * 60000}1)"', "is written like"),
    "a long sum": (f'algorithm = "FedPer(lr=1{"+1" * 30000})"', "is written like"),
    "brackets in a call": (f'model = "MLP(hidden={nested("[", "]", 150)})"', "nests more than 32 deep"),
    "deep arrays": (f"x = {nested('[', ']', 5000)}", "nests tables or lists more than 32 deep"),
    "arrays of 40": (f"data = {nested('[', ']', 40)}", "nests tables or lists more than 32 deep"),
    "deep tables": (f"x = {nested('{ a = ', ' }', 5000, '1')}", "nests tables or lists more than 32 deep"),
    "deep keys": (".".join(["a"] * 100) + " = 1", "nests tables or lists more than 32 deep"),
    "very deep keys": (".".join(["a"] * 50_000) + " = 1", "line 1: too many dots on a line, got 49999"),
    "deep keys inside": ("x = {" + ".".join(["a"] * 50_000) + " = 1}", "too many dots on a line"),
    "a deep header": ("[" + ".".join(["a"] * 3000) + "]\n" + "b = 1\n", "a table's name has at most 32 parts"),
    "deep components": (
        "algorithm = " + nested("{ name = 'FedAdam', algorithm = ", " }", 60, "'FedPer'"),
        "nests tables or lists more than 32 deep",
    ),
    # Numbers
    "hidden": ('model = { name = "MLP", hidden = [1000000000] }', "hidden is at most 10000000, got 1000000000; lower"),
    "channels": ('model = { name = "CNN", channels = [1000000000] }', "channels is at most 100000"),
    "seed": ("seed = 1000000000000000000000000000000", "seed is at most 63 bits long, got 10*; lower it"),
    "a seed of a component": (
        'algorithm = { name = "IFCA", seed = 99999999999999999999 }',
        "has no seed of its own",
    ),
    "digits without end": (f"seed = {'9' * 5000}", "is not TOML: .*digits"),
    "hex without end": (f"seed = 0x{'f' * 100_000}", "seed is at most .* got a whole number of 400000 bits"),
    "rounds": ("rounds = 1000000000000", "rounds is at most 10000000, got 1000000000000; lower it"),
    "rounds as a fraction": ("rounds = 3.0", "rounds is a whole number, got 3.0"),
    "rounds as a truth": ("rounds = true", "rounds is a whole number, got True"),
    "batch_size": ("batch_size = 99999999999", "batch_size is at most 10000000"),
    "chunk": ("engine = 'VMap(chunk=99999999999)'", "chunk is at most 1000000"),
    "workers": ("runtime = 'Ray(workers=1000000)'", "workers is at most 10000"),
    "evaluate_every": ("evaluate_every = 9223372036854775808", "evaluate_every is at most 63 bits long"),
    "cohort": (f"cohort = {10**30}", "cohort is at most 63 bits long"),
    "cohort nan": ("cohort = nan", "cohort"),
    "gpus": ("runtime = 'Ray(gpus_per_worker=1e300)'", r"gpus_per_worker is 0 or more, got 1e\+300; at most 1024"),
    "gpus inf": ("runtime = { name = 'Ray', gpus_per_worker = inf }", "gpus_per_worker is a finite number, got inf"),
    "lr nan in a call": ('algorithm = "FedPer(lr=nan)"', "lr is a number, got 'nan'"),
    "lr nan": ('algorithm = { name = "FedPer", lr = nan }', "lr is a finite number, got nan"),
    "lr inf": ('algorithm = { name = "FedPer", lr = inf }', "lr is a finite number, got inf"),
    "lr beyond floats": ('algorithm = "FedPer(lr=1e999)"', "lr is a finite number, got inf"),
    "lr as a large whole number": (f'algorithm = {{ name = "FedPer", lr = {10**400} }}', "lr is at most"),
    "epochs": ('algorithm = { name = "FedPer", epochs = 1000000000 }', "epochs is at most 100000, got 1000000000"),
    "head_epochs": ('algorithm = { name = "FedRep", head_epochs = 1000000000 }', "head_epochs is at most 100000"),
    "steps": ('algorithm = { name = "PFedMe", steps = 1000000000 }', "steps is at most 100000"),
    "clusters": ('algorithm = { name = "IFCA", clusters = 1000000000 }', "clusters is at most 10000"),
    "components": ('algorithm = { name = "FedEM", components = 1000000000 }', "components is at most 10000"),
    "an optimizer's": ('algorithm = "FedPer(optimizer=Momentum(beta=1e999))"', "beta is a finite number"),
    "block": ('up_codec = { name = "Int8", block = 999999999999 }', "block is at most 16777216"),
    "clients": ('data = { name = "synthetic", clients = 1000000000000 }', "clients is at most 100000000"),
    "features": ('data = { name = "synthetic", features = 1000000000 }', r"draws at most 8,589,934,592 numbers, got"),
    "classes": ('data = { name = "synthetic", classes = 10000000000 }', r"draws at most 8,589,934,592 numbers, got"),
    "alpha nan": ('data = { name = "digits", alpha = nan }', "alpha is a finite number, got nan"),
    "noise inf": ('data = { name = "synthetic", noise = inf }', "noise is a finite number, got inf"),
    "round_seconds": (
        "runtime = { name = 'Flower', round_seconds = 1e8 }",
        "round_seconds is a positive number of seconds, got 100000000.0; at most 10,000,000",
    ),
    "wait_seconds": ("runtime = 'Ray(wait_seconds=1e308)'", "wait_seconds is a positive number of seconds, got 1e"),
    # Texts
    "not UTF-8": (b"\xff\xfe\x00", "is not TOML: .*save it as UTF-8"),
    "a null": (b"\x00", "is not TOML"),
    "half a character": (b'name = "\xc3"', "is not TOML"),
    "a name with an escape": (
        'name = "\\u001b[31mred"',
        r"name is a text without control characters, got '\\x1b\[31mred'",
    ),
    "a name of two lines": ('name = "a\\nb"', "name is a text without control characters"),
    "a name that turns the line": ('name = "\\u202e gnp"', "name is a text without control characters"),
    "a long name": (f'name = "{"a" * 201}"', "name has at most 200 characters, got 201"),
    "a long key": (f"{'a' * 100_000} = 1", "unknown key 'aaa"),
    "a key with an escape": ('"\\u001b[31m" = 1', r"unknown key '\\x1b\[31m'"),
    "a long file": ("# " + "a" * 2**18, "has more than 262,144 bytes"),
    "a large value": (f"algorithm = [{'1, ' * 80_000}]", "An algorithm has the methods"),
    "an address with an escape": (
        "runtime = { name = 'Ray', address = \"\\u001b\" }",
        "address is a text without control characters",
    ),
    "a folder with a null": (
        "runtime = { name = 'InProcess', state_dir = \"\\u0000\" }",
        "state_dir is a text without control characters",
    ),
    "a folder elsewhere": (
        "runtime = \"Ray(state_dir='/home/else')\"",
        "state_dir = '/home/else' leads out of .*--set runtime.state_dir=",
    ),
    "a folder by a relative name": (
        "runtime = { name = 'InProcess', state_dir = '../else' }",
        "state_dir = '../else' leads out of",
    ),
    "a cluster of theirs": (
        "runtime = \"Ray(address='ray://192.0.2.1:10001')\"",
        "address = 'ray://192.* --set runtime.address=",
    ),
    # Kinds of values
    "a table without a name": ("data = {}", "A table for data needs a name"),
    "a date": ("rounds = 2020-01-01", "rounds is a whole number, got datetime.date"),
    "a list of tables": ("[[data]]\nname = 'digits'", "A data has the methods load"),
    "a table as a number": ("[rounds]\na = 1", "rounds is a whole number"),
    "a name as a table": ("data = { name = { name = 'x' } }", "A table for data needs a name"),
}
"""What is wrong -> the preset, and what the error says."""


@pytest.mark.parametrize("case", PRESETS)
def test_a_hostile_preset_runs_nothing_and_is_refused_at_once(case: str, folder: Path) -> None:
    text, message = PRESETS[case]
    path = folder / "p.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = list(sys.path)
    start = time.thread_time()
    with pytest.raises(ValueError, match=message) as error:
        load_experiment(path)
    assert time.thread_time() - start < 3  # of this thread; a loaded machine takes twice as long
    assert not (folder / "ran").exists() and not (folder / "called").exists()
    assert sys.path == before
    assert "\n" not in str(error.value) and len(str(error.value)) < 1500


def test_a_setting_or_python_may_name_a_folder_elsewhere_and_a_cluster(folder: Path) -> None:
    path = folder / "p.toml"
    path.write_text("runtime = \"Ray(state_dir='/home/else', address='auto', workers=3)\"\n")
    own = Ray(3, address="auto", state_dir="/own")
    assert load_experiment(path, ["runtime.state_dir=/own"]).runtime == own
    assert load_experiment(path, ["runtime=Ray(state_dir='/own')"]).runtime == Ray(state_dir="/own")
    assert Experiment(runtime=own).runtime.state_dir == "/own"
    with pytest.raises(ValueError, match="state_dir = '/home/else' leads out of"):
        load_experiment(path, ["runtime.workers=4"])


def test_a_comparison_of_a_file_that_names_a_folder_elsewhere_writes_nothing(folder: Path) -> None:
    (folder / "p.toml").write_text(f"runtime = {{ name = 'InProcess', state_dir = '{folder / 'else'}' }}\n")
    done = CliRunner().invoke(app, ["compare", str(folder / "p.toml"), "--out", str(folder / "out")])
    assert done.exit_code == 2 and "leads out of the file's own folder" in done.output
    assert not (folder / "else").exists() and not (folder / "out").exists()


@pytest.mark.parametrize("link", ["runs", "runs/-run-FedPer-Dense", "runs/-run-FedPer-Dense/seed0"])
def test_a_comparison_follows_no_link_out_of_its_folder(folder: Path, link: str) -> None:
    preset, out, victim = folder / "p.toml", folder / "out", folder / "victim"
    preset.write_text('name = "/run"\ndata = "digits(clients=3)"\nruntime = "InProcess"\nrounds = 1\n')
    victim.mkdir()
    (out / link).parent.mkdir(parents=True)
    (out / link).symlink_to(victim)
    done = CliRunner().invoke(app, ["compare", str(preset), "--seeds", "1", "--out", str(out)])
    assert done.exit_code == 2 and "is a link; links inside this folder are not followed" in done.output
    assert list(victim.iterdir()) == []


@pytest.mark.parametrize("count, with_state", [(2**60, 0), (2, 2**62), (-1, -5), (1, 2), (-(2**63), 0)])
def test_a_damaged_head_of_a_rollback_block_ends_the_reading(folder: Path, count: int, with_state: int) -> None:
    (folder / "u").write_bytes(rollback_journal._HEAD.pack(0, 1, count, with_state, 8) + bytes(64))
    assert rollback_journal._read(Folder(folder), "u", 8) == (1, [])


@pytest.mark.parametrize("name", ["experiment.toml", "rounds.columns", "summary.json", "diagnostics.json", "size.json"])
def test_a_report_reads_no_file_that_a_run_folder_links_to(folder: Path, name: str) -> None:
    run = write_run(folder / "run", {"name": "FedPer", "lr": 0.1}, {"digit": [0.1, 0.5]})
    private = folder / "private"
    private.write_bytes((run / name).read_bytes() if (run / name).exists() else b"{}")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(private)
    with pytest.raises(ValueError, match="is a link; links inside this folder are not followed"):
        read_run(run)


SETTINGS = [
    "data=os:system(command='touch called')",
    "data={name='os:system', command='touch called'}",
    "algorithm.optimizer=os:system",
    "algorithm.optimizer={name='subprocess:getoutput', cmd='touch called'}",
    "data=evil:X",
    "x=" + "[" * 5000 + "]" * 5000,
    "seed=" + "9" * 5000,
    "rounds=1" + "0" * 30,
    "." * 3000 + "=1",
    ".".join(["algorithm"] * 500) + "=1",
]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda text: text[:30])
def test_a_hostile_setting_runs_nothing(setting: str, folder: Path) -> None:
    start = time.thread_time()
    with pytest.raises(ValueError) as error:
        load_experiment("digits", [setting])
    assert time.thread_time() - start < 3  # of this thread; a loaded machine takes twice as long
    assert not (folder / "ran").exists() and not (folder / "called").exists()
    assert "\n" not in str(error.value) and len(str(error.value)) < 1500


COMPARISONS = {
    "an algorithm": "algorithms = [\"os:system(command='touch called')\"]",
    "an algorithm as a table": 'algorithms = [{ name = "os:system", command = "touch called" }]',
    "a codec": 'packets = [{ up_codec = "os:system" }]',
    "a packet that is no table": "packets = [3]",
    "seeds without end": "seeds = 1000000000000",
    "a seed beyond bounds": f"seeds = [{10**30}]",
    "a negative seed": "seeds = [-1]",
    "a seed that is a truth": "seeds = true",
    "a target that is no number": "target = nan",
    "runs without end": "algorithms = [" + '"FedPer", ' * 2000 + "]\nseeds = 1000",
    "an unknown key": '"\\u001b[31m" = 1',
    "a number": None,
}


@pytest.mark.parametrize("case", COMPARISONS)
def test_a_hostile_comparison_runs_nothing_and_is_one_line(case: str, folder: Path) -> None:
    text = COMPARISONS[case]
    (folder / "p.toml").write_text("compare = 3" if text is None else f"[compare]\n{text}\n")
    start = time.thread_time()
    result = CliRunner().invoke(app, ["compare", "p.toml", "--out", "out"])
    assert time.thread_time() - start < 2  # imports of the report are in it
    assert result.exit_code == 2 and result.output.startswith("error: ") and result.output.count("\n") == 1
    assert result.output.rstrip("\n").isprintable() and len(result.output) < 2500
    assert not any((folder / name).exists() for name in ("ran", "called", "out"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "p.toml"],
        ["run", "p.toml", "--resume", "--out", "out"],
        ["run", "digits", "--set", "data=evil:X"],
        ["run", "digits", "--set", "data=good:Data"],
        ["run", "digits", "--set", "data=os:system", "--allow", "os"],
        ["run", "digits", "--set", "data=subprocess:Popen", "--allow", "subprocess"],
        ["run", "digits", "--set", "data=evil:X", "--allow", "evil"],
        ["run", "digits", "--set", "data=evil:X", "--allow", "evil.py"],
        ["run", "digits", "--allow", "../x"],
        ["run", "digits", "--allow", "a b"],
        ["run", "digits", "--allow", ""],
        ["run", "\x1b[31m"],
        ["run", "a" * 5000],
        ["compare", "digits", "--algorithm", "os:system(command='touch called')"],
        ["compare", "digits", "--codec", "os:system"],
        ["compare", "digits", "--seeds", "1000000000000"],
        ["verify", "os:system"],
        ["verify", "evil:X"],
        ["shrink", "run"],
        ["run", "run/experiment.toml"],
        ["run", "run/copy.toml"],
    ],
    ids=lambda arguments: " ".join(arguments)[:60],
)
def test_the_command_line_refuses_in_one_line(arguments: list[str], folder: Path) -> None:
    (folder / "p.toml").write_text('data = "evil:X"')
    (folder / "run" / "checkpoint").mkdir(parents=True)
    for name in ("experiment.toml", "copy.toml"):
        (folder / "run" / name).write_text('data = "good:Data"')
    for name in ("summary.json", "checkpoint/server.state"):
        (folder / "run" / name).write_text("{}")
    shutil.copy(folder / "good.py", folder / "run" / "good.py")
    here = ["--set", "runtime=InProcess"] if arguments[0] in ("run", "compare") else []
    result = CliRunner().invoke(app, [*arguments, *here])
    assert result.exit_code == 2, result.output
    assert result.output.startswith("error: ") and result.output.count("\n") == 1
    assert result.output.rstrip("\n").isprintable() and len(result.output) < 2500
    assert not (folder / "ran").exists() and not (folder / "called").exists()


def test_fedmtl_ends_with_2_and_one_line(folder: Path) -> None:
    """The process itself, with this folder as its current one."""
    (folder / "p.toml").write_text('data = { name = "os:system", command = "touch called" }')
    command = [sys.executable, "-m", "fedmtl", "run", "p.toml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: p.toml: data 'os:system': no module 'os' may be imported")
    assert done.stderr.count("\n") == 1 and not (folder / "called").exists()


# What is allowed


def imported(folder: Path) -> list[str]:
    mark = folder / "ran"
    return mark.read_text().split() if mark.exists() else []


def load(folder: Path, name: str, allow: tuple[str, ...] = (), place: str = "p.toml") -> Any:
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'data = {{ name = "{name}", clients = 5 }}')
    return load_experiment(path, allow=allow).data


def test_a_presets_own_folder_is_allowed(folder: Path) -> None:
    assert load(folder, "good:Data").clients == 5 and imported(folder) == ["good"]


@pytest.mark.parametrize("name", ["reexports:Data", "pack.deep:Data", "pack.parts.mod:Data"])
def test_a_class_that_a_module_takes_from_another_of_the_folder_is_found(name: str, folder: Path) -> None:
    (folder / "pack" / "deep" / "__init__.py").write_text("from .inner import *\n")
    (folder / "pack" / "deep" / "inner.py").write_text(GOOD)
    (folder / "pack" / "parts").mkdir()  # without __init__.py
    (folder / "pack" / "parts" / "mod.py").write_text("class Base:\n    def load(self, seed): return None\n" + CHILD)
    assert load(folder, name).clients == 5


CHILD = """
if True:
    class Data(Base):
        def __init__(self, clients): self.clients = clients
"""


def test_an_object_of_a_class_that_was_imported_is_found(folder: Path) -> None:
    (folder / "p.toml").write_text('data = "reexports:READY"')
    assert load_experiment(folder / "p.toml").data.clients == 3


def test_a_module_elsewhere_is_allowed_by_name_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder.parent / "outside")
    with pytest.raises(ValueError, match="or is allowed by --allow elsewhere .from Python, allow=.'elsewhere'.;"):
        load(folder, "elsewhere:Data")
    with pytest.raises(ValueError, match="no module 'elsewhere' may be imported"):
        load(folder, "elsewhere:Data", ("else", "elsewhere.deeper", "good"))
    assert imported(folder) == []
    assert load(folder, "elsewhere:Data", ("good", "elsewhere")).clients == 5
    assert imported(folder) == ["elsewhere"]


def test_a_file_elsewhere_is_allowed_by_its_path(folder: Path) -> None:
    with pytest.raises(ValueError, match="no module 'elsewhere' with a source; install it, or run where it lies"):
        load(folder, "elsewhere:Data", ("elsewhere",))
    assert load(folder, "elsewhere:Data", ("../outside/elsewhere.py",)).clients == 5


def test_the_current_folder_is_searched_for_what_is_allowed_and_for_nothing_else(folder: Path) -> None:
    with pytest.raises(ValueError, match="no module 'good' may be imported"):
        load(folder, "good:Data", place="presets/p.toml")
    assert imported(folder) == []
    assert load(folder, "good:Data", ("good",), place="presets/p.toml").clients == 5


@pytest.mark.parametrize("mark", RUN_MARKS)
def test_a_run_folder_is_no_presets_own_folder(mark: str, folder: Path) -> None:
    (folder / mark).mkdir()
    for place in ("p.toml", "experiment.toml"):
        with pytest.raises(ValueError, match="no module 'good' may be imported"):
            load(folder, "good:Data", place=place)
    assert imported(folder) == []
    assert load(folder, "good:Data", ("good",)).clients == 5


def test_a_link_to_a_resolved_experiment_is_one(folder: Path) -> None:
    (folder / "experiment.toml").write_text('data = "good:Data"')
    (folder / "mine.toml").symlink_to("experiment.toml")
    for name in ("experiment.toml", "mine.toml"):
        with pytest.raises(ValueError, match="no module 'good' may be imported"):
            load_experiment(folder / name)
    assert imported(folder) == []


def test_another_module_of_that_name_is_not_taken_for_it(folder: Path) -> None:
    """Two presets' folders, each with a module ``good``: the second is not given the first's."""
    load(folder, "good:Data")
    other = folder.parent / "other"
    other.mkdir()
    (other / "good.py").write_text(GOOD.replace("clients=3", "clients=4"))
    (other / "p.toml").write_text('data = "good:Data"')
    with pytest.raises(ValueError, match="'good' is known from .*here/good.py, which hides the one in .*other"):
        load_experiment(other / "p.toml")


def test_a_string_from_python_names_fedmtls_own_only(folder: Path) -> None:
    """An experiment's strings may come from anywhere; a caller with a class passes an object of it."""
    make: Any
    for make in (lambda: Experiment(data="good:Data"), lambda: from_dict({"data": "good:Data"})):
        with pytest.raises(ValueError, match="no module 'good' may be imported"):
            make()
    assert imported(folder) == []
    assert from_dict({"data": "good:Data"}, allowed=Allowed(modules=("good",))).data.clients == 3


def test_defaults_inside_a_component_follow_the_same_rule(folder: Path) -> None:
    values = {"data": {"name": "good:Data"}}
    with pytest.raises(ValueError, match="no module 'good' may be imported"):
        override(values, ["data.model.hidden=3"])
    with pytest.raises(ValueError, match="no module 'good' may be imported"):
        expand({**values}, sweep_of({}), "p.toml")
    assert imported(folder) == []
    assert len(expand(values, sweep_of({}), "p.toml", beside(folder / "p.toml"))) == 3


@pytest.mark.parametrize(
    "config",
    [
        {"preset": "p.toml"},
        {"preset": "digits", "overrides": "data=good:Data"},
        {"preset": "digits", "overrides": "data=os:system"},
    ],
    ids=str,
)
def test_a_node_imports_what_it_allows_and_nothing_that_a_server_names(
    config: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "p.toml").write_text('data = "good:Data"')
    node: dict[str, Any]
    for node in ({}, {"allow": "other"}, {"clients": "0"}):
        with pytest.raises(ValueError, match="may be imported.* on a Flower node, --node-config or FEDMTL_ALLOW"):
            read_run_config({**config, "allow": "good,os"}, node)
    assert imported(folder) == []
    if "os:system" not in str(config):
        assert read_run_config(config, {"allow": "other, good"}).data.clients == 3
        monkeypatch.setenv("FEDMTL_ALLOW", "good")
        assert read_run_config(config, {}).data.clients == 3


# Numbers


def test_bounds_hold_for_objects_where_memory_is_asked_for() -> None:
    """A model of 10⁹ hidden numbers after 64 inputs has 65·10⁹ parameters; torch is not asked for them."""
    from fedmtl.models import (
        CNN,
        GRU,
        MLP,
        BagOfEmbeddings,
        Linear,
        ResNet,
        TemporalCNN,
        TextCNN,
        TransformerEncoder,
        UNet,
    )

    big: Any
    for big in (
        lambda: MLP((10**9,)).trunk((64,)),
        lambda: MLP((10**6, 10**6)).trunk((64,)),
        lambda: MLP((64,)).head(10**6, 10**6),
        lambda: Linear().head(10**6, 10**6),
        lambda: CNN((10**5, 10**5)).trunk((1, 8, 8)),
        lambda: TemporalCNN((16,), hidden=10**9).trunk((1, 8)),
        lambda: ResNet(depth=18, width=10**5).trunk((1, 8, 8)),
        lambda: UNet((10**5, 10**5)).trunk((1, 8, 8)),
        lambda: UNet((16,)).head((10**5, 8, 8), (10**5, 8, 8)),
        lambda: GRU(hidden=10**6).trunk((1, 8)),
        lambda: BagOfEmbeddings(10**7, width=10**6).trunk((8,)),
        lambda: TextCNN(channels=10**5, width=10**6).trunk((8,)),
        lambda: TransformerEncoder(layers=10**4, width=10**4).trunk((8,)),
    ):
        with pytest.raises(
            ValueError, match="parameters, where a model has at most 2.1 billion .8.6 GB.; make its layers"
        ):
            big()


def test_ordinary_values_stay_within_bounds() -> None:
    assert from_dict({"algorithm": "FedPer(lr=1, epochs=1000)", "seed": 2**63 - 1}).algorithm == FedPer(1, 1000)
    assert math.isinf(from_dict({"data": {"name": "digits", "alpha": math.inf}}).data.alpha)


# A run's folder, from its user and from a stranger


@pytest.fixture(scope="module")
def ran_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preset's folder with the user's own module, and beside it in ``out`` the run; nobody may change it."""
    here = tmp_path_factory.mktemp("ran") / "mine"
    here.mkdir()
    (here / "users_wards.py").write_text(MARK.format(mark="ran") + USERS_FILE)  # in the current folder
    (here / "wards.toml").write_text(PRESET)
    path = list(sys.path)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        assert fedmtl("run", "wards.toml", "--out", "out") == 0
    assert (here / "ran").exists()
    forget(here, path)
    return here


@pytest.fixture
def ran(ran_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of that folder; it is the current one."""
    here = Path(shutil.copytree(ran_once, tmp_path / "mine"))
    monkeypatch.chdir(here)
    path = list(sys.path)
    yield here
    forget(here, path)


def forget(folder: Path, path: list[str]) -> None:
    """As in a new process."""
    sys.path[:] = path
    sys.modules.pop("users_wards", None)
    (folder / "ran").unlink(missing_ok=True)


def fedmtl(*arguments: str) -> int:
    return CliRunner().invoke(app, list(arguments)).exit_code


def test_a_run_goes_on_with_its_preset_and_no_flag(ran: Path) -> None:
    assert fedmtl("run", "wards.toml", "--out", "out", "--resume") == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("shrink", "out"),
        ("run", "out/experiment.toml"),
        ("run", "out/experiment.toml", "--out", "out", "--resume"),
        ("compare", "out/experiment.toml", "--seeds", "1"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("no_pictures")
def test_what_a_run_folder_names_is_imported_with_the_flag_only(arguments: tuple[str, ...], ran: Path) -> None:
    shutil.copy(ran / "users_wards.py", ran / "out" / "users_wards.py")
    path = list(sys.path)
    assert fedmtl(*arguments) == 2
    assert not (ran / "ran").exists()
    for allow in ("users_wards", "users_wards.py"):
        assert fedmtl(*arguments, "--allow", allow) == 0
        assert (ran / "ran").read_text() == "users_wards\n"
        forget(ran, path)


@pytest.mark.usefixtures("no_pictures")
def test_a_report_imports_nothing(ran: Path) -> None:
    assert fedmtl("report", "out") == 0
    assert not (ran / "ran").exists()


REPORTS: dict[str, tuple[str, str, str]] = {
    "a name with an escape": ("experiment.toml", 'name = "wards"', 'name = "\\u001b[31m"'),
    "a component that is a number": ("experiment.toml", '"PersonalProx"', "3"),
    "a codec without a name": ("experiment.toml", "[up_codec]\nname", "[up_codec]\nnome"),
    "a seed as a text": ("experiment.toml", "seed = 0", 'seed = "0"'),
    "deep": ("experiment.toml", "seed = 0", "seed = 0\nx = " + nested("[", "]", 3000)),
    "a summary that is a list": ("summary.json", "{", "[{"),
    "a deep summary": ("summary.json", "{", '{"x": ' + nested("[", "]", 50_000, "1") + ","),
}


@pytest.mark.usefixtures("no_pictures")
def test_a_report_of_a_strangers_run_is_one_line(ran: Path) -> None:
    for about, (name, there, instead) in REPORTS.items():
        path = ran / "out" / name
        before = text = path.read_text()
        if about == "a component that is a number":
            text = text.replace('name = "users_wards:PersonalProx"', "name = 3")
        elif about == "a summary that is a list":
            text = f"[{text}]"
        else:
            assert there in text
            text = text.replace(there, instead, 1)
        path.write_text(text)
        result = CliRunner().invoke(app, ["report", "out"])
        with case(about):
            assert result.exit_code == 2 and result.output.startswith("error: ") and result.output.count("\n") == 1
            assert str(path.relative_to(ran)) in result.output and result.output.rstrip("\n").isprintable()
            assert not (ran / "ran").exists()
        path.write_text(before)
    assert fedmtl("report", "out") == 0  # else each of them would be refused for another's sake


@pytest.mark.usefixtures("no_pictures")
def test_a_report_of_what_was_learnt_that_is_none_is_one_line(ran: Path) -> None:
    for text in ("3", "[3]", "{", '{"a": 3}', '{"a": {"clients": [0]}}', nested("[", "]", 50_000)):
        (ran / "out" / "diagnostics.json").write_text(text)
        result = CliRunner().invoke(app, ["report", "out"])
        with case(text[:40]):
            assert result.exit_code == 2 and "diagnostics.json is not what a run writes" in result.output
            assert result.output.count("\n") == 1


@pytest.mark.usefixtures("no_pictures")  # they are drawn before that file is read
def test_a_report_of_small_models_that_are_none_is_one_line(ran: Path) -> None:
    deep = nested("[", "]", 50_000)
    for text in ("3", "[]", "{", '{"format": 2, "formats": {}}', '{"format": 2, "formats": {"a": 3}}', deep):
        (ran / "out" / "size.json").write_text(text)
        result = CliRunner().invoke(app, ["report", "out"])
        with case(text[:40]):
            assert result.exit_code == 2 and "size.json is not what fedmtl shrink writes" in result.output
            assert result.output.count("\n") == 1

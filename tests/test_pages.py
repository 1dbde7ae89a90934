"""README and the pages beside the code: blocks run, flags of commands exist, tables and numbers are those of the code.

Commands of ``fedmtl`` and blocks of Python and TOML are run, small: rounds are set to 1, clients to 4. Commands that
start clusters and servers are read: each flag must be in the program's own ``--help``. A program that no rule below
knows fails, so that nothing is added to a page unread.
"""

import glob
import importlib.util
import json
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
import torch
from flwr.common.config import get_fused_config_from_dir, parse_config_args
from typer.testing import CliRunner

from fedmtl.analysis.byte_rows import ByteRow
from fedmtl.cli import app
from fedmtl.codecs.layout import layout_of
from fedmtl.codecs.stated import stated_bytes
from fedmtl.data import digits
from fedmtl.registry.components import REGISTRY, find, make
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.presets import load_experiment
from fedmtl.runs.sweep import sweep_of
from fedmtl.runtime import Ray
from fedmtl.runtime.node import clients_of, read_run_config
from tests import forks, methods_table
from tests.pictures import undrawn
from tests.test_floors import FLOORS

ROOT = Path(__file__).parent.parent
PAGES = {
    path: path.read_text(encoding="utf-8")
    for path in [
        ROOT / "README.md",
        *sorted(ROOT.glob("fedmtl/**/*.md"), key=lambda path: (path.parent.name != "studies", path)),
        *sorted(ROOT.glob("simulations/**/*.md")),
    ]
}
"""Page -> its text, in the order in which their commands run: first those that make the runs that the others show."""
TEXT = "\n".join(PAGES.values())
SCRIPT_TESTS = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "simulations").glob("*.py"))
MAP = ROOT / "fedmtl" / "README.md"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
REPOSITORY = PROJECT["project"]["urls"]["Repository"]
RAW = REPOSITORY.replace("https://github.com/", "https://raw.githubusercontent.com/")

QUICK = ["--set", "rounds=1", "--set", "data.clients=4", "--set", "runtime=InProcess", "--set", "engine=loop"]


class Block(NamedTuple):
    """Text between two fences."""

    page: str
    language: str
    line: int
    text: str
    output: str
    """Text of the block with the language ``output`` that follows; "" without."""

    @property
    def file(self) -> str:
        """Name in a first line such as ``# my_method.py``; "" without."""
        found = re.match(r"# ([\w.]+)\n", self.text)
        return found[1] if found else ""


FENCES = r"^```(\w*)\n(.*?)^```$(?:\n\n```output\n(.*?)^```$)?"


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(language: str) -> list[Block]:
    return [
        Block(name(path), match[1], text.count("\n", 0, match.start()) + 2, match[2], match[3] or "")
        for path, text in PAGES.items()
        for match in re.finditer(FENCES, text, re.MULTILINE | re.DOTALL)
        if match[1] == language
    ]


def commands() -> Iterator[list[str]]:
    """The commands of all bash blocks, in order, as words."""
    for block in blocks("bash"):
        for line in block.text.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words


def table(first_column: str) -> list[list[str]]:
    """The body of the table whose header starts so: cells without backticks."""
    (body,) = re.findall(rf"^\| {first_column} \|.*\n\| ---.*\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in body.splitlines()]


@contextmanager
def fewer_images() -> Iterator[None]:
    """Inside, ``Digits`` has 400 images: clients make fewer steps, and send packets of the same sizes."""
    x, digit = digits.read()
    with patch.object(digits, "read", lambda: (x[:400], digit[:400])):
        yield


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder, with the files that README shows, after all commands of ``fedmtl`` that it shows."""
    folder = tmp_path_factory.mktemp("readme")
    for block in [*blocks("python"), *blocks("toml")]:
        if block.file:
            (folder / block.file).write_text(block.text)
    with pytest.MonkeyPatch.context() as changed:
        changed.chdir(folder)
        changed.setattr(sys, "path", sys.path[:])
        for words in commands():
            if words[0] == "fedmtl" and not any("runtime.address" in word for word in words):
                # A benchmark takes minutes and has tests of its own; with --help its flags are still read.
                small = {"run": QUICK, "compare": [*QUICK, "--seeds", "1"], "bench": ["--help"]}
                small["onboard"] = ["--steps", "2"]
                small["sweep"] = [*QUICK, "--seeds", "1"]
                if any(word.startswith("data=") for word in words):  # which says its clients
                    small["run"] = [*QUICK[:2], *QUICK[4:]]
                small["tune"] = [*QUICK, "--trials", "2", "--sampler", "random"]
                words = [own for word in words for own in (sorted(glob.glob(word)) or [word])]  # as a shell does
                changes = [
                    *small.get(words[1], []),
                    *(["--tune", "1", "--algorithm", "FedPer"] if "--tune" in words else []),
                ]
                # The first report of `fedmtl report` is drawn, all other pictures are made but for that.
                drawn = words == ["fedmtl", "report", "runs/first"]
                with nullcontext() if drawn else undrawn(), fewer_images():
                    result = CliRunner().invoke(app, [*words[1:], *changes])
                assert result.exit_code == 0, f"{' '.join(words)}\n{result.output}"
        yield folder
        for block in blocks("python"):
            sys.modules.pop(block.file.removesuffix(".py"), None)


# Commands


def test_languages_are_those_that_are_tested() -> None:
    """Blocks of text are pictures, blocks of output follow the Python that prints them."""
    run, read = ("bash", "python", "toml"), ("text", "bibtex")
    assert set(re.findall(r"^```(\w+)", TEXT, re.MULTILINE)) == {*run, *read, "output"}
    outputs = sum(bool(block.output) for block in blocks("python"))
    assert TEXT.count("```") == 2 * (outputs + sum(len(blocks(language)) for language in (*run, *read)))


def test_commands_leave_what_readme_says(here: Path) -> None:
    assert {path.name for path in (here / "runs").iterdir()} == {
        "first",
        "both",
        "compare",
        "mine",
        "fair",
        "tuned",
        "kept",
        "sweep",
        "front",
    }
    assert {"report.md", "table.csv", "overview.png"} <= {path.name for path in (here / "runs" / "first").iterdir()}
    assert "to score 0.7" in (here / "runs" / "compare" / "report.md").read_text()
    listed = {words[2] for words in commands() if words[:2] == ["fedmtl", "list"]}
    assert listed == {"algorithms", "callbacks", "codecs", "data", "models", "presets", "transforms", "weightings"}


def helped() -> dict[tuple[str, ...], list[list[str]]]:
    """Program and subcommand -> the commands of README that start programs of others."""
    known = {"flower-superlink": 1, "flower-supernode": 1, "ray": 2, "flwr": 2}
    found: dict[tuple[str, ...], list[list[str]]] = {}
    for words in commands():
        if words[0] in known:
            length = 3 if words[:2] == ["flwr", "supernode"] else known[words[0]]
            found.setdefault(tuple(words[:length]), []).append(words[length:])
    return found


HELPS = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import entry_points
for program in json.loads({programs!r}):
    sys.argv = [*program, "--help"]
    (entry,) = entry_points(group="console_scripts", name=program[0])
    text, code = io.StringIO(), None
    with redirect_stdout(text), redirect_stderr(text):
        try:
            code = entry.load()()
        except SystemExit as end:
            code = end.code
    print(json.dumps([code or 0, text.getvalue()]))
"""


def test_flags_of_other_programs_exist() -> None:
    """All print their help in one process: their imports take seconds, and most are the same."""
    asked = helped()
    done = forks.run(code=HELPS.format(programs=json.dumps(list(asked))), cwd=ROOT)
    assert done.returncode == 0, done.stderr
    for program, line in zip(asked, done.stdout.splitlines(), strict=True):
        code, text = json.loads(line)
        assert code == 0 and text, text
        for words in asked[program]:
            flags = [word.partition("=")[0] for word in words if word.startswith("-")]
            for flag in flags:
                assert re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", text), f"{' '.join(program)} has no {flag}"
    assert {program[0] for program in asked} == {"flower-superlink", "flower-supernode", "ray", "flwr"}


def after(words: list[str], flag: str) -> str:
    return words[words.index(flag) + 1]


def test_run_configurations_are_those_of_the_app() -> None:
    """Flower's own parser reads them, pyproject.toml knows the keys, and the experiment in them can be made."""
    runs = helped()["flwr", "run"]
    assert len(runs) == 2
    for words in runs:
        assert words[0] == "."
        config = get_fused_config_from_dir(ROOT, parse_config_args([after(words, "-c")]))
        assert read_run_config(config).data.load(0).clients and str(config["out"]).startswith("/")


def test_nodes_together_host_everybody() -> None:
    """The nodes of the example on one machine; those with keys stand alone."""
    nodes = [words for words in helped()[("flower-supernode",)] if "--insecure" in words]
    ports = [after(words, "--port") if "--port" in words else "default" for words in nodes]
    federation = load_experiment("digits").load()
    hosted = [clients_of(parse_config_args([after(words, "--node-config")]), federation) for words in nodes]
    assert sorted(client for clients in hosted for client in clients) == list(federation.clients)
    assert len(set(ports)) == len(nodes) == 2
    for example in re.findall(r'`(clients="[\d,]+")`', TEXT):
        assert clients_of(parse_config_args([example]), federation)


def test_a_command_for_a_cluster_is_an_experiment() -> None:
    (words,) = [words for words in commands() if any("runtime.address" in word for word in words)]
    settings = [word for flag, word in zip(words, words[1:], strict=False) if flag == "--set"]
    experiment = load_experiment(words[2], settings)
    addresses = re.findall(r"--address=(\S+)", TEXT)
    assert addresses == [experiment.runtime.address] and experiment.runtime.address.endswith(":6379")
    assert experiment.runtime == Ray(16, 0.25, experiment.runtime.address, "/nfs/state")


def test_the_other_commands_are_known() -> None:
    makefile = (ROOT / "Makefile").read_text()
    extras = PROJECT["project"]["optional-dependencies"]
    inline = [shlex.split(line) for line in re.findall(r"`((?:pip|make|fedmtl) [^`]*)`", TEXT)]
    for words in [*commands(), *inline]:
        match words:
            case [
                "fedmtl",
                "run"
                | "compare"
                | "tune"
                | "report"
                | "log"
                | "shrink"
                | "export"
                | "predict"
                | "onboard"
                | "list"
                | "verify"
                | "bench"
                | "watch"
                | "sweep",
                *_,
            ]:
                pass
            case ["fedmtl", "data", "list" | "describe" | "fetch", *_]:
                pass
            case ["flower-superlink" | "flower-supernode" | "flwr" | "ray", *_]:
                pass
            case ["make", target]:
                assert re.search(rf"^{target}:", makefile, re.MULTILINE)
            case ["pip", "install", "-c", "constraints.txt", "-e", what]:
                assert what == "." or what[2:-1] in extras
            case ["pip", "install", "-c", "constraints.txt", "torch", "--index-url", url]:
                assert url == "https://download.pytorch.org/whl/cpu"
            case ["export", "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1"]:
                assert in_flower("FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION")
            case ["python3", "-m", "venv", ".venv"] | [".", ".venv/bin/activate"]:
                pass
            case ["pip", "download", *_] | ["python", "-m", "pip", "install", "--no-index", *_]:
                pass
            case ["python", script, *flags] | [_, "python", script, *flags] if script.startswith("simulations/"):
                # tests/simulations/test_simulations.py finds those of the folder itself.
                found = Path(script).parent.name == "simulations" or Path(script).stem in SCRIPT_TESTS
                assert found, f"{script} is run by no test"
                source = (ROOT / script).read_text(encoding="utf-8")
                for flag in flags:
                    if flag.startswith("-"):
                        assert re.search(rf"{flag}\b|\b{flag[2:].replace('-', '_')}: ", source), (
                            f"{script} has no {flag}"
                        )
            case ["ssh-keygen", "-t", "ecdsa", "-b", "384", "-N", "", "-f", key]:  # NIST P-384, Flower's only kind
                assert f"--auth-supernode-private-key {key} " in TEXT and f"register {key}.pub " in TEXT
            case _:
                pytest.fail(f"no rule reads {words}")
    assert PROJECT["project"]["requires-python"] == ">=3.11" and "Python 3.11 or newer" in TEXT
    assert "flwr>=1.41,<1.43" in PROJECT["project"]["dependencies"] and "Flower 1.41 or 1.42" in TEXT


def in_flower(name: str) -> bool:
    spec = importlib.util.find_spec("flwr")
    assert spec is not None and spec.origin is not None
    return any(name in path.read_text() for path in Path(spec.origin).parent.rglob("*.py"))


# Python and TOML


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.file or f"{block.page}:{block.line}")
def test_python_runs(block: Block, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each block alone, as a reader copies it; those that print, print numbers, and what the page shows. Pictures are
    not drawn: a command draws them, from the same call."""
    text = block.text if block.output else re.sub(r"\brounds=\d+", "rounds=1", block.text)
    with undrawn(), fewer_images():
        exec(compile(text, f"{block.page}:{block.line}", "exec"), {})
    printed = capsys.readouterr().out
    assert block.file or ("print(" in block.text) == bool(re.search(r"\d", printed))
    assert not block.output or printed == block.output


def test_presets_load(here: Path) -> None:
    files = {block.file: tomllib.loads(block.text) for block in blocks("toml")}
    by_codec = {
        "layers.toml": "Chain(ClipNorm(norm=1.0), GaussianNoise(std=0.8), ErrorFeedback(codec=TopK(keep=0.05)))"
    }
    by_codec["by_layer.toml"] = "PerLayer({'*.weight': Int8(block=256)}, default=FP16())"
    others = {"my_preset.toml", "along.toml", "codecs.toml", "mine.toml", "steady.toml", "config.toml", "shifted.toml"}
    others.add("floor.toml")
    assert files.keys() == {*others, *by_codec}
    assert {file: repr(load_experiment(file).up_codec) for file in by_codec} == by_codec
    # Flower's; what its keys do is tried by tests/runtime, which writes the same.
    assert files["config.toml"] == {"superlink": {"lab": {"address": "127.0.0.1:8000", "insecure": True}}}
    assert load_experiment("my_preset.toml").name == "mine"
    assert [type(one).__name__ for one in load_experiment("shifted.toml").augment] == ["RandomShift", "Jitter"]
    assert files["floor.toml"]["run"] == {"baseline": True, "picture": "scores.png"}
    assert load_experiment("floor.toml").rounds == 5 and load_experiment("codecs.toml").rounds == 10
    axis = sweep_of(files["along.toml"]["compare"]).axis
    assert axis is not None and axis.values == (10.0, 1.0, 0.1) and len(axis.algorithms(0.1)) == 2
    assert "optimizer=Warmup(rounds=3" in repr(load_experiment("steady.toml").algorithm)
    assert repr(load_experiment("mine.toml").algorithm) == "MyMethod(lr=0.05, epochs=5, prox=0.05)"


def test_my_method_is_fedper_without_its_term_and_another_with_it(here: Path) -> None:
    """prox=0 adds a zero gradient; with prox the trunk stays nearer to where it was."""
    settings = ["rounds=1", "runtime=InProcess", "engine=loop", "data.clients=4", "batch_size=16", "algorithm.epochs=2"]

    def trunk(algorithm: str, *more: str) -> dict[str, torch.Tensor]:
        return run(
            load_experiment("digits", [f"algorithm={algorithm}", "algorithm.lr=0.05", *settings, *more], ["my_method"])
        ).state

    mine, fedper, first = trunk("my_method:MyMethod", "algorithm.prox=0.0"), trunk("FedPer"), first_trunk(settings)
    near = trunk("my_method:MyMethod", "algorithm.prox=1.0")
    for name, value in fedper.items():
        assert torch.equal(mine[name], value)
        assert float((near[name] - first[name]).norm()) < 0.99 * float((value - first[name]).norm())


def first_trunk(settings: list[str]) -> dict[str, Any]:
    experiment = load_experiment("digits", settings)
    return dict(experiment.make_plan(experiment.load()).initial)


def test_my_model_fits(here: Path) -> None:
    experiment = load_experiment("digits", ["model=my_model:Tanh", "data.clients=4"], ["my_model"])
    assert experiment.make_plan(experiment.load()).initial["trunk.1.weight"].shape == (32, 64)


# Tables, numbers and links


def test_table_of_files(here: Path) -> None:
    """A run folder, without what the report adds."""
    report = {".png", ".pdf", ".svg", ".tex", ".md", ".csv"}
    files = (here / "runs" / "first").iterdir()
    there = {path for path in files if path.suffix not in report or path.name == "size.csv"}
    assert {row[0] for row in table("file")} == {path.name + "/" * path.is_dir() for path in there}
    assert load_experiment(here / "runs" / "first" / "experiment.toml").rounds == 1


def rows(here: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (here / "runs" / "first" / name).read_text().splitlines()]


def test_tables_of_fields(here: Path) -> None:
    tables = re.findall(r"^\| field \|.*\n\| ---.*\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    for text, name in zip(tables, ("rounds.jsonl", "training.jsonl", "ledger.jsonl", ""), strict=True):
        named = [field for line in text.splitlines() for field in re.findall(r"`(\w+)`", line.split("|")[1])]
        if name == "ledger.jsonl":
            named.remove("ideal_bits")  # a column of runs with a codec that has a model of them
        assert named == (list(rows(here, name)[0]) if name else list(ByteRow._fields))


def test_numbers(here: Path) -> None:
    """The packet of the trunk of digits, and who owns what there."""
    sizes = {row["packet_bytes"] for row in rows(here, "ledger.jsonl") if row["direction"] == "down"}
    assert sizes == {16_672} == {4 * 4_160 + 32} and "4 × 4,160 + 32 = 16,672 bytes" in TEXT
    federation = load_experiment("digits").load()
    examples = sum(len(data.train.x) + len(data.test.x) for data in federation.clients.values())
    owned = {len(data.tasks) for data in federation.clients.values()}
    assert (examples, len(federation.clients), owned) == (1797, 20, {1, 2, 3, 4})
    assert "1797 images" in TEXT and "20 clients" in TEXT and "one to four of the tasks" in TEXT
    assert Experiment().runtime == Ray(workers=2) and "`workers` actors (2)" in TEXT


def test_table_of_algorithms() -> None:
    """All of them, each with the paper that its own file names, and what its traits declare to be sent and kept; the
    contract test holds payloads and states to these."""
    assert methods_table.PAGE.read_text(encoding="utf-8") == methods_table.written(), (
        "run python -m tests.methods_table"
    )
    assert [row[0] for row in table("algorithm")] == list(REGISTRY["algorithm"])


def check_names(kind: str, rows: list[list[str]], least: int) -> None:
    """The first cells are registered names, each once, and all that fedmtl had when the page was written.

    A component that was added since is in ``fedmtl list`` by its one line, and needs no row.
    """
    names = [row[0].split("(")[0] for row in rows]
    assert set(names) <= set(REGISTRY[kind]) and len(set(names)) == len(names) >= least


def test_table_of_codecs() -> None:
    """Bits are measured on 100,000 numbers; they do not depend on which."""
    size = 100_000
    x = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    codec_rows = table("codec")
    check_names("codec", codec_rows, 5)
    for text, bits, biased, use in codec_rows:
        codec = make("codec", text)
        assert repr(codec) == text  # with its defaults
        assert (biased == "no") == codec.traits.unbiased
        assert (use == "uploads") == codec.traits.keeps_errors
        assert (use == "both, as differences") == (codec.traits.delta_only and not codec.traits.keeps_errors)
        assert ("lossless" in use) == codec.traits.lossless
        if codec.traits.by_layout:
            stated = stated_bytes(codec, layout_of([("trunk/0.weight", (40, 30))])).typical
            assert bits == "32 r (m + n) / (m n) of an m × n matrix" and 8 * stated == 32 * codec.rank * (40 + 30)
            continue
        data, _ = codec.encode(x, codec.init(size), np.random.default_rng(0))
        assert float(bits) == round(8 * len(data) / size, len(bits.partition(".")[2]))


def test_table_of_optimizers() -> None:
    """All of them, each with its defaults."""
    texts = [row[0] for row in table("optimizer")]
    check_names("optimizer", table("optimizer"), 8)
    assert all(repr(make("optimizer", text)) == text for text in texts)


@pytest.mark.parametrize(("kind", "least"), [("weighting", 7), ("task", 4)])
def test_tables_of_names(kind: str, least: int) -> None:
    """Each is a line that a preset can have."""
    texts = [row[0] for row in table(kind)]
    check_names(kind, table(kind), least)
    assert all(type(make(kind, text)).__name__ == text.split("(")[0] for text in texts)


def test_tables_of_data_and_presets() -> None:
    check_names("data", table("data set"), 3)
    assert {row[0] for row in table("preset")} == {path.stem for path in ROOT.glob("simulations/presets/*.toml")}
    check_names("callback", table("callback"), 3)


@pytest.mark.parametrize("kind", REGISTRY)
def test_each_kind_of_component_has_a_page(kind: str) -> None:
    """In the folder of its components; it says how to write one and how to add it."""
    (folder,) = {find(kind, component).__module__.split(".")[1] for component in REGISTRY[kind]}
    page = PAGES[ROOT / "fedmtl" / folder / "README.md"]
    assert re.search(r"^## Your own ", page, re.MULTILINE) and "(../registry/README.md#registration)" in page
    assert f"[`{folder}/`]({folder}/README.md)" in PAGES[MAP]


def test_rooms() -> None:
    """Each room of the floors has its row on the map of the code."""
    rooms = [room for row in re.findall(r"^\| ((?:`\w+` ?)+)\|", PAGES[MAP], re.MULTILINE) for room in row.split()]
    floors = [part for floor in FLOORS for part in floor if (ROOT / "fedmtl" / part).is_dir()]
    assert sorted(room.strip("`") for room in rooms) == sorted(floors)


def test_floors() -> None:
    (text,) = re.findall(r"^    core .*\n(?:        <.*\n)+", TEXT, re.MULTILINE)
    floors = [floor.split() for floor in text.split("<")]
    assert floors == FLOORS


def anchors(text: str) -> set[str]:
    """The anchors of headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


each_page = pytest.mark.parametrize("page", PAGES, ids=name)


@each_page
def test_links_exist(page: Path) -> None:
    """Relative ones, and those to the project's own files wherever it is published."""
    text = PAGES[page]
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\[\w+\]: (\S+)$", text, re.MULTILINE)
    for link in links:
        own = re.fullmatch(rf"{REPOSITORY}/blob/main/(.*)|{RAW}/main/(.*)", link)
        if own is None and "://" in link:
            continue
        file, _, anchor = (link if own is None else own[1] or own[2]).partition("#")
        target = page if not file else ((page.parent if own is None else ROOT) / file).resolve()
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link
    defined = set(re.findall(r"^\[(\w+)\]: ", text, re.MULTILINE))
    assert defined == set(re.findall(r"\]\[(\w+)\]", text))


@each_page
def test_files_exist(page: Path) -> None:
    """Files and folders between backticks and in pictures, from the project's folder, the page's or one below it."""
    text = PAGES[page]
    pictures = "".join(block.text for block in blocks("text") if block.page == name(page))
    paths = re.findall(r"`((?:fedmtl|simulations|tests)/[\w./]+)`", text)
    paths += re.findall(r"`([\w/]+\.py)`", text) + re.findall(r"[\w/]+\.py", pictures)
    paths += re.findall(r"`([a-z_]+/(?:[a-z_]+/)*)`", text) if page == MAP else []
    shown = {block.file for block in (*blocks("python"), *blocks("toml"))}
    places = [ROOT, ROOT / "simulations", ROOT / "fedmtl", page.parent, *page.parent.glob("*/")]
    assert [path for path in paths if path not in shown and not any((place / path).exists() for place in places)] == []


@each_page
def test_lines_are_not_long(page: Path) -> None:
    assert [line for line in PAGES[page].splitlines() if len(line) > 120 and not line.startswith("|")] == []


# README


def test_readme_is_short_and_shows_on_a_package_index() -> None:
    """Its links and pictures are absolute, since an index has no files beside it."""
    readme = PAGES[ROOT / "README.md"]
    assert len(readme.splitlines()) <= 250
    links = re.findall(r"\]\(([^)]+)\)", readme) + re.findall(r"^\[\w+\]: (\S+)$", readme, re.MULTILINE)
    assert links and [link for link in links if not link.startswith("https://")] == []
    assert f"]({RAW}/main/simulations/pictures/sharing.png)" in readme


def test_citation_is_of_this_version() -> None:
    (entry,) = [block.text for block in blocks("bibtex")]
    fields = dict(re.findall(r"^  (\w+) += \{(.*)\},?$", entry, re.MULTILINE))
    assert fields["version"] == PROJECT["project"]["version"] and fields["url"] == REPOSITORY
    assert entry.startswith("@software{fedmtl,\n") and {"title", "author", "year"} < fields.keys()


def test_readme_names_the_command_of_the_checks() -> None:
    called = re.findall(r"^(make \w+) ", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert called == ["make test", "make lint"] and all(
        f"`{command}`" in PAGES[ROOT / "README.md"] for command in called
    )

"""Names for components: words, calls, tables and import paths, and what is said when they are wrong."""

import dataclasses
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmtl.algorithms import FedAvg, FedAvgM, FedPer, FedRep
from fedmtl.codecs import FP16, Chain, Dense, ErrorFeedback, Int8, PerLayer, TopK
from fedmtl.codecs.transforms import ClipNorm, GaussianNoise
from fedmtl.core.field_types import check_type
from fedmtl.data import Digits, Synthetic
from fedmtl.models import CNN, MLP
from fedmtl.optimizers import SGD, AdamW, Clip, Cosine, Momentum, StepDecay, Warmup, WeightDecay
from fedmtl.registry.allowed import Allowed
from fedmtl.registry.components import REGISTRY, describe, find, make, missing_methods
from fedmtl.tasks import MultiClass, Regression

ALL = [(kind, name) for kind, names in REGISTRY.items() for name in names]

CHAIN = Chain(ClipNorm(2.0), GaussianNoise(0.1), TopK(0.1))
LAYERS = PerLayer({"trunk.0.*": Int8(), "*.norm*": Chain(ClipNorm(), FP16())}, default=TopK(0.1))

OBJECTS: list[tuple[str, Any]] = [
    ("algorithm", FedPer()),
    ("algorithm", FedRep(lr=1, head_epochs=2, trunk_epochs=3)),
    ("algorithm", FedPer(lr=0.05, optimizer=Clip(norm=1.0, optimizer=Momentum(beta=0.9, nesterov=True)))),
    ("algorithm", FedAvgM(FedAvg(optimizer=Warmup(optimizer=Cosine(optimizer=AdamW()))))),
    ("optimizer", SGD()),
    ("optimizer", StepDecay(every=7, factor=0.25, optimizer=WeightDecay(rate=0.125))),
    ("codec", Dense()),
    ("codec", Int8(block=7)),
    ("codec", TopK(keep=0.125)),
    ("codec", ErrorFeedback()),
    ("codec", ErrorFeedback(codec=TopK(keep=0.01))),
    ("codec", ErrorFeedback(codec=FP16())),
    ("codec", CHAIN),
    ("codec", LAYERS),
    ("codec", Chain(ClipNorm(), LAYERS)),
    ("transform", ClipNorm(norm=0.25)),
    ("model", MLP()),
    ("model", MLP(hidden=(3, 4, 5))),
    ("model", CNN(channels=(4,), hidden=9)),
    ("data", Digits(clients=3)),
    ("data", Synthetic(kind="mixed", noise=0.5, ragged=True)),
    ("task", MultiClass(num_classes=5)),
    ("task", Regression(mean=-1.5, std=2.0)),
]


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of a user's own, importable."""
    name = "users_parts"
    (tmp_path / f"{name}.py").write_text(
        "from dataclasses import dataclass\n"
        "from fedmtl.codecs import CodecTraits, Dense\n"
        "\n"
        "class Plain:\n"
        "    traits = CodecTraits()\n"
        "    def __init__(self, keep=0.5): self.keep = keep\n"
        "    def init(self, size): return None\n"
        "    def encode(self, x, state, rng): return b'', None\n"
        "    def decode(self, data, size): return None\n"
        "\n"
        "@dataclass(frozen=True)\n"
        "class Words:\n"
        "    data: str = 'a'\n"
        "    task: str = 'age'\n"
        "    model: int = 3\n"
        "    def load(self, seed): return None\n"
        "\n"
        "def careful(keep=0.01): raise SystemExit('a function was called')\n"
        "\n"
        "READY = Dense()\n"
        "NUMBER = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


USERS = Allowed(modules=("users_parts",))


# Finding


@pytest.mark.parametrize(("kind", "name"), ALL, ids=lambda value: str(value))
def test_every_registered_name_is_a_component_of_its_kind(kind: str, name: str) -> None:
    cls = find(kind, name)
    assert dataclasses.is_dataclass(cls) and isinstance(cls, type)
    assert missing_methods(kind, cls) == []
    assert cls.__name__.lower() == name.lower()


@pytest.mark.parametrize(
    ("kind", "spellings", "cls"),
    [
        ("algorithm", ["FedPer", "fedper", "FEDPER", "fed-per", "Fed_Per"], FedPer),
        ("codec", ["ErrorFeedback", "errorfeedback", "error-feedback", "error_feedback"], ErrorFeedback),
        ("data", ["digits", "Digits", "DIGITS"], Digits),
        ("codec", ["fedmtl.codecs.topk:TopK", "fedmtl.codecs:TopK"], TopK),
    ],
)
def test_case_hyphens_and_underscores_do_not_matter(kind: str, spellings: list[str], cls: type) -> None:
    assert all(find(kind, spelling) is cls for spelling in spellings)


# Making


@pytest.mark.parametrize(("kind", "component"), OBJECTS, ids=lambda value: repr(value))
def test_a_component_comes_back_from_its_table_and_from_its_repr(kind: str, component: Any) -> None:
    assert make(kind, component) is component
    assert make(kind, describe(kind, component)) == component
    assert make(kind, repr(component)) == component


@pytest.mark.parametrize(
    ("kind", "value", "component"),
    [
        ("algorithm", "FedPer", FedPer()),
        ("algorithm", " FedPer ", FedPer()),
        ("algorithm", "FedPer()", FedPer()),
        ("algorithm", "fedper(lr=0.05)", FedPer(lr=0.05)),
        ("algorithm", "fedper( lr = 5e-2, epochs=2 )", FedPer(lr=0.05, epochs=2)),
        ("algorithm", {"name": "fed-per", "lr": 1}, FedPer(lr=1)),
        ("algorithm", "fedmtl.algorithms.fedper:FedPer(lr=0.05)", FedPer(lr=0.05)),
        ("algorithm", "FedPer(optimizer=Momentum)", FedPer(optimizer=Momentum())),
        (
            "algorithm",
            "FedPer(lr=0.05, optimizer=Clip(norm=1.0, optimizer=Momentum(beta=0.9)))",
            FedPer(lr=0.05, optimizer=Clip(1.0, Momentum(0.9))),
        ),
        (
            "algorithm",
            {"name": "FedPer", "optimizer": {"name": "Cosine", "rounds": 4, "optimizer": {"name": "adamw"}}},
            FedPer(optimizer=Cosine(4, optimizer=AdamW())),
        ),
        (
            "optimizer",
            {"name": "step-decay", "every": 3, "optimizer": "weight_decay"},
            StepDecay(3, 0.5, WeightDecay()),
        ),
        ("codec", "ErrorFeedback(codec=TopK(keep=0.1))", ErrorFeedback(TopK(0.1))),
        ("codec", "ErrorFeedback(codec=topk)", ErrorFeedback(TopK())),
        ("codec", "ErrorFeedback(codec='TopK(keep=0.1)')", ErrorFeedback(TopK(0.1))),
        ("codec", {"name": "ErrorFeedback", "codec": {"name": "TopK", "keep": 0.1}}, ErrorFeedback(TopK(0.1))),
        ("codec", {"name": "ErrorFeedback", "codec": "topk(keep=0.1)"}, ErrorFeedback(TopK(0.1))),
        ("algorithm", "fedper(0.05, 2)", FedPer(lr=0.05, epochs=2)),
        (
            "algorithm",
            "FedPer(0.05, optimizer=Clip(1.0, Momentum(0.9)))",
            FedPer(0.05, optimizer=Clip(1.0, Momentum(0.9))),
        ),
        ("codec", "ErrorFeedback(TopK(0.1))", ErrorFeedback(TopK(0.1))),
        ("codec", {"name": "ErrorFeedback", "codec": "topk(0.1)"}, ErrorFeedback(TopK(0.1))),
        ("codec", ["ClipNorm(2.0)", GaussianNoise(0.1), {"name": "TopK", "keep": 0.1}], CHAIN),
        ("codec", "[ClipNorm(2.0), GaussianNoise(0.1), 'TopK(keep=0.1)']", CHAIN),
        ("codec", "Chain(clip_norm(2.0), GaussianNoise(0.1), TopK(0.1))", CHAIN),
        ("codec", {"name": "chain", "parts": ["ClipNorm(2.0)", "GaussianNoise(0.1)", "TopK(0.1)"]}, CHAIN),
        ("codec", ["TopK(0.1)"], TopK(0.1)),
        ("codec", "ClipNorm(2.0)", Chain(ClipNorm(2.0), Dense())),
        ("codec", ClipNorm(2.0), Chain(ClipNorm(2.0), Dense())),
        ("codec", "PerLayer({'trunk.0.*': Int8(), '*.norm*': ['ClipNorm', 'FP16']}, default='TopK(0.1)')", LAYERS),
        ("codec", PerLayer({"trunk.0.*": "Int8()", "*.norm*": "Chain(ClipNorm, FP16)"}, default="TopK(0.1)"), LAYERS),
        (
            "codec",
            {
                "name": "PerLayer",
                "layers": {"trunk.0.*": "Int8", "*.norm*": {"name": "Chain", "parts": ["ClipNorm", "FP16()"]}},
                "default": {"name": "TopK", "keep": 0.1},
            },
            LAYERS,
        ),
        ("transform", "ClipNorm(2.0)", ClipNorm(2.0)),
        ("model", "MLP(hidden=(3, 4))", MLP((3, 4))),
        ("model", "MLP((3, 4))", MLP((3, 4))),
        ("model", "MLP(hidden=[3, 4])", MLP((3, 4))),
        ("model", {"name": "MLP", "hidden": [3, 4]}, MLP((3, 4))),
        ("data", "Synthetic(kind='binary', noise=0, ragged=True)", Synthetic(kind="binary", noise=0, ragged=True)),
        ("task", "Regression(mean=-1.5)", Regression(mean=-1.5)),
    ],
)
def test_words_calls_and_tables(kind: str, value: Any, component: Any) -> None:
    assert make(kind, value) == component


def test_a_users_own_is_named_by_import_path(user_module: str) -> None:
    assert make("codec", f"{user_module}:Plain", USERS).keep == 0.5
    assert make("codec", f"{user_module}:Plain(keep=0.25)", USERS).keep == 0.25
    assert make("codec", {"name": f"{user_module}:Plain", "keep": 0.25}, USERS).keep == 0.25
    wrapped = make("codec", {"name": "ErrorFeedback", "codec": {"name": f"{user_module}:Plain", "keep": 0.25}}, USERS)
    assert wrapped.codec.keep == 0.25


def test_a_function_is_no_component_and_is_not_called(user_module: str) -> None:
    for call in (f"{user_module}:careful", f"{user_module}:careful(keep=0.02)"):
        with pytest.raises(ValueError, match="has no 'careful' that is a component; .* a class, or an object of one"):
            make("codec", call, USERS)


def test_an_object_that_is_a_component_is_taken_as_it_is(user_module: str) -> None:
    assert make("codec", f"{user_module}:READY", USERS) == Dense()
    with pytest.raises(ValueError, match="is an object and takes no fields, got .'keep'."):
        make("codec", f"{user_module}:READY(keep=1)", USERS)


def test_fields_of_plain_types_stay_plain_whatever_they_are_called(user_module: str) -> None:
    """``task: str`` of somebody's data set is a text, and not the name of one of this library's tasks."""
    got = make("data", {"name": f"{user_module}:Words", "task": "height", "data": "b"}, USERS)
    assert (got.task, got.data, got.model) == ("height", "b", 3)
    assert make("data", describe("data", got), USERS) == got


# Describing


def test_tables_hold_every_field_as_a_plain_value() -> None:
    assert describe("codec", ErrorFeedback(TopK(0.01))) == {
        "name": "ErrorFeedback",
        "codec": {"name": "TopK", "keep": 0.01},
    }
    assert describe("model", CNN((4, 8), 9)) == {"name": "CNN", "channels": [4, 8], "hidden": 9}


def test_a_users_own_is_described_by_its_import_path(user_module: str) -> None:
    words = find("data", f"{user_module}:Words", USERS)()
    assert describe("data", words)["name"] == f"{user_module}:Words"


@dataclasses.dataclass(frozen=True, eq=False)
class Holder:
    """A data set with what no file can hold."""

    x: Any = dataclasses.field(default_factory=lambda: np.zeros(3))

    def load(self, seed: int) -> None:
        return None


def test_what_no_file_can_hold_says_so_and_is_not_made_from_one(user_module: str) -> None:
    for kind, component in (("data", Holder()), ("codec", make("codec", f"{user_module}:Plain", USERS))):
        table = describe(kind, component)
        assert set(table) == {"name", "passed_as_object"}
        with pytest.raises(
            ValueError, match="passed as an object.*cannot be made from a file; pass it again from Python"
        ):
            make(kind, table)


# Refusals


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        # Names
        ("algorithm", "FedNope", r"Unknown algorithm 'FedNope'; known: Local, .*'package.module:Name'"),
        ("codec", "FedPer", "Unknown codec 'FedPer'; known: Dense"),
        ("algorithm", "", "Unknown algorithm ''"),
        ("algorithm", {"lr": 0.1}, "A table for algorithm needs a name, such as name = 'Local', got .'lr': 0.1."),
        ("algorithm", {"name": 3}, "needs a name"),
        (
            "model",
            "no_such_module:X",
            "no module 'no_such_module' may be imported: .* allowed by --allow no_such_module",
        ),
        ("model", "no_such.module:X", "no module 'no_such.module' may be imported"),
        ("model", "fedmtl.models:Nope", "module fedmtl.models has no 'Nope'"),
        ("model", ":X", "':X'"),
        # Fields
        ("algorithm", "FedPer(rate=0.1)", "algorithm 'FedPer' has no field 'rate'; its fields are lr, epochs"),
        ("algorithm", {"name": "FedPer", "rate": 1}, "has no field 'rate'"),
        ("codec", "Dense(bits=3)", "codec 'Dense' has no field 'bits'; its fields are none"),
        ("codec", {"name": "ErrorFeedback", "codec": {"name": "TopK", "kep": 1}}, "'TopK' has no field 'kep'"),
        ("codec", {"name": "ErrorFeedback", "codec": "TopKK"}, "Unknown codec 'TopKK'"),
        # Types
        ("algorithm", "FedPer(lr='fast')", "algorithm 'FedPer': lr is a number, got 'fast'"),
        ("algorithm", "FedPer(lr=fast)", "lr is a number, got 'fast'"),
        ("algorithm", "FedPer(epochs=2.5)", "epochs is a whole number, got 2.5"),
        ("algorithm", "FedPer(epochs=True)", "epochs is a whole number, got True"),
        ("data", "Synthetic(ragged=1)", "ragged is true or false, got 1"),
        ("data", "Synthetic(kind=3)", "kind is a text, got 3"),
        ("model", {"name": "MLP", "hidden": 64}, "hidden.*64"),
        ("model", {"name": "MLP", "hidden": "64"}, "hidden.*'64'"),
        ("model", {"name": "MLP", "hidden": [6.5]}, "hidden.*6.5"),
        ("model", {"name": "MLP", "hidden": ["a"]}, "hidden.*'a'"),
        ("model", {"name": "CNN", "channels": 8}, "channels.*8"),
        ("algorithm", "FedPer(optimizer=3)", "FedPer needs an optimizer such as SGD.*got optimizer=3"),
        ("algorithm", "FedPer(optimizer=Adagrad)", "Unknown optimizer 'Adagrad'; known: SGD, Momentum, AdamW"),
        ("algorithm", "FedPer(optimizer=Clip(norm='1'))", "optimizer 'Clip': norm is a number, got '1'"),
        ("algorithm", "Scaffold(optimizer=SGD)", "algorithm 'Scaffold' has no field 'optimizer'"),
        ("optimizer", SGD, "An optimizer has the methods init, direction; .* a class; give an instance"),
        ("codec", "ErrorFeedback(codec=3)", "wraps a codec such as TopK.keep=0.05., got 3"),
        # Values
        ("codec", "TopK(keep=2)", r"TopK keeps a fraction in \(0, 1\], got keep=2"),
        ("codec", "ErrorFeedback(codec=Int8)", "got Int8.block=256., which is unbiased; use it bare"),
        # Calls
        (
            "algorithm",
            "FedPer(*(0.1,))",
            r"written like Local\(field=value\), got 'FedPer\(\*\(0.1,\)\)' \(values and keyword arguments only\)",
        ),
        ("algorithm", "FedPer(**{'lr': 1})", "keyword arguments only"),
        ("algorithm", "FedPer(0.1, lr=0.2)", "lr is given twice, by its place and by its name; give it once"),
        ("codec", "TopK(0.1, 0.2)", r"codec 'TopK' has 1 field.s., keep, got 2 values: \[0.1, 0.2\]"),
        # Chains and layers
        ("codec", [], "A chain has at least one part, got none; write"),
        ("codec", "Chain()", "A chain has at least one part, got none; write"),
        ("codec", ["ClipNorn(1.0)", "Dense"], "Unknown codec 'ClipNorn'; known: .*Did you mean ClipNorm"),
        (
            "codec",
            ["GaussianNoise(0.1)", "ClipNorm(1.0)"],
            "GaussianNoise.* comes before ClipNorm.*put the clipping first",
        ),
        ("codec", ["ErrorFeedback", "ClipNorm(1.0)"], "ClipNorm.* follows ErrorFeedback.*breaks it.*to the end"),
        ("codec", ["ClipNorm(1.0)", "ErrorFeedback"], "longer than its bound; clip inside it, .*GaussianNoise between"),
        ("codec", ["Int8", "TopK"], "A chain ends in its codec, but TopK.* follows Int8.*move Int8.* to the end"),
        ("codec", ["ClipNorm(0)", "TopK"], "ClipNorm takes a finite number, positive, got norm=0"),
        ("codec", ["ClipNorm", 3], "Expected a codec, or a transform before one, got 3"),
        ("codec", "ErrorFeedback(Chain(GaussianNoise(1.0), TopK))", "take back .* the noise"),
        ("codec", "PerLayer(3)", "codec: layers is a table, such as .*, got 3"),
        ("codec", "PerLayer({'a': 3})", "Expected a codec, .*got 3"),
        ("codec", "PerLayer({'': Int8()})", "PerLayer takes globs over names, each once, .*got ''"),
        ("codec", "PerLayer({'a': Chain(ServerGaussianNoise(1.0), Dense())})", "put it before PerLayer"),
        ("codec", "PerLayer({'a': PerLayer()})", "takes a codec of one vector, got PerLayer.*write one PerLayer"),
        ("algorithm", "FedPer(lr=0.1", "is written like"),
        ("algorithm", "FedPer(lr=0.1))", "is written like"),
        ("algorithm", "FedPer(lr=0.1, lr=0.2)", "is written like"),
        ("algorithm", "FedPer(lr=)", "is written like"),
        ("algorithm", "FedPer(lr=1+)", "is written like"),
        ("algorithm", "FedPer(lr=0.1) or 1", "is written like"),
        ("algorithm", "FedPer(lr=[i for i in (1,)])", "is written like"),
        # Objects
        ("algorithm", Dense(), "An? algorithm has the methods init_server, .*; got Dense.., without init_server"),
        ("codec", FedPer, "a class; give an instance"),
        ("algorithm", None, "got None, without"),
        ("algorithm", 5, "got 5, without"),
        ("algorithm", ["FedPer"], r"got \['FedPer'\], without"),
        ("algorithm", "math:pi", "no module 'math' may be imported"),
    ],
)
def test_refuses_and_names_the_value_the_rule_and_the_way_out(kind: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(kind, value)


def test_nothing_in_a_call_is_run() -> None:
    """Arguments are values or names of components, never expressions."""
    with pytest.raises(ValueError):
        make("algorithm", "FedPer(lr=__import__('sys').setrecursionlimit(7))")
    assert sys.getrecursionlimit() > 7


def test_a_users_module_without_the_methods_is_refused(user_module: str) -> None:
    with pytest.raises(ValueError, match="has no 'NUMBER' that is a component; .* the methods init, encode, decode"):
        make("codec", f"{user_module}:NUMBER", USERS)
    with pytest.raises(ValueError, match="is without load"):
        make("data", f"{user_module}:Plain", USERS)
    assert user_module not in sys.modules  # its source was enough


def test_what_a_users_module_lacks_itself_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "users_broken.py").write_text(
        "import a_package_that_is_not_there\nclass X:\n    init = encode = decode = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="no module 'a_package_that_is_not_there'"):
        make("codec", "users_broken:X", Allowed(modules=("users_broken",)))


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (int, [0, -3], [1.0, True, "1", None]),
        (float, [0.5, 1, -2, math.inf], [True, "0.5", None]),
        (bool, [True, False], [0, 1, "true"]),
        (str, ["", "a"], [1, None]),
        (int | float, [1, 0.5], [True, "1"]),
        (int | None, [1, None], [1.5, "none", False]),
        (tuple[int, ...], [(1, 2)], []),
        (Any, [object()], []),
    ],
)
def test_plain_types(hint: Any, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        check_type("x", value, hint)
    for value in bad:
        with pytest.raises(ValueError, match="x is "):
            check_type("x", value, hint)

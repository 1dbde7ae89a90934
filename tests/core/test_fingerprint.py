"""Fingerprints: equal for equal content in every process, unlike for everything else."""

import functools
import os
import subprocess
import sys
import threading
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fedmtl.core.fingerprint import NoFingerprint, fingerprint, parts
from fedmtl.models import MLP
from fedmtl.optimizers import SGD

RATE = 0.1
TABLE = np.arange(3.0)


@dataclass(frozen=True)
class Point:
    x: Any = 0
    y: Any = field(default_factory=dict)


class Plain:
    def __init__(self, *values: Any) -> None:
        self.values = list(values)

    @functools.cached_property
    def total(self) -> int:
        return len(self.values)


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b


class Stated:
    def __init__(self, kept: int) -> None:
        self.kept, self.lock = kept, threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"kept": self.kept}


class Own:
    def __init__(self, kept: int) -> None:
        self.kept, self.lock = kept, threading.Lock()

    def fingerprint(self) -> Any:
        return {"kept": self.kept}


class Colour(Enum):
    RED = 1
    BLUE = 2


Pair = namedtuple("Pair", "a b")  # noqa: PYI024


def scaled(factor: float) -> Callable[[float], float]:
    return lambda x: factor * x


def uses_a_global(x: float) -> float:
    return RATE * x


def linear(bias: float) -> nn.Module:
    module = nn.Linear(2, 1)
    with torch.no_grad():
        module.weight.fill_(1.0)
        module.bias.fill_(bias)
    return module


MAKERS: dict[str, list[Callable[[], Any]]] = {
    "plain values": [
        lambda v=v: v for v in (None, True, 1, 1.0, 1j, "1", b"1", ..., range(1), -0.0, 0.0, float("nan"))
    ],
    "containers": [
        lambda: [],
        lambda: (),
        lambda: {},
        lambda: set(),
        lambda: [1, 2],
        lambda: [2, 1],
        lambda: [[1], 2],
        lambda: [1, [2]],
        lambda: {"a": 1, "b": 2},
        lambda: {"a": 2, "b": 1},
        lambda: {1, 2, 3},
        lambda: {"red", "green", "blue"},
        lambda: frozenset({1, 2, 3}),
        lambda: defaultdict(list, a=1),
        lambda: Pair(1, 2),
        lambda: ["ab", "c"],
        lambda: ["a", "bc"],
        lambda: bytearray(b"x"),
    ],
    "arrays": [
        lambda: np.zeros(4, np.float32),
        lambda: np.zeros(4, np.float64),
        lambda: np.zeros((2, 2), np.float32),
        lambda: np.array([0, 0, 0, 1e-30], np.float32),
        lambda: np.arange(12.0).reshape(3, 4),
        lambda: np.arange(12.0).reshape(3, 4).T,
        lambda: np.array(["a", None, 1], object),
        lambda: np.array(["a", None, 2], object),
        lambda: np.zeros(0),
        lambda: np.float32(1),
        lambda: np.float64(1),
        lambda: np.dtype("f4"),
        lambda: torch.zeros(4),
        lambda: torch.zeros(4, dtype=torch.bfloat16),
        lambda: torch.ones(2, 3).T,
        lambda: torch.tensor(1.0),
        lambda: torch.zeros(0),
        lambda: torch.float32,
        lambda: np.random.default_rng(0),
        lambda: np.random.default_rng(1),
    ],
    "objects": [
        lambda: Point(),
        lambda: Point(1),
        lambda: Point(np.arange(3)),
        lambda: Point(np.arange(4)),
        lambda: Point(y={"deep": [Point(torch.ones(2))]}),
        lambda: Point(y={"deep": [Point(torch.zeros(2))]}),
        lambda: Plain(),
        lambda: Plain(1),
        lambda: Plain(Plain(1)),
        lambda: Slotted(1, 2),
        lambda: Slotted(2, 1),
        lambda: Stated(1),
        lambda: Stated(2),
        lambda: Own(1),
        lambda: Own(2),
        lambda: Colour.RED,
        lambda: Colour.BLUE,
        lambda: MLP((3,)),
        lambda: MLP((4,)),
        lambda: SGD(),
        lambda: linear(0.0),
        lambda: linear(1.0),
        lambda: functools.partial(scaled, 1.0),
        lambda: functools.partial(scaled, 2.0),
    ],
    "code": [
        lambda: scaled(1.0),
        lambda: scaled(2.0),
        lambda: scaled,
        lambda: lambda x: x + 1,
        lambda: lambda x: x - 1,
        lambda: lambda x, y=1: x + y,
        lambda: lambda x, y=2: x + y,
        lambda: lambda x: [i + 1 for i in x],
        lambda: lambda x: [i + 2 for i in x],
        lambda: Plain,
        lambda: Point,
        lambda: np.linalg.norm,
        lambda: len,
        lambda: os,
        lambda: Plain(1).__init__,
        lambda: "x".upper,
    ],
}
ALL = [maker for makers in MAKERS.values() for maker in makers]


@pytest.mark.parametrize("kind", MAKERS)
def test_equal_content_has_equal_fingerprints_and_other_content_others(kind: str) -> None:
    found = [fingerprint(maker()) for maker in MAKERS[kind]]
    assert found == [fingerprint(maker()) for maker in MAKERS[kind]]
    assert len(set(found)) == len(found)


def test_all_kinds_are_apart() -> None:
    found = [fingerprint(maker()) for maker in ALL]
    assert len(set(found)) == len(found) and all(len(each) == 32 for each in found)


def test_every_process_finds_the_same() -> None:
    """Under another seed of Python's hashes, where sets of texts have another order, and at other addresses."""
    code = "import tests.core.test_fingerprint as t; print(*[t.fingerprint(maker()) for maker in t.ALL])"
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == " ".join(fingerprint(maker()) for maker in ALL) + "\n"


def test_the_layout_of_memory_and_the_order_of_a_table_are_no_content() -> None:
    rows = np.arange(12.0).reshape(3, 4)
    assert fingerprint(rows) == fingerprint(np.asfortranarray(rows)) == fingerprint(rows[::-1][::-1])
    assert fingerprint(torch.ones(2, 3).T) == fingerprint(torch.ones(3, 2))
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint(OrderedDict(a=1)) == fingerprint(OrderedDict(a=1))


def test_what_is_worked_out_once_and_remembered_is_no_content() -> None:
    one, other = Plain(1), Plain(1)
    assert one.total == 1
    assert fingerprint(one) == fingerprint(other) and parts(one) == parts(other)


def test_a_class_that_has_been_pickled_is_the_same_class() -> None:
    """Python leaves an attribute on it."""
    before = fingerprint(Slotted)
    Slotted(1, 2).__reduce_ex__(4)
    assert fingerprint(Slotted) == before


SOURCE = '''
import numpy as np
SCALE = {scale}
class Base:
    def factor(self): return {factor}
class Model(Base):
    """{doc}"""
    def trunk(self, shape):
        # {comment}
        return self.factor() * helper(shape) * SCALE
def helper(shape): return shape[0] + {helper}
'''
SAME = {"scale": 2, "factor": 3, "doc": "One.", "comment": "why", "helper": 4}


def model_of(folder: Path, **changes: Any) -> Any:
    """An object of a user's own class, as an import would make it."""
    namespace: dict[str, Any] = {"__name__": "of_a_user"}
    exec(compile(SOURCE.format(**SAME | changes), str(folder / "of_a_user.py"), "exec"), namespace)
    return namespace["Model"]()


@pytest.mark.parametrize("change", [{"scale": 5}, {"factor": 5}, {"helper": 5}, {"doc": "Two."}, {"comment": "else"}])
def test_code_counts_with_all_that_it_uses_and_without_words(change: dict[str, Any], tmp_path: Path) -> None:
    """Of a base class, a function and a number of its module. Comments and docstrings compute nothing."""
    same = not change.keys() - {"doc", "comment"}
    assert (parts(model_of(tmp_path)) == parts(model_of(tmp_path, **change))) == same


def test_circles_end() -> None:
    one: list[Any] = [1]
    one.append(one)
    other = Plain()
    other.values.append(other)
    assert fingerprint(one) == fingerprint(one) and fingerprint(other) == fingerprint(other)


def test_parts_name_what_differs() -> None:
    one, other = parts(Point(1, np.zeros(2))), parts(Point(1, np.ones(2)))
    assert {name for name in one if one[name] != other[name]} == {"y"} and one.keys() == {"code", "x", "y"}


@pytest.mark.parametrize(
    "value",
    [threading.Lock(), (i for i in range(3)), sys.stdout, Plain(threading.Lock()), Point(y={"a": [threading.Lock()]})],
)
def test_content_that_cannot_be_read_is_named(value: Any) -> None:
    for look in (fingerprint, parts):
        with pytest.raises(NoFingerprint, match="has no content to compare"):
            look(value)


def test_deep_nesting_is_one_error() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(NoFingerprint, match="nested too deeply"):
        fingerprint(deep)
    while deep:  # or Python's own end of it would be a crash
        (deep,) = deep

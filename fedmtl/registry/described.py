"""Components as their source describes them: a sentence, and fields with defaults. Nothing is imported to find out.

Importing an algorithm imports torch, which takes seconds; its source is read in a millisecond.
"""

import ast
from pathlib import Path
from typing import Any, NamedTuple

from fedmtl.registry.declared import file_of
from fedmtl.registry.names import REGISTRY

MEANING = {
    "algorithm": "An algorithm is what clients learn in a round, what they send, and how the server combines it.",
    "weighting": "A weighting is how a client with several tasks combines their losses; TaskWeighted takes one.",
    "optimizer": "An optimizer is how a client turns gradients into steps; most algorithms have one as a field.",
    "codec": "A codec is how numbers become bytes: up_codec for uploads, down_codec for broadcasts.",
    "transform": "A transform is a step before a codec: up_codec = [TRANSFORM, …, CODEC], undone from right to left.",
    "task": "A task is a kind of prediction, with its loss and its metric; a data set says which tasks it has.",
    "data": "A data set is clients, with their tasks, their training examples and their test examples.",
    "partition": "A partition is how the examples of one set are dealt to clients: --set data.partition=NAME.",
    "model": "A model is a trunk, which the tasks share, and a head for each task.",
    "augmentation": "An augmentation is a random change of inputs in each training step: augment = [NAME, …].",
    "callback": "A callback is a consumer of a run's rows while it goes on: --callback NAME, or fedmtl log afterwards.",
    "engine": "An engine is how a node trains its clients; it changes results by rounding at most.",
    "runtime": "A runtime is where nodes are: --runtime NAME; it changes no result.",
    "link": "A link is bandwidth between clients and server on the simulated clock: link = NAME.",
    "device": "A device is how fast a client trains on the simulated clock, and its power: devices = NAME.",
    "availability": "An availability is when clients can be sampled, and how often they drop out: availability = NAME.",
    "policy": "A policy is when a round on the simulated clock closes, and which replies are late: policy = NAME.",
    "radio": "A radio is the energy of transfers, a field of a link: link = 'Constant(20, 5, WiFi())'.",
    "preset": "A preset is a file with all settings of an experiment; fedmtl run NAME runs it.",
}
"""Kind -> what a thing of this kind is."""

NAMED_BY_MODULE = (
    *("algorithm", "weighting", "optimizer", "codec", "transform"),
    *("augmentation", "callback", "partition"),
    *("link", "device", "availability", "policy", "radio"),
)
"""Kinds of which a file holds one, whose first line is ``Name: what it is.``; of the others the class says it."""


class Described(NamedTuple):
    """A component in words."""

    name: str
    summary: str
    """One sentence: what it is."""
    fields: dict[str, str]
    """Field -> its default, as Python writes it; empty where it has none."""

    @property
    def signature(self) -> str:
        """Fields as they are written in a call: ``lr=0.05, epochs=5``."""
        return ", ".join(f"{name}={value}" if value else name for name, value in self.fields.items()) or "no fields"


def described(kind: str) -> list[Described]:
    """All registered components of a kind, in the registry's order.

    >>> [each.name for each in described("codec")][:2]
    ['Dense', 'FP16']
    """
    return [describe_source(kind, name, path) for name, path in REGISTRY[kind].items()]


def describe_source(kind: str, name: str, path: str) -> Described:
    """A component by its registered path, such as ``fedmtl.codecs.topk:TopK``."""
    module, _, attribute = path.partition(":")
    file = file_of(Path(__file__).parents[2], module)
    if file is None:
        raise ValueError(f"{kind} {name}: no source of {module} is installed.")
    tree = ast.parse(file.read_bytes())
    declared = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == attribute)
    return Described(name, _summary(kind, tree, declared), fields_of(declared))


def _summary(kind: str, tree: ast.Module, declared: ast.ClassDef) -> str:
    if kind in NAMED_BY_MODULE:
        _, colon, text = _first_line(tree).partition(": ")
        if colon:
            return text[0].upper() + text[1:]
    return _first_line(declared)


def _first_line(node: ast.Module | ast.ClassDef) -> str:
    return (ast.get_docstring(node) or "").partition("\n")[0]


def fields_of(declared: ast.ClassDef) -> dict[str, str]:
    """Fields that a dataclass's constructor takes, by its source."""
    found = {}
    for node in declared.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if "ClassVar" not in ast.unparse(node.annotation) and (default := _default(node.value)) is not None:
                found[node.target.id] = default
    return found


def _default(value: ast.expr | None) -> str | None:
    """The default of a field as text; empty for none, None for a field that the constructor does not take."""
    if value is None:
        return ""
    if not (isinstance(value, ast.Call) and ast.unparse(value.func).split(".")[-1] == "field"):
        return ast.unparse(value)
    given: dict[str | None, Any] = {keyword.arg: keyword.value for keyword in value.keywords}
    if "init" in given and ast.unparse(given["init"]) == "False":
        return None
    if "default" in given:
        return ast.unparse(given["default"])
    return f"{ast.unparse(given['default_factory'])}()" if "default_factory" in given else ""


def experiment_keys() -> list[str]:
    """The keys of a preset, which are the fields of ``Experiment``."""
    tree = ast.parse((Path(__file__).parents[1] / "runs" / "experiment.py").read_bytes())
    declared = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Experiment")
    return list(fields_of(declared))

"""The names of all components, read from one table a kind: the last imports of its package's ``__init__``.

A component is registered by one line there, ``from fedmtl.codecs.topk import TopK as TopK``. Presets, ``fedmtl list``,
``from fedmtl import …``, ``fedmtl verify``, the tables of the pages and the tests read it. The table is read as text:
nothing is imported to know the names.
"""

import ast
import os.path

PACKAGES = {
    "algorithm": "algorithms",
    "weighting": "weightings",
    "optimizer": "optimizers",
    "codec": "codecs",
    "transform": "codecs.transforms",
    "model": "models",
    "augmentation": "augmentations",
    "data": "data",
    "partition": "data.partitions",
    "task": "tasks",
    "callback": "callbacks",
    "engine": "engines",
    "runtime": "runtime",
    "link": "timing.links",
    "device": "timing.devices",
    "availability": "timing.availability",
    "policy": "timing.policies",
    "radio": "timing.radios",
}
"""Kind -> package whose ``__init__`` holds its table."""

MARK = "\n# isort: off\n"
"""The line before a table, which keeps its order."""


def table_of(kind: str) -> dict[str, str]:
    """Return name -> import path of the components of a kind, in the order of the table.

    A data set is named by its class in lower case.

    Raises:
        ValueError: a line of the table that registers nothing.
    """
    package = PACKAGES[kind].replace(".", os.sep)
    file = os.path.join(os.path.dirname(os.path.dirname(__file__)), package, "__init__.py")
    with open(file, encoding="utf-8") as opened:
        text = opened.read().partition(MARK)[2]
    found: dict[str, str] = {}
    for node in ast.parse(text).body:
        if not isinstance(node, ast.ImportFrom) or len(node.names) != 1 or node.names[0].asname != node.names[0].name:
            raise ValueError(
                f"{file}: {ast.unparse(node)!r} registers nothing; a line below '# isort: off' is 'from "
                f"fedmtl.{PACKAGES[kind]}.my_file import MyClass as MyClass'."
            )
        name = node.names[0].name
        found[name.lower() if kind == "data" else name] = f"{node.module}:{name}"
    return found


REGISTRY: dict[str, dict[str, str]] = {kind: table_of(kind) for kind in PACKAGES}
"""Kind -> name -> import path."""

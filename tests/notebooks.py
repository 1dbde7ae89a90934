"""Notebooks run without Jupyter: code cells in order in one namespace, with outputs in the form of nbformat 4.

    python -m tests.notebooks simulations/first_study.ipynb

runs a notebook in a new folder and writes its outputs into it, as Jupyter would.
"""

import ast
import base64
import io
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

KINDS = {"_repr_markdown_": "text/markdown", "_repr_html_": "text/html", "_repr_png_": "image/png"}


def sources(path: Path) -> list[str]:
    """The code cells."""
    return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def execute(cells: Sequence[str]) -> list[list[dict[str, Any]]]:
    """Outputs of each cell: what it prints, and the value of its last line."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    outputs = []
    for number, source in enumerate(cells, start=1):
        tree = ast.parse(source)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        with redirect_stdout(io.StringIO()) as printed:
            exec(compile(tree, f"cell {number}", "exec"), namespace)
            value = None
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), namespace)
        own: list[dict[str, Any]] = []
        if text := printed.getvalue():
            own.append({"output_type": "stream", "name": "stdout", "text": text.splitlines(keepends=True)})
        if value is not None:
            data: dict[str, Any] = {"text/plain": repr(value).splitlines(keepends=True)}
            for method, kind in KINDS.items():
                if (found := getattr(value, method, None)) is not None:
                    content = found()
                    plain = base64.b64encode(content).decode() if isinstance(content, bytes) else content
                    data[kind] = plain if isinstance(content, bytes) else plain.splitlines(keepends=True)
            own.append({"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": data})
        outputs.append(own)
    return outputs


def main(path: Path) -> None:
    """Run a notebook and write it back, executed."""
    notebook = json.loads(path.read_text())
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        outputs = execute(sources(path))
        os.chdir(here)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, (cell, own) in enumerate(zip(code, outputs, strict=True), start=1):
        cell["execution_count"], cell["outputs"] = number, own
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())

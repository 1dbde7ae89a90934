"""Declarations of a module's source, read without running it: is a name a class, or an object, with some methods?

A stranger's file names a component by ``module:Name``. Importing a module runs it, so its source is read first.
"""

import ast
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

_MOST_BYTES = 2**19
"""The most of a source: a second of reading."""

_MOST_NAMES = 32
"""Names that a name leads to: bases, assignments, re-exports."""

Seen = set[tuple[Path, str]]


class Module(NamedTuple):
    """A module's source and the folder, or file, that re-exports may lead into."""

    name: str
    path: Path
    root: Path
    """The folder in which the top-level module or package lies."""


def missing_methods_of(module: Module, name: str, methods: Sequence[str]) -> list[str] | None:
    """Methods that a class, or an object of a class, lacks by its source; None where the name is neither.

    A base class of another package is taken to have what is missing, one of Python's own to have nothing; the class is
    looked at again once it is imported.

    Raises:
        ValueError: a source that cannot be read.
    """
    found = _methods(module, name, set())
    if found is None:
        return None
    return [] if None in found else [method for method in methods if method not in found]


def _methods(module: Module, name: str, seen: Seen) -> set[str | None] | None:
    """Names that a class defines, with None where a base is elsewhere; nothing for a name that was ``seen``."""
    if (module.path, name) in seen or len(seen) >= _MOST_NAMES:
        return set()
    seen.add((module.path, name))
    for statement in _statements(_parse(module.path).body):
        match statement:
            case ast.ClassDef() if statement.name == name:
                found = set[str | None](_defined(statement))
                for base in statement.bases:
                    inherited = _methods(module, base.id, seen) if isinstance(base, ast.Name) else None
                    if inherited is None:
                        inherited = {None} if _is_elsewhere(module, base) else set[str | None]()
                    found |= inherited
                return found
            case ast.FunctionDef() | ast.AsyncFunctionDef() if statement.name == name:
                return None
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                return _of_value(module, value, seen)
            case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value) if target == name:
                return _of_value(module, value, seen)
            case ast.ImportFrom():
                for alias in statement.names:
                    if alias.name == "*" or (alias.asname or alias.name) == name:
                        target = name if alias.name == "*" else alias.name
                        found = _imported(module, statement, target, seen)
                        if found is not None or alias.name != "*":
                            return found
            case _:
                pass
    return None


def _of_value(module: Module, value: ast.expr, seen: Seen) -> set[str | None] | None:
    """Follow ``Name`` or ``Name(…)``: another name of a class, or an object of one."""
    called = value.func if isinstance(value, ast.Call) else value
    return _methods(module, called.id, seen) if isinstance(called, ast.Name) else None


def _imported(module: Module, statement: ast.ImportFrom, name: str, seen: Seen) -> set[str | None] | None:
    """Follow a re-export inside the module's own folder; classes of fedmtl are looked at after the import."""
    absolute = "." * statement.level + (statement.module or "")
    if statement.level:
        package = module.name if module.path.name == "__init__.py" else module.name.rpartition(".")[0]
        if not package:
            return None
        try:
            absolute = importlib.util.resolve_name(absolute, package)
        except ImportError:
            return None
    if absolute.split(".")[0] == "fedmtl":
        return {None} if name[:1].isupper() else None
    path = file_of(module.root, absolute)
    return None if path is None else _methods(Module(absolute, path, module.root), name, seen)


def _is_elsewhere(module: Module, base: ast.expr) -> bool:
    """Return True if a base class is imported from a package that is not Python's own."""
    while isinstance(base, (ast.Attribute, ast.Subscript)):
        base = base.value
    if not isinstance(base, ast.Name):
        return True
    for node in _statements(_parse(module.path).body):
        if isinstance(node, (ast.ImportFrom, ast.Import)):
            for alias in node.names:
                if (alias.asname or alias.name.split(".")[0]) == base.id:
                    source = alias.name if isinstance(node, ast.Import) else node.module or ""
                    return source.split(".")[0] not in sys.stdlib_module_names
    return False


def _defined(statement: ast.ClassDef) -> Iterator[str]:
    """Methods, and attributes that may be called."""
    for inner in _statements(statement.body):
        match inner:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield inner.name
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
            case _:
                pass


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """A body's statements, the last first, since a later definition counts; those of ``if`` and ``try`` too."""
    for statement in reversed(body):
        match statement:
            case ast.If(body=first, orelse=other):
                yield from _statements(other)
                yield from _statements(first)
            case ast.Try(body=first, orelse=other, handlers=handlers):
                for part in (other, *(handler.body for handler in handlers), first):
                    yield from _statements(part)
            case _:
                yield statement


def _parse(path: Path) -> ast.Module:
    try:
        with open(path, "rb") as file:
            source = file.read(_MOST_BYTES + 1)
        if len(source) > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES:,} bytes")
        return _tree(source)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"the source of {path} cannot be read ({error or type(error).__name__})") from None


@lru_cache(maxsize=4)
def _tree(source: bytes) -> ast.Module:
    return ast.parse(source)


def file_of(root: Path, module: str) -> Path | None:
    """The source of a module below a folder: ``a/b.py`` or ``a/b/__init__.py``; None where there is none.

    No folder on the way is left by a link, and nothing is imported, parents neither.
    """
    parts = module.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    root = root.resolve()
    parents = [root.joinpath(*parts[:count], "__init__.py") for count in range(1, len(parts))]
    if any(path.exists() and not path.resolve().is_relative_to(root) for path in parents):
        return None
    place = root.joinpath(*parts)
    for path in (place / "__init__.py", place.with_name(f"{place.name}.py")):
        if path.is_file() and path.resolve().is_relative_to(root):
            return path.resolve()
    return None

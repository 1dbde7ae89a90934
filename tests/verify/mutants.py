"""Algorithms broken on purpose, in one place each, by rules that know nothing of the algorithm.

In the methods that make up an update, and in the file's own functions, a + becomes −, a product a quotient, −x is x,
a comparison is turned, "trunk." is "head.", a hyper-parameter is tripled, a descent makes no step, an objective has no
pull, a state is not updated, and the server stays as it was.
"""

import ast
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

SKIPPED = {"__post_init__"}
"""Methods that are not part of the update."""

SWAPPED: dict[type, type] = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
TURNED: dict[type, type] = {ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.Gt, ast.GtE: ast.Lt}
WORDS = {"trunk.": "head.", "head.": "trunk."}


class Mutant(NamedTuple):
    what: str
    cls: Any


def _changes(node: ast.AST) -> Iterator[Callable[[Any], None]]:
    """Ways to break one node in place."""
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in SWAPPED:
        if not (
            isinstance(node, ast.BinOp) and isinstance(node.left, ast.Constant) and isinstance(node.left.value, str)
        ):
            yield lambda n: setattr(n, "op", SWAPPED[type(n.op)]())
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield lambda n: setattr(n, "op", ast.UAdd())
    if isinstance(node, ast.Compare) and type(node.ops[0]) in TURNED:
        yield lambda n: setattr(n, "ops", [TURNED[type(n.ops[0])](), *n.ops[1:]])
    if isinstance(node, ast.Constant) and node.value in WORDS:
        yield lambda n: setattr(n, "value", WORDS[n.value])


def _tripled(cls: ast.ClassDef, fields: set[str]) -> Iterator[ast.Attribute]:
    for method in cls.body:
        if isinstance(method, ast.FunctionDef) and method.name not in SKIPPED:
            for node in ast.walk(method):
                if isinstance(node, ast.Attribute) and node.attr in fields:
                    if isinstance(node.value, ast.Name) and node.value.id == "self":
                        yield node


@contextmanager
def _broken(node: ast.AST, change: Callable[[Any], None]) -> Iterator[None]:
    """Within, the tree has the node changed: a copy of the whole tree for each change would take half of the time."""
    before = dict(vars(node))
    change(node)
    try:
        yield
    finally:
        vars(node).clear()
        vars(node).update(before)


@contextmanager
def _replaced(tree: ast.AST, node: ast.AST, new: ast.AST) -> Iterator[None]:
    """Within, the tree has ``new`` in the node's place."""
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is node or (isinstance(value, list) and any(one is node for one in value)):
                other = [new if one is node else one for one in value] if isinstance(value, list) else new
                with _broken(parent, lambda n, name=name, other=other: setattr(n, name, other)):
                    if "lineno" not in vars(new):
                        ast.fix_missing_locations(ast.copy_location(new, node))
                    yield
                return
    raise AssertionError(f"{ast.dump(node)} is not in the tree")


def _left_out(call: ast.Call) -> tuple[ast.expr, str] | None:
    """The argument that stands for a call that is left out, and what is missing then; None for other calls."""
    if isinstance(call.func, ast.Name) and call.func.id == "sgd":
        return ast.Call(ast.Name("dict", ast.Load()), [call.args[1]], []), "no steps"
    if isinstance(call.func, ast.Name) and call.func.id == "pulled":
        return call.args[0], "no pull"
    if isinstance(call.func, ast.Attribute) and call.func.attr == "update_state":
        return call.args[0], "no update"
    return None


def mutants(cls: Any) -> list[Mutant]:
    """Broken classes, each differing from ``cls`` in one place of its update: in its own file, or in that of the class
    that it is a name for a setting of."""
    found = _own_mutants(cls)
    if "setting" in vars(cls):
        made = vars(cls)["setting"]
        other = typing.get_type_hints(made.func if isinstance(made, cached_property) else made.fget)["return"]
        module = inspect.getmodule(cls)
        assert module is not None
        tree = ast.parse(inspect.getsource(module))
        found += [
            Mutant(f"{other.__name__}: {what}", _class(tree, cls, module, {other.__name__: broken}))
            for what, broken in _own_mutants(other)
        ]
    return found


def _own_mutants(cls: type) -> list[Mutant]:
    module = inspect.getmodule(cls)
    assert module is not None and module.__file__ is not None
    tree = ast.parse(inspect.getsource(module))
    source = inspect.getsource(module).splitlines()
    found: list[Mutant] = []
    (body,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == cls.__name__]
    parts: list[ast.AST] = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    parts += [node for node in body.body if isinstance(node, ast.FunctionDef) and node.name not in SKIPPED]
    fields = {
        node.target.id
        for node in body.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        if isinstance(node.annotation, ast.Name) and node.annotation.id in ("int", "float")
    }
    for part in parts:
        annotations = {id(n) for a in ast.walk(part) if isinstance(a, ast.arg) and a.annotation for n in ast.walk(a)}
        if isinstance(part, ast.FunctionDef) and part.returns is not None:
            annotations |= {id(node) for node in ast.walk(part.returns)}
        for node in ast.walk(part):
            for change in [] if id(node) in annotations else list(_changes(node)):
                with _broken(node, change):
                    found.append(Mutant(_name(source, node), _class(tree, cls, module)))
    for node in list(_tripled(body, fields)):
        with _replaced(tree, node, ast.BinOp(ast.Constant(3), ast.Mult(), node)):
            found.append(Mutant(_name(source, node) + f"   [3 * self.{node.attr}]", _class(tree, cls, module)))
    for method in body.body:
        if isinstance(method, ast.FunctionDef) and method.name == "aggregate":
            with _broken(method, lambda n: setattr(n, "body", ast.parse("return server").body)):
                found.append(Mutant("aggregate: return server", _class(tree, cls, module)))
    for call in [node for part in parts for node in ast.walk(part) if isinstance(node, ast.Call)]:
        if (left := _left_out(call)) is not None:
            with _replaced(tree, call, left[0]):
                found.append(Mutant(_name(source, call) + f"   [{left[1]}]", _class(tree, cls, module)))
    return found


def _name(source: list[str], node: Any) -> str:
    return f"line {node.lineno}, column {node.col_offset}: {source[node.lineno - 1].strip()}"


def _class(tree: ast.Module, cls: type, module: types.ModuleType, instead: Mapping[str, Any] | None = None) -> Any:
    name = f"{module.__name__}_mutant"
    made = types.ModuleType(name)
    sys.modules[name] = made  # dataclasses look their module up
    try:
        exec(compile(tree, "<mutant>", "exec"), made.__dict__)
        made.__dict__.update(instead or {})
    finally:
        del sys.modules[name]
    return getattr(made, cls.__name__)

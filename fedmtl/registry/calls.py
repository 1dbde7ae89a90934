"""Components written as calls, such as ``FedPer(lr=0.05)`` or ``TopK(0.05)``: parsed, and never run."""

import ast
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fedmtl.core.bounds import check_text, shown
from fedmtl.core.toml import DEEPEST
from fedmtl.registry.names import REGISTRY

MOST_CALL = 2**16
"""Characters of a component that is written as a call; a table has no such bound."""


class Written(NamedTuple):
    """A component as it was written: its name or ``module:Name``, and its arguments."""

    name: str
    positional: tuple[Any, ...] = ()
    named: Mapping[str, Any] = {}


def parse_call(kind: str, text: str) -> Written:
    """Parse "Name" or "module:Name", with arguments in brackets or without.

    Raises:
        ValueError: a text of another form.
    """
    name, bracket, _ = text.strip().partition("(")
    if not bracket:
        check_text(f"{kind}", text, MOST_CALL)
        return Written(name.strip())
    return _parse(kind, text, "f" + text.strip()[len(name) :], lambda node: _call(name.strip(), node))


def parse_list(kind: str, text: str) -> list[Any]:
    """Parse "[Name(…), …]", a list of components.

    Raises:
        ValueError: a text of another form.
    """
    return _parse(kind, text, text.strip(), _literal)


def is_list(text: str) -> bool:
    """Return True for a text that is written as a list."""
    return text.lstrip().startswith("[")


def _parse(kind: str, text: str, source: str, read: Callable[[ast.expr], Any]) -> Any:
    check_text(f"{kind}", text, MOST_CALL)
    if sum(map(text.count, "([{")) > 16 and _depth(text) > DEEPEST:
        raise ValueError(f"{kind} {shown(text)} nests more than {DEEPEST} deep; make it flatter.")
    example = f"{next(iter(REGISTRY[kind]))}(field=value)"
    try:
        return read(ast.parse(source, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{kind} is written like {example}, got {shown(text)} ({error}).") from None


def _call(name: str, call: ast.expr) -> Written:
    starred = isinstance(call, ast.Call) and any(isinstance(one, ast.Starred) for one in call.args)
    if not isinstance(call, ast.Call) or starred or any(keyword.arg is None for keyword in call.keywords):
        raise ValueError("values and keyword arguments only")
    names = [str(keyword.arg) for keyword in call.keywords]
    if len(set(names)) < len(names):
        raise ValueError("a keyword is given twice")
    return Written(name, tuple(map(_literal, call.args)), {str(one.arg): _literal(one.value) for one in call.keywords})


def _depth(text: str) -> int:
    """Brackets inside each other; those inside quotes count too."""
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _literal(node: ast.expr) -> Any:
    """A plain value, or the text of a nested component; so inside lists and tables."""
    match node:
        case ast.Call() | ast.Name():
            return ast.unparse(node)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return list(map(_literal, items))
        case ast.Dict(keys=keys, values=values):
            written = [None if key is None else ast.literal_eval(key) for key in keys]
            if None in written or len(set(written)) < len(written):
                raise ValueError("a table has each key once")
            return dict(zip(written, map(_literal, values), strict=True))
        case _:
            return ast.literal_eval(node)


def by_name(kind: str, written: Written, fields: Sequence[str], variadic: str = "") -> dict[str, Any]:
    """Return a call's arguments by field; positional ones are given in the order of the fields.

    Args:
        kind: of the component, for the message.
        written: the call.
        fields: all that the component has, in order.
        variadic: the field that takes all positional arguments; empty for none.

    Raises:
        ValueError: more arguments than fields, or a field that is given twice.
    """
    name, positional, named = written
    if variadic and positional:
        given = {variadic: list(positional)}
    elif len(positional) > len(fields):
        raise ValueError(
            f"{kind} {name!r} has {len(fields)} field(s), {', '.join(fields) or 'none'}, got {len(positional)} values: "
            f"{shown(list(positional))}."
        )
    else:
        given = dict(zip(fields, positional, strict=False))
    if twice := [key for key in named if key in given]:
        raise ValueError(f"{kind} {name!r}: {twice[0]} is given twice, by its place and by its name; give it once.")
    return {**given, **named}


def fields_of(factory: Any) -> tuple[list[str], str]:
    """Return the fields of a dataclass that its constructor takes, and the one that takes any number of values."""
    fields = [field for field in dataclasses.fields(factory) if field.init]
    return [field.name for field in fields], next((one.name for one in fields if one.metadata.get("variadic")), "")

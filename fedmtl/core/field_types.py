"""The types of plain fields, checked where values come from a file."""

import types
import typing
from typing import Any

from fedmtl.core.bounds import shown

PLAIN = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", type(None): "nothing"}


def _options(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)


def is_plain(hint: Any) -> bool:
    return all(option in PLAIN for option in _options(hint))


def check_type(what: str, value: Any, hint: Any) -> None:
    """Refuse a plain value, or a list of them, of the wrong type; whole numbers may stand where fractions may.

    Other types pass.

    Raises:
        ValueError: it names the value and the type.
    """
    if typing.get_origin(hint) is tuple and typing.get_args(hint)[1:] == (...,):
        item = typing.get_args(hint)[0]
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{what} is a list, each {_said(item)}, got {shown(value)}.")
        for entry in value:
            check_type(f"{what}: each", entry, item)
        return
    if not is_plain(hint):
        return
    for option in _options(hint):
        if isinstance(value, bool) and option is not bool:
            continue
        if isinstance(value, (int, float) if option is float else option):
            return
    raise ValueError(f"{what} is {_said(hint)}, got {shown(value)}.")


def _said(hint: Any) -> str:
    return " or ".join(PLAIN.get(option, str(option)) for option in _options(hint))

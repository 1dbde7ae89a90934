"""Components as tables of plain values, from which they are made again."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from fedmtl.registry.kinds import INSTEAD, METHODS
from fedmtl.registry.names import REGISTRY


def missing_methods(kind: str, value: Any) -> list[str]:
    """Return the methods of its kind that an object lacks."""
    missing = [method for method in METHODS[kind] if not callable(getattr(value, method, None))]
    instead = INSTEAD.get(kind, ()) if missing else ()
    return [] if any(all(callable(getattr(value, one, None)) for one in names) for names in instead) else missing


def listed(value: Any) -> tuple[Any, ...]:
    """The entries of a list of components; a component alone is a list of one."""
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def kinds_within(field: dataclasses.Field[Any]) -> tuple[str, ...]:
    """Return the kinds of components that a field declares to hold: itself, in a list or in a table."""
    return field.metadata.get("component", ())


def kind_of(kinds: tuple[str, ...], value: Any) -> str:
    """Return the first of some kinds whose methods an object has, else the last."""
    return next((kind for kind in kinds if not missing_methods(kind, value)), kinds[-1])


def describe(kind: str, component: Any) -> dict[str, Any]:
    """The table that makes a component again; says so when there is none."""
    cls = type(component)
    path = f"{cls.__module__}:{cls.__qualname__}"
    known = {path: name for name, path in REGISTRY[kind].items()}
    name = known.get(path, path)
    if not dataclasses.is_dataclass(component):
        text = repr(component)
        text = f"{cls.__qualname__} object" if " at 0x" in text else text  # an address is another in each process
        return {"name": name, "passed_as_object": text[:200]}
    table: dict[str, Any] = {"name": name}
    for field in dataclasses.fields(component):
        if not field.init:
            continue
        value = getattr(component, field.name)
        if isinstance(value, (bool, int, float, str)):
            table[field.name] = value
        elif kinds_within(field):
            table[field.name] = _within(field, value)
        elif isinstance(value, tuple) and all(isinstance(item, (bool, int, float, str)) for item in value):
            table[field.name] = list(value)
        elif field.name in METHODS and not missing_methods(field.name, value):
            table[field.name] = describe(field.name, value)
        elif value is not None:
            return {"name": name, "passed_as_object": f"{cls.__qualname__} object"}
    return table


def _within(field: dataclasses.Field[Any], value: Any) -> Any:
    """The tables of the components that a field holds."""
    kinds = kinds_within(field)

    def table(one: Any) -> Any:
        return one if isinstance(one, str) else describe(kind_of(kinds, one), one)

    if field.metadata.get("mapping"):
        return {key: table(one) for key, one in value}
    return [table(one) for one in value] if field.metadata.get("variadic") else table(value)


def holds_text(component: Any) -> bool:
    """Return True for an object that holds texts, or lists, where it or a part of it declares components."""
    if not dataclasses.is_dataclass(component) or isinstance(component, type):
        return False
    for field in dataclasses.fields(component):
        value = getattr(component, field.name) if kinds_within(field) else None
        value = value.values() if isinstance(value, Mapping) else value
        items = [one[-1] if isinstance(one, tuple) else one for one in value] if isinstance(value, tuple) else [value]
        if any(isinstance(item, str | list) or holds_text(item) for item in items):
            return True
    return False

"""Names for algorithms, codecs, models and data, so that a text file or a command line can say which one.

A component is named by a word (``FedPer``, ``fedper``), by a call with arguments (``FedPer(lr=0.05)``), by the
import path of a user's own (``mypackage.mymodule:MyAlgorithm``), or by a table with ``name`` and its fields. A name is
never more than a name: which modules may be imported for one says ``fedmtl.registry.allowed``.
"""

import dataclasses
import importlib
import typing
from collections.abc import Mapping
from typing import Any

from fedmtl.core.bounds import check_field, shown
from fedmtl.core.field_types import check_type, is_plain
from fedmtl.core.suggest import did_you_mean
from fedmtl.core.toml import check_depth
from fedmtl.core.traits import check_traits
from fedmtl.registry.allowed import NOTHING, Allowed, load_own, read_own
from fedmtl.registry.calls import parse_call
from fedmtl.registry.kinds import COMPONENTS as COMPONENTS
from fedmtl.registry.kinds import LISTS as LISTS
from fedmtl.registry.kinds import METHODS as METHODS
from fedmtl.registry.kinds import TRAITS as TRAITS
from fedmtl.registry.names import REGISTRY as REGISTRY


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def find(kind: str, name: str, allowed: Allowed = NOTHING) -> Any:
    """The class, or the object, that a name or an import path stands for.

    Raises:
        ValueError: an unknown name, a module that is not allowed, or one without such a component.
    """
    if ":" not in name:
        path = {_plain(word): path for word, path in REGISTRY[kind].items()}.get(_plain(name))
        if path is None:
            raise ValueError(
                f"Unknown {kind} {shown(name)}; known: {', '.join(REGISTRY[kind])}; or name your own as "
                f"'package.module:Name'.{did_you_mean(name, REGISTRY[kind])}"
            )
    elif name.split(":")[0].split(".")[0] == "fedmtl":
        path = _registered(kind, name)
    else:
        return load_own(kind, METHODS[kind], name, allowed)
    return _imported(path)


def _imported(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


def check_names(values: Mapping[str, Any], allowed: Allowed) -> None:
    """Refuse names of modules that are not allowed, or hold no such component, before anything is imported or started.

    Raises:
        ValueError: as ``find``; what stands inside components is looked at when they are made.
    """
    named = [(kind, values.get(field)) for field, kind in COMPONENTS.items()]
    named += [(kind, value) for field, kind in LISTS.items() for value in listed(values.get(field, ()))]
    for kind, value in named:
        name = value.get("name") if isinstance(value, Mapping) else value
        if isinstance(name, str):
            name = name.partition("(")[0].strip()
            if ":" in name and name.split(":")[0].split(".")[0] != "fedmtl":
                read_own(kind, METHODS[kind], name, allowed)


def _registered(kind: str, name: str) -> str:
    """The registered import path that a path into fedmtl means, such as ``fedmtl.codecs:TopK``."""
    module, _, attribute = name.partition(":")
    for path in REGISTRY[kind].values():
        home, _, cls = path.partition(":")
        if cls == attribute and (home == module or home.startswith(f"{module}.")):
            return path
    raise ValueError(
        f"{kind} {shown(name)}: module {shown(module)[1:-1]} has no {shown(attribute)} of this kind; known: "
        f"{', '.join(REGISTRY[kind])}.{did_you_mean(attribute, REGISTRY[kind])}"
    )


def make(kind: str, value: Any, allowed: Allowed = NOTHING) -> Any:
    """A component from a word, a call, a table, or itself.

    Args:
        kind: of the component.
        value: its name, call or table, or the component.
        allowed: modules that may be imported for it and for components inside it; fedmtl's alone by default.

    Raises:
        ValueError: an unknown name or field, a wrong type, or an object that lacks a method of its kind.
    """
    if isinstance(value, str):
        name, arguments = parse_call(kind, value)
    elif isinstance(value, Mapping):
        check_depth(value, f"A table for {kind}")
        table = dict(value)
        if not isinstance(table.get("name"), str):
            raise ValueError(
                f"A table for {kind} needs a name, such as name = {next(iter(REGISTRY[kind]))!r}, got {shown(table)}."
            )
        name, arguments = table.pop("name"), table
        if "passed_as_object" in arguments:
            raise ValueError(
                f"{kind} {shown(name)} was passed as an object, {shown(arguments['passed_as_object'])}, and cannot be "
                "made from a file; pass it again from Python."
            )
    else:
        _check_methods(kind, value)
        return value
    factory = find(kind, name, allowed)
    if not isinstance(factory, type):
        if arguments:
            raise ValueError(f"{kind} {name!r} is an object and takes no fields, got {sorted(arguments)}.")
        return factory
    hints = typing.get_type_hints(factory) if dataclasses.is_dataclass(factory) else {}
    arguments = {key: _argument(kind, key, item, hints.get(key, Any), allowed) for key, item in arguments.items()}
    if dataclasses.is_dataclass(factory):
        _check_fields(kind, name, factory, arguments, hints)
    try:
        component: Any = factory(**arguments)
    except TypeError as error:
        raise ValueError(f"{kind} {name!r}: {error}") from error
    _check_methods(kind, component)
    return component


def fields_given(kind: str, value: Any) -> Mapping[str, Any]:
    """The fields that a component's call or table sets.

    Raises:
        ValueError: a call that is not written as one.
    """
    if isinstance(value, str):
        return parse_call(kind, value)[1]
    return value if isinstance(value, Mapping) else {}


def listed(value: Any) -> tuple[Any, ...]:
    """The entries of a list of components; a component alone is a list of one."""
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def make_list(kind: str, value: Any, allowed: Allowed = NOTHING) -> tuple[Any, ...]:
    """Components from a list of what ``make`` takes, or from one.

    Raises:
        ValueError: as ``make``.
    """
    return tuple(make(kind, one, allowed) for one in listed(value))


def missing_methods(kind: str, value: Any) -> list[str]:
    """Return the methods of its kind that an object lacks."""
    return [method for method in METHODS[kind] if not callable(getattr(value, method, None))]


def _check_methods(kind: str, value: Any) -> None:
    missing = missing_methods(kind, value)
    if missing or isinstance(value, type):
        what = "a class; give an instance" if isinstance(value, type) else f"without {', '.join(missing)}"
        article = "An" if kind[0] in "aeiou" else "A"
        way = (
            "" if kind != "data" else "; from_arrays makes one of arrays, or give an object whose load(seed) returns it"
        )
        raise ValueError(
            f"{article} {kind} has the methods {', '.join(METHODS[kind])}; got {shown(value)}, {what}{way}."
        )
    if kind in TRAITS:
        check_traits(kind, value, _imported(TRAITS[kind]))


def _argument(kind: str, key: str, value: Any, hint: Any, allowed: Allowed) -> Any:
    """Lists become tuples, and components inside components become objects."""
    if isinstance(value, list):
        return tuple(_argument(kind, key, item, Any, allowed) for item in value)
    inner = key if key in METHODS and not is_plain(hint) else None
    if isinstance(value, Mapping) and "name" in value:
        return make(inner or kind, value, allowed)
    if isinstance(value, str) and inner:
        return make(inner, value, allowed)
    return value


def _check_fields(kind: str, name: str, factory: Any, arguments: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    fields = {field.name: field for field in dataclasses.fields(factory) if field.init}
    unknown = [key for key in arguments if key not in fields]
    if unknown:
        raise ValueError(
            f"{kind} {name!r} has no field {shown(unknown[0])}; its fields are {', '.join(fields) or 'none'}."
            f"{did_you_mean(unknown[0], fields)}"
        )
    for key, value in arguments.items():
        check_type(f"{kind} {name!r}: {key}", value, hints.get(key, Any))
        check_field(f"{kind} {name!r}: {key}", factory, key, value)


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
        elif isinstance(value, tuple) and all(isinstance(item, (bool, int, float, str)) for item in value):
            table[field.name] = list(value)
        elif field.name in METHODS and not missing_methods(field.name, value):
            table[field.name] = describe(field.name, value)
        elif value is not None:
            return {"name": name, "passed_as_object": f"{cls.__qualname__} object"}
    return table

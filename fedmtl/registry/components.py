"""Names for algorithms, codecs, models and data, so that a text file or a command line can say which one.

A component is named by a word (``FedPer``, ``fedper``), by a call with arguments (``FedPer(lr=0.05)``), by the
import path of a user's own (``mypackage.mymodule:MyAlgorithm``), or by a table with ``name`` and its fields; a chain of
codecs also by a list. A name is never more than a name: which modules may be imported for one says
``fedmtl.registry.allowed``.
"""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from fedmtl.core.bounds import check_field, shown
from fedmtl.core.field_types import check_type, is_plain
from fedmtl.core.suggest import did_you_mean
from fedmtl.core.toml import check_depth
from fedmtl.core.traits import check_traits
from fedmtl.registry.allowed import NOTHING, Allowed, load_own
from fedmtl.registry.calls import Written, by_name, fields_of, is_list, parse_call, parse_list
from fedmtl.registry.described import describe_source
from fedmtl.registry.finding import check_names as check_names
from fedmtl.registry.finding import find as find
from fedmtl.registry.finding import imported, is_own, kind_among, kinds_for, plain, registered
from fedmtl.registry.kinds import CHAINED, WRAPPED
from fedmtl.registry.kinds import COMPONENTS as COMPONENTS
from fedmtl.registry.kinds import LISTS as LISTS
from fedmtl.registry.kinds import METHODS as METHODS
from fedmtl.registry.kinds import TRAITS as TRAITS
from fedmtl.registry.names import REGISTRY as REGISTRY
from fedmtl.registry.signatures import check_arguments
from fedmtl.registry.tables import describe as describe
from fedmtl.registry.tables import holds_text, kinds_within
from fedmtl.registry.tables import listed as listed
from fedmtl.registry.tables import missing_methods as missing_methods


def make(kind: str, value: Any, allowed: Allowed = NOTHING) -> Any:
    """A component from a word, a call, a table, or itself; where a list is one component (``CHAINED``), from a list.

    Args:
        kind: of the component.
        value: its name, call or table, or the component.
        allowed: modules that may be imported for it and for components inside it; fedmtl's alone by default.

    Raises:
        ValueError: an unknown name or field, a wrong type, or an object that lacks a method of its kind.
    """
    if kind in CHAINED:
        if isinstance(value, str) and is_list(value):
            value = parse_list(kind, value)
        parts = list(value) if isinstance(value, (list, tuple)) else [value]
        if len(parts) != 1 or kind_among(kinds_for(kind), parts[0], allowed) != kind:
            chain, field, _ = CHAINED[kind]
            return make(kind, {"name": chain, field: parts}, allowed)
        value = parts[0]
    if isinstance(value, str):
        written = parse_call(kind, value)
    elif isinstance(value, Mapping):
        check_depth(value, f"A table for {kind}")
        table = dict(value)
        if not isinstance(table.get("name"), str):
            raise ValueError(
                f"A table for {kind} needs a name, such as name = {next(iter(REGISTRY[kind]))!r}, got {shown(table)}."
            )
        written = Written(table.pop("name"), (), table)
        if "passed_as_object" in table:
            raise ValueError(
                f"{kind} {shown(written.name)} was passed as an object, {shown(table['passed_as_object'])}, and cannot "
                "be made from a file; pass it again from Python."
            )
    else:
        value = _wrapped(kind, value)
        value = _completed(kind, value, allowed) if holds_text(value) else value
        _check_methods(kind, value)
        return value
    component = _made(kind, written, allowed)
    _check_methods(kind, component)
    return component


def _made(kind: str, written: Written, allowed: Allowed) -> Any:
    """The component that a name and its arguments stand for."""
    name, positional, named = written
    factory = find(kind, name, allowed)
    if not isinstance(factory, type):
        if positional or named:
            given = sorted(named) or list(positional)
            raise ValueError(f"{kind} {name!r} is an object and takes no fields, got {given}.")
        return factory
    arguments: dict[str, Any] = dict(named)
    if dataclasses.is_dataclass(factory):
        names, variadic = fields_of(factory)
        arguments = by_name(kind, written, names, variadic)
        hints, fields = typing.get_type_hints(factory), {one.name: one for one in dataclasses.fields(factory)}
        arguments = {
            key: _argument(kind, key, item, hints.get(key, Any), allowed, fields.get(key))
            for key, item in arguments.items()
        }
        _check_fields(kind, name, factory, arguments, hints)
        positional = arguments.pop(variadic, ()) if variadic else ()
    else:
        arguments = {key: _argument(kind, key, item, Any, allowed, None) for key, item in arguments.items()}
    try:
        return factory(*positional, **arguments)
    except TypeError as error:
        raise ValueError(f"{kind} {name!r}: {error}") from error


def _wrapped(kind: str, value: Any) -> Any:
    """Return the component of an object that stands for one, such as a module of torch for a model."""
    if kind in WRAPPED and isinstance(value, imported(WRAPPED[kind][0])):
        return imported(WRAPPED[kind][1])(value)
    return value


def _completed(kind: str, component: Any, allowed: Allowed) -> Any:
    """An object that holds texts in place of components, made anew with components."""
    names, variadic = fields_of(type(component))
    fields = {one.name: one for one in dataclasses.fields(component)}
    held = {name: getattr(component, name) for name in names}
    arguments = {
        name: _argument(kind, name, value, Any, allowed, fields[name]) if kinds_within(fields[name]) else value
        for name, value in held.items()
    }
    return type(component)(*(arguments.pop(variadic) if variadic else ()), **arguments)


def fields_given(kind: str, value: Any) -> Mapping[str, Any]:
    """The fields that a component's call or table sets.

    Raises:
        ValueError: a call that is not written as one, or one of a user's own with values without a name.
    """
    if not isinstance(value, str):
        return value if isinstance(value, Mapping) else {}
    written = parse_call(kind, value)
    if not written.positional:
        return written.named
    if is_own(written.name):
        raise ValueError(
            f"{kind} {shown(value)}: the fields of a component of your own are given by name, field=value."
        )
    path = registered(kind, written.name) if ":" in written.name else ""
    paths = {plain(word): (word, own) for each in kinds_for(kind) for word, own in REGISTRY[each].items()}
    word, own = paths.get(plain(written.name), (written.name, path))
    return by_name(kind, written, list(describe_source(kind, word, own).fields)) if own else written.named


def make_list(kind: str, value: Any, allowed: Allowed = NOTHING) -> tuple[Any, ...]:
    """Components from a list of what ``make`` takes, or from one.

    Raises:
        ValueError: as ``make``.
    """
    return tuple(make(kind, one, allowed) for one in listed(value))


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
        check_traits(kind, value, imported(TRAITS[kind]))
    check_arguments(kind, value)


def _argument(kind: str, key: str, value: Any, hint: Any, allowed: Allowed, field: Any) -> Any:
    """Lists become tuples, and components inside components become objects."""
    if field is not None and (kinds := kinds_within(field)):
        return _within(f"{kind}: {key}", field, kinds, value, allowed)
    if field is not None and field.metadata.get("plain"):
        return value
    if field is not None and isinstance(value, str) and (methods := field.metadata.get("imported")):
        load_own(f"{kind} {key}", methods, value, allowed)  # a name of a module that is not allowed is not imported
        return value
    if isinstance(value, (list, tuple)):
        return tuple(_argument(kind, key, item, Any, allowed, None) for item in value)
    inner = key if key in METHODS and not is_plain(hint) else None
    if isinstance(value, Mapping) and "name" in value:
        return make(inner or kind, value, allowed)
    if isinstance(value, str) and inner:
        return make(inner, value, allowed)
    return value


def _within(what: str, field: Any, kinds: tuple[str, ...], value: Any, allowed: Allowed) -> Any:
    """The components that a field declares to hold, alone, in a list, or in a table."""

    def one(item: Any) -> Any:
        if not isinstance(item, (str, Mapping, list, tuple)) and all(missing_methods(kind, item) for kind in kinds):
            return item  # for the component itself to refuse
        return make(kind_among(kinds[::-1], item, allowed), item, allowed)

    if field.metadata.get("variadic"):
        return tuple(map(one, listed(value)))
    if not field.metadata.get("mapping"):
        return one(value)
    if isinstance(value, tuple) and all(isinstance(pair, tuple) for pair in value):
        value = dict(value)  # as an object holds it
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} is a table, such as {{'trunk.0.*' = 'Int8()'}}, got {shown(value)}.")
    return tuple((key, one(item)) for key, item in value.items())


def _check_fields(kind: str, name: str, factory: Any, arguments: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    fields = {field.name: field for field in dataclasses.fields(factory) if field.init}
    unknown = [key for key in arguments if key not in fields]
    if kind == "algorithm" and "seed" in unknown:
        raise ValueError(
            f"algorithm {name!r} has no seed of its own: its randomness follows the experiment's. Leave the field out, "
            f"and write seed = {shown(arguments['seed'])} beside the algorithm."
        )
    if unknown:
        raise ValueError(
            f"{kind} {name!r} has no field {shown(unknown[0])}; its fields are {', '.join(fields) or 'none'}."
            f"{did_you_mean(unknown[0], fields)}"
        )
    for key, value in arguments.items():
        if kinds_within(fields[key]):
            continue
        check_type(f"{kind} {name!r}: {key}", value, hints.get(key, Any))
        check_field(f"{kind} {name!r}: {key}", factory, key, value)

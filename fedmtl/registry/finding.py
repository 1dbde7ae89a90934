"""Classes and kinds of names, calls, tables and objects."""

import importlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from fedmtl.core.bounds import shown
from fedmtl.core.suggest import did_you_mean
from fedmtl.registry.allowed import NOTHING, Allowed, load_own, read_own
from fedmtl.registry.calls import is_list
from fedmtl.registry.kinds import CHAINED, COMPONENTS, LISTS, METHODS
from fedmtl.registry.names import REGISTRY
from fedmtl.registry.tables import kind_of, listed

MOST = 30
"""Most names that an error lists; ``fedmtl list`` has all."""


def plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def find(kind: str, name: str, allowed: Allowed = NOTHING) -> Any:
    """The class, or the object, that a name or an import path stands for.

    Raises:
        ValueError: an unknown name, a module that is not allowed, or one without such a component.
    """
    if ":" not in name:
        path = {plain(word): path for word, path in REGISTRY[kind].items()}.get(plain(name))
        if path is None:
            known = [word for each in kinds_for(kind) for word in REGISTRY[each]]
            raise ValueError(
                f"Unknown {kind} {shown(name)}; known: {', '.join(known[:MOST])}{', …' if len(known) > MOST else ''}; "
                f"or name your own as 'package.module:Name'.{did_you_mean(name, known)}"
            )
    elif name.split(":")[0].split(".")[0] == "fedmtl":
        path = registered(kind, name)
    else:
        return load_own(kind, METHODS[kind], name, allowed)
    return imported(path)


def imported(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


def check_names(values: Mapping[str, Any], allowed: Allowed) -> None:
    """Refuse names of modules that are not allowed, or hold no such component, before anything is imported or started.

    Raises:
        ValueError: as ``find``; what stands inside components is looked at when they are made.
    """
    for field, kind in {**COMPONENTS, **LISTS}.items():
        for value in listed(values.get(field, ())):
            name = value.get("name") if isinstance(value, Mapping) else value
            if isinstance(name, str) and not is_list(name):
                name = name.partition("(")[0].strip()
                if is_own(name):
                    read_kind(kinds_for(kind), name, allowed)


def is_own(name: str) -> bool:
    """Return True for an import path of a user's own."""
    return ":" in name and name.split(":")[0].split(".")[0] != "fedmtl"


def kinds_for(kind: str) -> tuple[str, ...]:
    """The kinds of what may be named where one of this kind is wanted: parts of a chain too."""
    return (kind, CHAINED[kind][2]) if kind in CHAINED else (kind,)


def read_kind(kinds: tuple[str, ...], name: str, allowed: Allowed) -> str:
    """Return the first of some kinds of which a user's own name is one, by its source.

    Raises:
        ValueError: it is of none; the message is about the first kind.
    """
    for kind in kinds[1:]:
        with suppress(ValueError):
            read_own(kinds[0], METHODS[kinds[0]], name, allowed)
            return kinds[0]
        with suppress(ValueError):
            read_own(kind, METHODS[kind], name, allowed)
            return kind
    read_own(kinds[0], METHODS[kinds[0]], name, allowed)
    return kinds[0]


def registered(kind: str, name: str) -> str:
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


def kind_among(kinds: tuple[str, ...], value: Any, allowed: Allowed) -> str:
    """Return the one of some kinds that a name, call, table or object is of; the first where none fits."""
    name = value.get("name") if isinstance(value, Mapping) else value
    if not isinstance(name, str) or (isinstance(value, Mapping) and "passed_as_object" in value):
        return kinds[0] if isinstance(value, (Mapping, list, tuple)) else kind_of((*kinds, kinds[0]), value)
    name = name.partition("(")[0].strip()
    if is_own(name):
        return read_kind(kinds, name, allowed)
    word = plain(name.partition(":")[2] or name)
    return next((kind for kind in kinds if word in map(plain, REGISTRY[kind])), kinds[0])

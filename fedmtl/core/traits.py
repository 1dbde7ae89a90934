"""Checks of traits, the frozen dataclass in which a component declares what others may rely on."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, TypeVar

from fedmtl.core.bounds import shown
from fedmtl.core.field_types import check_type
from fedmtl.core.suggest import did_you_mean

FORMER: Mapping[str, Mapping[str, str]] = {
    "algorithm": {
        "additive": "mean_aggregated",
        "one_broadcast": "uniform_broadcast",
        "separable_heads": "independent_heads",
        "tells_all": "broadcast_lists_clients",
        "needs_heads": "named_heads",
        "counts_only": "counts_clients_only",
        "central": "centralized",
        "lossless": "needs_every_upload",
        "enrol": "register_clients",
        "learnt": "diagnostics",
        "local_passes": "local_passes",
    },
    "codec": {"unbiased": "unbiased", "delta_only": "delta_only", "exact": "lossless", "late": "error_compensated"},
    "optimizer": {"scheduled": "scheduled"},
}
"""Kind -> attribute or method of a class before there were traits -> trait of today."""


class UnknownTrait(TypeError, ValueError):
    """A trait that there is not: a ``TypeError`` as of every unknown argument, a ``ValueError`` as of all bad input."""


C = TypeVar("C", bound=type)


def known_traits(cls: C) -> C:
    """Decorate a dataclass of traits, so that an unknown one is an error with the name to write instead."""
    init, names = cls.__init__, [field.name for field in dataclasses.fields(cls)]
    former = {old: new for renamed in FORMER.values() for old, new in renamed.items() if new in names and old != new}

    @functools.wraps(init)
    def checked(self: Any, *values: Any, **given: Any) -> None:
        for name in given:
            if name not in names:
                hint = f" It is {former[name]} now." if name in former else did_you_mean(name, names)
                rest = f".{hint}" if hint else f"; it has {', '.join(names)}."
                raise UnknownTrait(f"{cls.__name__} has no trait {shown(name)}{rest}")
        init(self, *values, **given)

    cls.__init__ = checked
    return cls


def part(component: Any, field: str) -> Any:
    """Return a field that holds a component inside, such as the ``algorithm`` of a wrapper; None without such a one."""
    if dataclasses.is_dataclass(component):
        return next((getattr(component, one.name) for one in dataclasses.fields(component) if one.name == field), None)
    own = vars(component)
    return own[field] if field in own else _of_class(component, field)


def check_traits(kind: str, component: Any, expected: Any) -> None:
    """Refuse a component whose class declares no traits, or declares a method that it lacks, or lacks a declaration.

    Args:
        kind: of the component, for the message.
        component: an object.
        expected: the dataclass of its traits.

    Raises:
        ValueError: it names the class and the line to add.
    """
    what, names, wanted = f"{kind} {type(component).__name__}", set(dir(component)), expected.__name__
    former = {old: new for old, new in FORMER.get(kind, {}).items() if old in names}
    line = f"traits = {wanted}({_arguments(component, former, names, expected)})"
    is_field = dataclasses.is_dataclass(component) and "traits" in {one.name for one in dataclasses.fields(component)}
    if "traits" not in names:
        raise ValueError(f"{what} declares no traits; add the line '{line}', with {wanted} from fedmtl, to its class.")
    if is_field:
        raise ValueError(f"{what}: traits is an attribute of the class and no field; write 'traits = {wanted}(…)'.")
    traits: Any = getattr(component, "traits")  # noqa: B009
    if not isinstance(traits, expected):
        raise ValueError(f"{what}: traits is {wanted}(…), with {wanted} from fedmtl, got {shown(traits)}.")
    if former:
        old, new = next(iter(former.items()))
        raise ValueError(f"{what}: {old} is now the trait {new}; write '{line}' instead.")
    for field in dataclasses.fields(expected):
        check_type(f"{what}: the trait {field.name}", getattr(traits, field.name), field.type)
        for method in field.metadata.get("methods", ()):
            declared = getattr(traits, field.name)
            if declared and method not in names:
                raise ValueError(f"{what} declares {field.name}=True but has no method {method}; write one.")
            if not declared and method in names and not isinstance(_of_class(component, "traits"), property):
                raise ValueError(f"{what} has a method {method}; declare it with {field.name}=True in its traits.")


def _arguments(component: Any, former: Mapping[str, str], names: set[str], expected: Any) -> str:
    """The traits that a class shows by its methods, and by attributes of former times, as arguments."""
    found = {}
    for old, new in former.items():
        value = _of_class(component, old)
        found[new] = value if isinstance(value, bool | int | str) else True
    for field in dataclasses.fields(expected):
        if names.issuperset(methods := field.metadata.get("methods", ())) and methods:
            found[field.name] = True
    return ", ".join(f"{name}={value!r}" for name, value in found.items() if value)


def _of_class(component: Any, name: str) -> Any:
    """Return the attribute of the class; properties are not called."""
    return next((vars(cls)[name] for cls in type(component).__mro__ if name in vars(cls)), None)

"""``key=value`` settings, applied to the values of a preset."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import tomli_w

from fedmtl.core.bounds import shown
from fedmtl.core.suggest import did_you_mean
from fedmtl.core.toml import MOST_BYTES, NotToml, parse_toml
from fedmtl.registry.allowed import NOTHING, Allowed
from fedmtl.registry.calls import parse_call
from fedmtl.registry.components import COMPONENTS, METHODS, describe, fields_given, make


def override(values: Mapping[str, Any], settings: Iterable[str], allowed: Allowed = NOTHING) -> dict[str, Any]:
    """Values with ``key=value`` settings applied in order; a dot goes into a component: ``algorithm.lr=0.05``.

    The value is read as TOML, and as text where it is not TOML.

    Raises:
        ValueError: a setting without "=", or a path into something that is no component.
    """
    result = {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    for setting in settings:
        try:
            _apply(result, setting, allowed)
        except ValueError as error:
            raise ValueError(f"{as_option(setting)}: {error}") from None
    return result


def _apply(table: dict[str, Any], setting: str, allowed: Allowed) -> None:
    """Change a table by one setting; tables inside it are copied first."""
    key, equals, text = setting.partition("=")
    if not equals or not key.strip():
        raise ValueError(
            f"A setting is written key=value, got {shown(setting)}; for example rounds=5 or algorithm.lr=0.05."
        )
    value = _value(setting, text)
    *path, last = key.strip().split(".")
    for depth, part in enumerate(path):
        inner = table[part] if part in table else _default(part, table if depth else None, allowed)
        kind = COMPONENTS.get(part, part)
        if isinstance(inner, str) and kind in METHODS:
            inner = {"name": parse_call(kind, inner).name, **fields_given(kind, inner)}
        if not isinstance(inner, Mapping):
            raise ValueError(f"{shown(part)} has no fields; its value is {shown(inner)}.")
        table[part] = dict(inner)
        table = table[part]
    table[last] = value


def setting(field: str, value: Any) -> str:
    """Return ``field=value`` with the value as TOML, which ``override`` reads."""
    return f"{field}={tomli_w.dumps({'value': value}).removeprefix('value = ').strip()}"


def as_option(setting: str) -> str:
    """A setting as it was given, for the start of an error: ``--set rounds=0``."""
    return f"--set {setting}" if setting.isprintable() and len(setting) <= 100 else f"--set {shown(setting)}"


def _value(setting: str, text: str) -> Any:
    """As TOML; as text where it is not TOML."""
    if len(text) > MOST_BYTES:
        raise ValueError(f"A setting has at most {MOST_BYTES:,} characters, got {shown(setting)}.")
    try:
        return parse_toml(f"value = {text}", shown(setting))["value"]
    except NotToml:
        return text.strip()


def _default(part: str, table: Mapping[str, Any] | None, allowed: Allowed) -> Any:
    """The default of a component: inside the component of a table that component's, without one the experiment's."""
    from fedmtl.runs.experiment import Experiment

    if table is not None and part in METHODS:
        return describe(part, make(part, table, allowed)).get(part)
    if part not in COMPONENTS:
        raise ValueError(
            f"{shown(part)} has no fields; those that have are {', '.join(COMPONENTS)}.{did_you_mean(part, COMPONENTS)}"
        )
    return {item.name: item.default for item in dataclasses.fields(Experiment)}[part]

"""Experiments from files and from ``key=value`` settings.

Values are read without importing what they name: torch takes longer to import than Ray's first steps to be waited for.
"""

import dataclasses
import os
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmtl.components import METHODS, describe, make

if TYPE_CHECKING:
    from fedmtl.experiment import Experiment


def presets() -> dict[str, Path]:
    """Name -> file of the presets that come with the package, or lie beside it in a checkout."""
    package = Path(__file__).parent
    for folder in (package / "presets", package.parent / "simulations" / "presets"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.toml"))}
    return {}


def read_preset(preset: str | Path) -> tuple[dict[str, Any], Path]:
    """The values of a preset, given by file or by name, and the file.

    Its folder and the current folder become importable, so that a preset can name components that lie beside it.

    Raises:
        ValueError: no such preset, or a file that is not TOML.
    """
    path = Path(preset)
    if not path.is_file():
        known = presets()
        if str(preset) not in known:
            raise ValueError(
                f"No preset {str(preset)!r}: give a .toml file, or one of {', '.join(known) or 'none installed'}."
            )
        path = known[str(preset)]
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from None
    for folder in (os.getcwd(), str(path.resolve().parent)):
        if folder not in sys.path:
            sys.path.append(folder)
    return values, path


def override(values: Mapping[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """Values with ``key=value`` settings applied in order; a dot goes into a component: ``algorithm.lr=0.05``.

    The value is read as TOML, and as text where it is not TOML.

    Raises:
        ValueError: a setting without "=", or a path into something that is no component.
    """
    result = {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            raise ValueError(
                f"A setting is written key=value, got {setting!r}; for example rounds=5 or algorithm.lr=0.05."
            )
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()
        *path, last = key.strip().split(".")
        table = result
        for part in path:
            inner = table[part] if part in table else _default(part, table)
            inner = {"name": inner} if isinstance(inner, str) else inner
            if not isinstance(inner, Mapping):
                raise ValueError(f"{setting!r}: {part!r} has no fields; its value is {inner!r}.")
            if "(" in str(inner.get("name", "")):
                raise ValueError(f"{setting!r}: {part!r} is written as a call, {inner['name']!r}; change it there.")
            table[part] = dict(inner)
            table = table[part]
        table[last] = value
    return result


def _default(part: str, table: Mapping[str, Any]) -> Any:
    """What a component is when nobody has named it: the experiment's, or inside a component that component's."""
    from fedmtl.experiment import COMPONENTS, Experiment

    if "name" in table and part in METHODS:
        return describe(part, make(part, table)).get(part)
    if part not in COMPONENTS:
        raise ValueError(f"{part!r} has no fields; those that have are {', '.join(COMPONENTS)}.")
    return {item.name: item.default for item in dataclasses.fields(Experiment)}[part]


def read_values(preset: str | Path, settings: Iterable[str] = ()) -> tuple[dict[str, Any], str]:
    """The values of a preset, with ``key=value`` settings applied, and its file.

    A ``[compare]`` table is for comparisons, and left out.
    """
    values, path = read_preset(preset)
    values.pop("compare", None)
    return override(values, settings), str(path)


def load_experiment(preset: str | Path, settings: Iterable[str] = ()) -> "Experiment":
    """The experiment of a preset, with ``key=value`` settings applied."""
    from fedmtl.experiment import from_dict

    return from_dict(*read_values(preset, settings))


def starts_ray(values: Mapping[str, Any]) -> bool:
    """Whether an experiment of these values will start Ray on this machine."""
    return values.get("runtime", "ray") == "ray" and not values.get("ray_address")

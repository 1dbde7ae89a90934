"""Experiments from files and from ``key=value`` settings. What they may have imported says ``fedmtl.allowed``.

Values are read without importing what they name: torch takes longer to import than Ray's first steps to be waited for.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmtl.allowed import NOTHING, Allowed, beside
from fedmtl.bounds import shown
from fedmtl.components import COMPONENTS, METHODS, check_names, describe, make
from fedmtl.toml import MOST_BYTES, NotToml, parse_toml, read_toml

if TYPE_CHECKING:
    from fedmtl.experiment import Experiment

ELSEWHERE = {"state_dir": ("",), "ray_address": ("", "auto")}
"""Keys by which a file would write elsewhere, or join a cluster, whose objects may run code; and values that do not."""


def presets() -> dict[str, Path]:
    """Name -> file of the presets that come with the package, or lie beside it in a checkout."""
    package = Path(__file__).parent
    for folder in (package / "presets", package.parent / "simulations" / "presets"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.toml"))}
    return {}


def read_preset(preset: str | Path) -> tuple[dict[str, Any], Path]:
    """The values of a preset, given by file or by name, and the file.

    Raises:
        ValueError: no such preset, or a file that is not TOML.
    """
    path = Path(preset)
    if not _is_file(path):
        known = presets()
        if str(preset) not in known:
            raise ValueError(
                f"No preset {shown(str(preset))}: give a .toml file, or one of {', '.join(known) or 'none installed'}."
            )
        path = known[str(preset)]
    return read_toml(path), path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a null character
        return False


def override(values: Mapping[str, Any], settings: Iterable[str], allowed: Allowed = NOTHING) -> dict[str, Any]:
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
                f"A setting is written key=value, got {shown(setting)}; for example rounds=5 or algorithm.lr=0.05."
            )
        value = _value(setting, text)
        *path, last = key.strip().split(".")
        table = result
        for part in path:
            inner = table[part] if part in table else _default(part, table, allowed)
            inner = {"name": inner} if isinstance(inner, str) else inner
            if not isinstance(inner, Mapping):
                raise ValueError(f"{shown(setting)}: {part!r} has no fields; its value is {shown(inner)}.")
            if "(" in str(inner.get("name", "")):
                raise ValueError(
                    f"{shown(setting)}: {part!r} is written as a call, {shown(inner['name'])}; change it there."
                )
            table[part] = dict(inner)
            table = table[part]
        table[last] = value
    return result


def check_elsewhere(values: Mapping[str, Any], settings: Iterable[str], where: str) -> None:
    """Refuse a file that names a folder to write, or a cluster to join: these are given by a setting, or in Python.

    Args:
        values: of the file.
        settings: ``key=value``; a key that is among them is the user's own.
        where: begins the message of an error.

    Raises:
        ValueError: it names the key, its value and the way out.
    """
    given = {setting.partition("=")[0].strip() for setting in settings}
    for key, harmless in ELSEWHERE.items():
        value = values.get(key, "")
        if value not in harmless and key not in given and isinstance(value, str) and value.isprintable():
            raise ValueError(
                f"{where}: {key} = {shown(value)} leads out of the file's own folder, and a file alone may not; "
                f"give it with --set {key}=…, or leave it out."
            )


def _value(setting: str, text: str) -> Any:
    """As TOML; as text where it is not TOML."""
    if len(text) > MOST_BYTES:
        raise ValueError(f"A setting has at most {MOST_BYTES:,} characters, got {shown(setting)}.")
    try:
        return parse_toml(f"value = {text}", shown(setting))["value"]
    except NotToml:
        return text.strip()


def _default(part: str, table: Mapping[str, Any], allowed: Allowed) -> Any:
    """The default of a component: the experiment's, or inside a component that component's."""
    from fedmtl.experiment import Experiment

    if "name" in table and part in METHODS:
        return describe(part, make(part, table, allowed)).get(part)
    if part not in COMPONENTS:
        raise ValueError(f"{part!r} has no fields; those that have are {', '.join(COMPONENTS)}.")
    return {item.name: item.default for item in dataclasses.fields(Experiment)}[part]


def read_values(
    preset: str | Path, settings: Iterable[str] = (), allow: Iterable[str] = ()
) -> tuple[dict[str, Any], str, Allowed]:
    """The values of a preset, with ``key=value`` settings applied, its file, and what they may have imported.

    A ``[compare]`` table is for comparisons, and left out.
    """
    values, path = read_preset(preset)
    values.pop("compare", None)
    allowed, settings = beside(path, allow), list(settings)
    check_elsewhere(values, settings, str(path))
    values = override(values, settings, allowed)
    try:
        check_names(values, allowed)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return values, str(path), allowed


def load_experiment(preset: str | Path, settings: Iterable[str] = (), allow: Iterable[str] = ()) -> "Experiment":
    """The experiment of a preset, with ``key=value`` settings applied.

    Args:
        preset: a file, or the name of a preset.
        settings: ``key=value``; a dot goes into a component.
        allow: modules, or files that end in ``.py``, from which components may come besides fedmtl and, unless the
            file is a run's, the preset's own folder.

    Raises:
        ValueError: no such preset, a module that is not allowed, or what ``Experiment`` refuses.
    """
    from fedmtl.experiment import from_dict

    return from_dict(*read_values(preset, settings, allow))


def starts_ray(values: Mapping[str, Any]) -> bool:
    """Whether an experiment of these values will start Ray on this machine."""
    return values.get("runtime", "ray") == "ray" and not values.get("ray_address")

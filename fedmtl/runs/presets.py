"""Experiments from files and from ``key=value`` settings. What they may have imported says ``fedmtl.registry.allowed``.

Values are read without importing what they name: torch takes longer to import than Ray's first steps to be waited for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fedmtl.core.bounds import shown
from fedmtl.core.suggest import did_you_mean
from fedmtl.core.toml import read_toml
from fedmtl.registry.allowed import Allowed, beside
from fedmtl.registry.components import check_names, describe, fields_given, listed, make
from fedmtl.runs.blame import blaming
from fedmtl.runs.experiment_fields import DEFAULT_RUNTIME
from fedmtl.runs.old_keys import refuse_old_keys
from fedmtl.runs.settings import override

if TYPE_CHECKING:
    from fedmtl.runs.experiment import Experiment

ELSEWHERE = {"state_dir": ("",), "address": ("", "auto")}
"""Fields by which a runtime would write elsewhere, or join a cluster, whose objects may run code; and values that do
not."""

PLACES = ("path", "logdir", "uri")
"""Fields by which a callback would write elsewhere."""


OTHER_TABLES = ("compare", "tune", "run")
"""Tables of a preset that are no part of its experiment: for several runs, and options of one."""


def presets() -> dict[str, Path]:
    """Name -> file of the presets that come with the package, or lie beside it in a checkout."""
    package = Path(__file__).parents[1]
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
                f"{did_you_mean(str(preset), _names(known))}"
            )
        path = known[str(preset)]
    return read_toml(path), path


def _names(known: Iterable[str]) -> list[str]:
    """Presets, and the TOML files of the current folder, which a slip may mean too."""
    try:
        here = [path.name for path in sorted(Path().glob("*.toml"))[:100]]
    except OSError:
        here = []
    return [*known, *here]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a null character
        return False


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
    runtime = fields_given("runtime", values.get("runtime", "")) if "runtime" not in given else {}
    for key, harmless in ELSEWHERE.items():
        value = runtime.get(key, "")
        if value not in harmless and f"runtime.{key}" not in given and isinstance(value, str) and value.isprintable():
            raise ValueError(
                f"{where}: runtime: {key} = {shown(value)} leads out of the file's own folder, and a file alone may "
                f"not; give it with --set runtime.{key}=…, or leave it out."
            )
    for callback in listed(values.get("callbacks", ())) if "callbacks" not in given else ():
        for field, value in fields_given("callback", callback).items():
            if field in PLACES and value != "":
                raise ValueError(
                    f"{where}: callbacks: {field} = {shown(value)} leads out of the run's own folder, and a file alone "
                    "may not; give the callback with --callback, or leave the field out."
                )


def read_values(
    preset: str | Path | None,
    settings: Iterable[str] = (),
    allow: Iterable[str] = (),
    own: tuple[str, Mapping[str, Any]] = ("", MappingProxyType({})),
) -> tuple[dict[str, Any], str, Allowed]:
    """The values of a preset, with ``key=value`` settings applied, its file, and what they may have imported.

    ``OTHER_TABLES`` are left out.

    Args:
        preset: a file, or the name of a preset; None: the defaults.
        settings: ``key=value``.
        allow: as for ``load_experiment``.
        own: values in place of the preset's, and their source, which stands for the file where there is no preset.
    """
    source, others = own
    path = Path(source) if preset is None else read_preset(preset)[1]
    values = own_values(preset, others)
    # Without a preset, components may lie in the folder that the command runs in.
    allowed, settings = beside(Path(path.name) if preset is None else path, allow), list(settings)
    check_elsewhere(values, settings, str(path))
    changed = override(values, settings, allowed)

    def check(values: Mapping[str, Any]) -> None:
        try:
            refuse_old_keys(values)
            check_names(values, allowed)
            runtime_of(values, allowed)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    with blaming(lambda: values, str(path), settings, allowed, check):
        check(changed)
    return changed, str(path), allowed


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
    from fedmtl.runs.experiment import from_dict

    settings = list(settings)
    values, where, allowed = read_values(preset, settings, allow)

    def attempt(values: Mapping[str, Any]) -> "Experiment":
        return from_dict(values, where, allowed)

    with blaming(lambda: own_values(preset), where, settings, allowed, attempt):
        return attempt(values)


def own_values(preset: str | Path | None, others: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """The values of a preset's file, without ``OTHER_TABLES``, and with others in place of them."""
    values = {} if preset is None else read_preset(preset)[0]
    for table in OTHER_TABLES:
        values.pop(table, None)
    return {**values, **others}


def without(runtime: Any, *fields: str) -> Any:
    """The runtime without some of its fields, which then have their defaults; one that a table cannot make stays.

    Args:
        runtime: an object.
        fields: such as those of ``ELSEWHERE``.
    """
    table = describe("runtime", runtime)
    if "passed_as_object" in table or table.keys().isdisjoint(fields):
        return runtime
    return replace(runtime, **{one.name: one.default for one in dataclass_fields(runtime) if one.name in fields})


def runtime_of(values: Mapping[str, Any], allowed: Allowed) -> Any:
    """The runtime of an experiment of these values, which may begin to start before torch is imported.

    Raises:
        ValueError: one that cannot be.
    """
    return make("runtime", values.get("runtime", DEFAULT_RUNTIME), allowed)

"""An axis of a comparison: one field of the preset takes several values, and each is compared on its own.

[compare.axis]
field = "data.classes"
values = [10, 5, 3, 2, 1]                 # in the order of the picture
label = "digits a client has"

[[compare.axis.at]]                       # for one value, in place of the comparison's own
value = 10
algorithms = ["Local(lr=0.1)", "FedAvg(lr=1.0)"]
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w

from fedmtl.core.bounds import check_text, shown
from fedmtl.core.field_types import check_type
from fedmtl.core.toml import parse_toml, read_toml
from fedmtl.registry.allowed import NOTHING, Allowed
from fedmtl.runs.run_folder import write_outputs
from fedmtl.runs.settings import as_option, override, setting

FILE = "axis.toml"

HEAD = "# The field along which the runs in runs/ are compared. Edit it, and: fedmtl report\n"

VARIED = ("algorithm", "up_codec", "down_codec", "seed")
"""Keys that a comparison varies by itself."""


@dataclass(frozen=True)
class At:
    """Methods compared at one value; empty for those that are compared at all of them."""

    value: Any
    algorithms: tuple[Any, ...] = ()
    packets: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Axis:
    """A field of the preset and its values.

    Raises:
        ValueError: no value, one twice, one that is a table, or a field that the comparison varies by itself.
    """

    field: str
    """A key of the preset; a dot goes into a component: ``data.alpha``."""
    values: tuple[Any, ...]
    """In the order in which they are drawn."""
    label: str = ""
    """Label of the axis in the picture; empty: the field."""
    at: tuple[At, ...] = ()

    def __post_init__(self) -> None:
        if not (isinstance(self.field, str) and self.field.strip()):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f'compare.axis: field is a key such as "data.alpha", got {shown(self.field)}.')
        if self.field in VARIED:
            raise ValueError(
                f"compare.axis: field is {self.field!r}, which a comparison varies by itself: list its values under "
                "algorithms, packets or seeds."
            )
        if not isinstance(self.values, (list, tuple)) or not self.values:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"compare.axis: values is a list of at least one value, got {shown(self.values)}.")
        object.__setattr__(self, "values", tuple(self.values))
        for value in self.values:
            if isinstance(value, Mapping) or value is None:
                raise ValueError(
                    f"compare.axis: a value is a number, a text or a list, got {shown(value)}; write a component as a "
                    "call, such as 'MLP(hidden=(8,))'."
                )
            if self.values.count(value) > 1:
                raise ValueError(f"compare.axis: each value stands once, got {shown(value)} twice.")
        check_type("compare.axis: label", self.label, str)
        check_text("compare.axis: label", self.label, 200)
        for at in self.at:
            if at.value not in self.values:
                raise ValueError(f"compare.axis.at: value is one of {shown(list(self.values))}, got {shown(at.value)}.")

    @property
    def title(self) -> str:
        """The label, or the field."""
        return self.label or self.field

    def without(self, part: str) -> "Axis":
        """The axis without own ``algorithms``, or ``packets``, of its values: where an option names them for all."""
        return replace(self, at=tuple(replace(at, **{part: ()}) for at in self.at))

    def algorithms(self, value: Any) -> tuple[Any, ...]:
        """The value's own; empty where it has none."""
        return tuple(algorithm for at in self.at if at.value == value for algorithm in at.algorithms)

    def packets(self, value: Any) -> tuple[Any, ...]:
        """The value's own; empty where it has none."""
        return tuple(pair for at in self.at if at.value == value for pair in at.packets)

    def put(self, values: Mapping[str, Any], value: Any, allowed: Allowed = NOTHING) -> dict[str, Any]:
        """The preset's values with the field set.

        Raises:
            ValueError: a path into something that has no fields.
        """
        changed = setting(self.field, value)
        try:
            return override(values, [changed], allowed)
        except ValueError as error:
            raise ValueError(f"compare.axis: {str(error).removeprefix(f'{as_option(changed)}: ')}") from None


def axis_of(table: Any) -> Axis:
    """The axis of a ``[compare.axis]`` table.

    Raises:
        ValueError: a key that is missing or unknown, or what ``Axis`` refuses.
    """
    own = _table("compare.axis", table, ("field", "values"), ("label", "at"))
    entries = own.get("at", ())
    if not isinstance(entries, (list, tuple)):
        raise ValueError(f"compare.axis: at is a list of tables, written [[compare.axis.at]], got {shown(entries)}.")
    return Axis(**{**own, "at": tuple(_at(entry) for entry in entries)})


def parse_axis(text: str, option: str = "--axis") -> Axis:
    """``FIELD=[VALUE, …]`` of an option of the command line.

    Raises:
        ValueError: text of another form.
    """
    field, equals, listed = text.partition("=")
    try:
        values = parse_toml(f"values = {listed}", shown(text))["values"] if equals else None
    except ValueError:
        values = None
    if not isinstance(values, list):
        raise ValueError(f"{option} is written FIELD=[VALUE, …], such as data.alpha=[0.1, 1, 10], got {shown(text)}.")
    return Axis(field.strip(), tuple(values))


def write_axis(folder: Path, axis: Axis | None) -> None:
    """Keep a comparison's axis in its folder, beside ``runs``, for later reports; none undoes an earlier one."""
    if axis is None and not (folder / FILE).is_file():
        return
    table = {} if axis is None else {"field": axis.field, "values": list(axis.values), "label": axis.label}
    write_outputs(folder, {FILE: (HEAD + tomli_w.dumps(table)).encode()})


def read_axis(runs: Iterable[Path]) -> Axis | None:
    """The axis of the comparison that some run folders are a part of; the first that is found, or None.

    Raises:
        ValueError: a file that holds no axis.
    """
    for home in dict.fromkeys(run.resolve().parent.parent for run in runs):
        file = home.parent / FILE
        if home.name == "runs" and file.is_file():
            table = read_toml(file)
            try:
                return axis_of(table) if table else None
            except ValueError as error:
                raise ValueError(f"{file}: {error}") from None
    return None


def value_at(experiment: Mapping[str, Any], field: str) -> Any:
    """The value of a field in a resolved experiment; None where it has no such field."""
    found: Any = experiment
    for key in field.split("."):
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return found


def _at(entry: Any) -> At:
    own = _table("compare.axis.at", entry, ("value",), ("algorithms", "packets"))
    for key in ("algorithms", "packets"):
        if not isinstance(own.get(key, ()), (list, tuple)):
            raise ValueError(f"compare.axis.at: {key} is a list, got {shown(own[key])}.")
    return At(own["value"], tuple(own.get("algorithms", ())), tuple(own.get("packets", ())))


def _table(where: str, table: Any, needed: Iterable[str], besides: Iterable[str]) -> dict[str, Any]:
    keys = (*needed, *besides)
    if not isinstance(table, Mapping):
        raise ValueError(f"{where} is a table of {', '.join(keys)}, got {shown(table)}.")
    wrong = [key for key in table if key not in keys]
    if wrong:
        raise ValueError(f"{where}: unknown key {shown(wrong[0])}; the keys are {', '.join(keys)}.")
    missing = [key for key in needed if key not in table]
    if missing:
        raise ValueError(f"{where}: {missing[0]} is missing; it has {', '.join(needed)}.")
    return dict(table)

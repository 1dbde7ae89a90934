"""Search spaces: fields of an experiment and the values that they are tuned over.

A preset's ``[tune]`` table, such as

    [tune]
    "algorithm.lr" = { low = 1e-3, high = 1.0, log = true }
    "algorithm.epochs" = { low = 1, high = 10 }
    up_codec = ["Int8", "FP16"]

names any fields, with a dot into a component. Without one, ``DEFAULTS`` gives every algorithm a space of its own.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from fedmtl.core.bounds import check_field, shown
from fedmtl.core.field_types import check_type
from fedmtl.registry.allowed import NOTHING, Allowed
from fedmtl.registry.components import COMPONENTS, METHODS, make
from fedmtl.runs.experiment import Experiment


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``; on a logarithmic scale where ``log``; whole numbers where both ends are."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            check_type(f"tune: {name}", getattr(self, name), float)
        check_type("tune: log", self.log, bool)
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"tune: a range has low < high, both finite, got low={self.low!r} and high={self.high!r}.")
        if self.log and self.low <= 0:
            raise ValueError(f"tune: a logarithmic range begins above 0, got low={self.low!r}; leave log out.")

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def at(self, place: float) -> float | int:
        """The value at a place in [0, 1) of the range, rounded to three digits."""
        if self.whole:
            steps = self.high - self.low + 1
            low, high = (self.low - 0.5, self.high + 0.5) if self.log else (self.low, self.low + steps)
            value = low * (high / low) ** place if self.log else low + place * steps
            return int(min(max(round(value) if self.log else math.floor(value), self.low), self.high))
        value = self.low * (self.high / self.low) ** place if self.log else self.low + place * (self.high - self.low)
        return self.rounded(value)

    def rounded(self, value: float) -> float | int:
        """To three digits, inside the range: shorter to write, and as good."""
        if self.whole:
            return int(value)
        return float(min(max(float(f"{value:.3g}"), self.low), self.high))

    def at_edge(self, value: float) -> str:
        """ "low" or "high" where the value lies in the outer twentieth of the range there; else empty."""
        low, high, x = (math.log(v) for v in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        place = (x - low) / (high - low)
        return "low" if place <= EDGE else "high" if place >= 1 - EDGE else ""


EDGE = 0.05

Choices = tuple[Any, ...]

Space = Mapping[str, Range | Choices]
"""Field, such as "algorithm.lr" -> its values."""

DEFAULTS: dict[str, Range] = {
    "lr": Range(1e-3, 1.0, log=True),
    "shared_lr": Range(1e-3, 1.0, log=True),
    "server_lr": Range(1e-3, 10.0, log=True),
    "hyper_lr": Range(1e-4, 1.0, log=True),
    "rate": Range(1e-3, 1.0, log=True),
    "lam": Range(1e-3, 100.0, log=True),
    "mu": Range(1e-4, 10.0, log=True),
    "pull": Range(1e-3, 100.0, log=True),
    "strength": Range(1e-3, 100.0, log=True),
    "momentum": Range(0.0, 0.99),
    "tau": Range(1e-5, 0.1, log=True),
}
"""Field of an algorithm -> its range, where a preset has no ``[tune]`` table: step sizes, and weights of penalties."""

OWN_DEFAULTS: dict[tuple[str, str], Range] = {
    ("FedU", "beta"): Range(1e-4, 1.0, log=True),
    ("FedHCA2", "alpha"): Range(1e-3, 1.0, log=True),
    ("FedHCA2", "beta"): Range(1e-3, 1.0, log=True),
    ("FedAMP", "sigma"): Range(0.1, 1e4, log=True),
    ("FedHCA2", "c"): Range(0.0, 1.0),
    ("ServerCAGrad", "c"): Range(0.0, 0.99),
}
"""Algorithm and field -> its range, where the same letter means another thing elsewhere."""


def default_space(experiment: Experiment) -> dict[str, Range | Choices]:
    """The space of an experiment's algorithm, and of one that it wraps."""
    return dict(_of_algorithm(experiment.algorithm, "algorithm"))


def _of_algorithm(algorithm: Any, path: str) -> dict[str, Range | Choices]:
    found: dict[str, Range | Choices] = {}
    for field in dataclasses.fields(algorithm) if dataclasses.is_dataclass(algorithm) else ():
        here = f"{path}.{field.name}"
        if field.name == "algorithm":
            found |= _of_algorithm(getattr(algorithm, field.name), here)
        elif field.init:
            known = OWN_DEFAULTS.get((type(algorithm).__name__, field.name), DEFAULTS.get(field.name))
            if known is not None:
                found[here] = known
    return found


def space_of(table: Any) -> dict[str, Range | Choices]:
    """The space of a ``[tune]`` table.

    Raises:
        ValueError: what is no table of ranges and lists.
    """
    if not isinstance(table, Mapping):
        raise ValueError(
            f'tune is a table, such as "algorithm.lr" = {{ low = 0.001, high = 1.0, log = true }}, got {shown(table)}.'
        )
    found: dict[str, Range | Choices] = {}
    for path, value in _flat(table).items():
        if isinstance(value, Range):
            found[path] = value
        elif isinstance(value, list | tuple) and len(value):
            found[path] = tuple(value)
        else:
            raise ValueError(
                f"tune: {shown(path)} is a range, {{ low = 0.001, high = 1.0, log = true }}, or a list of values, got "
                f"{shown(value)}."
            )
    return found


def _flat(table: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """TOML reads a key with dots that is not quoted as tables inside tables."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        here = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) and ("low" in value or "high" in value):
            if unknown := sorted(set(value) - {"low", "high", "log"}):
                raise ValueError(f"tune: {shown(here)} has an unknown key {shown(unknown[0])}; low, high and log are.")
            if missing := [end for end in ("low", "high") if end not in value]:
                raise ValueError(f"tune: {shown(here)} needs {missing[0]}, such as {{ low = 0.001, high = 1.0 }}.")
            found[here] = Range(**value)
        elif isinstance(value, Mapping):
            found |= _flat(value, here)
        else:
            found[here] = value
    return found


def with_values(experiment: Experiment, values: Mapping[str, Any], allowed: Allowed = NOTHING) -> Experiment:
    """The experiment with some fields changed, those of a component after the component itself.

    Raises:
        ValueError: no such field, or a value that it cannot have.
    """
    for path, value in sorted(values.items(), key=lambda item: item[0].count(".")):
        experiment = _replace(experiment, path.split("."), path, value, allowed)
    return experiment


def value_of(experiment: Experiment, path: str) -> Any:
    """The value of a field now.

    Raises:
        ValueError: no such field.
    """
    found: Any = experiment
    for name in path.split("."):
        _check_field(found, name, path)
        found = getattr(found, name)
    return found


def own_values(experiment: Experiment, space: Space) -> dict[str, Any]:
    """The experiment's values of the fields, where all lie in the space; else none."""
    found = {}
    for path, values in space.items():
        value = value_of(experiment, path)
        if isinstance(values, Range):
            good = not isinstance(value, bool) and isinstance(value, int | float) and values.low <= value <= values.high
            found[path] = value
        else:
            same = [one for one in values if value_of(with_values(experiment, {path: one}), path) == value]
            good = bool(same)
            found[path] = same[0] if same else None
        if not good:
            return {}
    return found


def has_field(experiment: Experiment, path: str) -> bool:
    try:
        value_of(experiment, path)
    except ValueError:
        return False
    return True


def _check_field(component: Any, name: str, path: str) -> None:
    fields = [field.name for field in dataclasses.fields(component)] if dataclasses.is_dataclass(component) else []
    if name not in fields:
        of = "an experiment" if isinstance(component, Experiment) else shown(component)
        raise ValueError(
            f"tune: {shown(path)}: {of} has no field {name!r}; its fields are {', '.join(fields) or 'none'}."
        )


def _replace(component: Any, names: list[str], path: str, value: Any, allowed: Allowed) -> Any:
    name, rest = names[0], names[1:]
    _check_field(component, name, path)
    if rest:
        return dataclasses.replace(component, **{name: _replace(getattr(component, name), rest, path, value, allowed)})
    kind = COMPONENTS.get(name, name if name in METHODS else None)
    if kind is not None and isinstance(value, str | Mapping):
        value = make(kind, value, allowed)
    value = tuple(value) if isinstance(value, list) else value
    try:
        check_type(f"tune: {path}", value, get_type_hints(type(component)).get(name, Any))
    except NameError:  # a hint of a class of the user's own that cannot be looked up
        pass
    check_field(f"tune: {path}", type(component), name, value)
    return dataclasses.replace(component, **{name: value})

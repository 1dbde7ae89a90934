"""Several experiments from one preset: algorithms × packets × seeds, at one value of a field or along several."""

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fedmtl.core.bounds import check_float, check_int, shown
from fedmtl.core.field_types import check_type
from fedmtl.core.suggest import did_you_mean
from fedmtl.core.traits import part
from fedmtl.registry.allowed import NOTHING, Allowed
from fedmtl.runs.aliases import check_aliases
from fedmtl.runs.axis import Axis, axis_of, value_at
from fedmtl.runs.experiment import Experiment, from_dict
from fedmtl.runs.presets import OTHER_TABLES

PacketCodecs = Mapping[str, Any]
"""``up_codec`` and ``down_codec``; one that is missing stays the preset's."""

MOST_RUNS = 10_000
"""Most runs of one comparison."""

_KEYS = ("algorithms", "packets", "seeds", "target", "aliases", "axis")


@dataclass(frozen=True)
class Sweep:
    """Variations of an experiment: a preset's ``[compare]`` table, or the command line.

    Raises:
        ValueError: an unknown key, or a value of the wrong type.
    """

    algorithms: tuple[Any, ...] = ()
    """Names, calls or tables; empty for the preset's own."""
    packets: tuple[PacketCodecs, ...] = ()
    """Pairs of codecs; empty for the preset's own. Algorithms that upload no packet run with the first only."""
    seeds: tuple[int, ...] = (0, 1, 2)
    target: float | None = None
    """Mean score over tasks; the table says how many bytes each needed to reach it."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Label, short name, or the algorithm or codecs in it -> what tables and figures call it."""
    axis: Axis | None = None
    """A field of the preset along which all of it is compared; None for the preset's value alone."""

    def __post_init__(self) -> None:
        for name in ("algorithms", "packets", "seeds"):
            if not isinstance(getattr(self, name), (list, tuple)):
                raise ValueError(f"compare: {name} is a list, got {shown(getattr(self, name))}.")
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for seed in self.seeds:
            check_type("compare: a seed", seed, int)
            check_int("compare: a seed", seed, 0)
        if not self.seeds:
            raise ValueError("compare: at least one seed is needed, got none.")
        for pair in (*self.packets, *(pair for at in (self.axis.at if self.axis else ()) for pair in at.packets)):
            if not isinstance(pair, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ValueError(f"compare: packets are tables with up_codec and down_codec, got {shown(pair)}.")
            wrong = [key for key in pair if key not in ("up_codec", "down_codec")]
            if wrong or not pair:
                raise ValueError(f"compare: packets have up_codec and down_codec, got {shown(dict(pair))}.")
        check_aliases(self.aliases)
        check_type("compare: target", self.target, float | None)
        check_float("compare: target", 0.0 if self.target is None else self.target)


def sweep_of(table: Mapping[str, Any]) -> Sweep:
    """The sweep of a ``[compare]`` table. ``seeds`` may be a list, or a number that counts from 0."""
    if not isinstance(table, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"compare is a table of {', '.join(_KEYS)}, got {shown(table)}.")
    unknown = [key for key in table if key not in _KEYS]
    if unknown:
        raise ValueError(
            f"compare: unknown key {shown(unknown[0])}; the keys are {', '.join(_KEYS)}."
            f"{did_you_mean(unknown[0], _KEYS)}"
        )
    values = dict(table)
    if isinstance(values.get("seeds"), int) and not isinstance(values["seeds"], bool):
        values["seeds"] = first_seeds(values["seeds"])
    if "axis" in values:
        values["axis"] = axis_of(values["axis"])
    return Sweep(**values)


def first_seeds(count: int) -> tuple[int, ...]:
    """0, 1, …

    Raises:
        ValueError: more than ``MOST_RUNS``.
    """
    check_int("The number of seeds", count, most=MOST_RUNS)
    return tuple(range(count))


def parse_packets(text: str) -> PacketCodecs:
    """``UP`` or ``UP/DOWN``, each a codec's name or call, or a list of these; a slash in brackets is a glob's."""
    depth = 0
    place = len(text)
    for k, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == "/" and depth <= 0:
            place = k
            break
    up, slash, down = text[:place], text[place : place + 1], text[place + 1 :]
    return {"up_codec": up.strip(), **({"down_codec": down.strip()} if slash else {})}


def expand(values: Mapping[str, Any], sweep: Sweep, where: str, allowed: Allowed = NOTHING) -> list[Experiment]:
    """Every experiment of a sweep, seeds innermost; nothing runs yet, so that a mistake in the last is found first.

    ``allowed`` is as for ``from_dict``.

    Raises:
        ValueError: an experiment that cannot be, or more than ``MOST_RUNS``.
    """
    parts = _along(values, sweep, where, allowed)
    count = sum(max(1, len(own.algorithms)) * max(1, len(own.packets)) * len(own.seeds) for _, own in parts)
    if count > MOST_RUNS:
        raise ValueError(f"{where}: a comparison has at most {MOST_RUNS:,} runs, got {count:,}; compare in parts.")
    experiments: dict[Hashable, Experiment] = {}
    for table, own in parts:
        base = {key: value for key, value in table.items() if key not in OTHER_TABLES}
        for algorithm in own.algorithms or (base.get("algorithm", "FedPer"),):
            for pair in own.packets or ({},):
                for seed in own.seeds:
                    experiment = from_dict({**base, **pair, "algorithm": algorithm, "seed": seed}, where, allowed)
                    experiments.setdefault(identity(experiment), experiment)
    return list(experiments.values())


def _along(
    values: Mapping[str, Any], sweep: Sweep, where: str, allowed: Allowed
) -> list[tuple[Mapping[str, Any], Sweep]]:
    """The preset at each value of the axis, and what is compared there."""
    axis = sweep.axis
    if axis is None:
        return [(values, sweep)]
    parts = []
    for value in axis.values:
        algorithms = axis.algorithms(value) or sweep.algorithms
        if algorithms and axis.field.split(".")[0] == "algorithm":
            raise ValueError(
                f"{where}: compare.axis: {axis.field!r} is a field of the preset's algorithm, but algorithms are "
                "listed; leave the list out, or list them with that field."
            )
        own = replace(sweep, algorithms=algorithms, packets=axis.packets(value) or sweep.packets, axis=None)
        parts.append((axis.put(values, value, allowed), own))
    return parts


def identity(experiment: Experiment) -> Hashable:
    """Equal for runs that would be the same: equal, or unlike in codecs that their algorithm never uses."""
    unused = {} if uploads_packets(experiment) else {"up_codec": None, "down_codec": None}
    return _hashable({**experiment.result_settings, **unused})


def _hashable(value: Any) -> Hashable:
    if isinstance(value, dict):
        return tuple((key, _hashable(item)) for key, item in sorted(value.items()))
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def uploads_packets(experiment: Experiment) -> bool:
    """Return False for algorithms whose clients send nothing that a codec codes: Local, and Pooled."""
    sends = experiment.algorithm.traits.sends
    return sends is None or sends.up not in ("nothing", "raw data")


def folder_names(experiments: Sequence[Experiment], axis: Axis | None = None) -> list[str]:
    """A folder for each run: name, value on the axis, algorithm and codecs in short, seed; numbered where needed."""
    names: list[str] = []
    for experiment in experiments:
        at = "" if axis is None else value_at(experiment.to_dict(), axis.field)
        parts = [experiment.name, *([f"{axis.field.split('.')[-1]}{at}"] if axis else [])]
        parts += [type(experiment.algorithm).__name__]
        if uploads_packets(experiment):
            parts += [_codec(experiment.up_codec)]
            parts += [_codec(experiment.down_codec)] if experiment.down_codec != experiment.up_codec else []
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(parts))
        name = f"{stem}/seed{experiment.seed}"
        count = 2
        while name in names:
            name, count = f"{stem}-{count}/seed{experiment.seed}", count + 1
        names.append(name)
    return names


def _codec(codec: Any) -> str:
    """The class, and for a wrapper what it wraps."""
    if (parts := part(codec, "parts")) is not None:
        return "-".join(map(_codec, parts))
    inner = part(codec, "codec")
    return type(codec).__name__ + (f"-{_codec(inner)}" if inner is not None else "")

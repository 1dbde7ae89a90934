"""What runs are called: in full as their dataclasses print, in short by what tells them apart."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedmtl.experiment import HOW

DENSE = "Dense"
"""The codec that goes without saying."""

IGNORED = {"seed", *HOW} - {"name"}
"""Settings that runs of one group may differ in: chance, and where they ran. A name is there to tell runs apart."""

Experiment = Mapping[str, Any]


def settings(experiment: Experiment) -> dict[str, Any]:
    """What makes an experiment another experiment: all but ``IGNORED``."""
    return {key: value for key, value in experiment.items() if key not in IGNORED}


def describe(table: Mapping[str, Any]) -> str:
    """A table of the experiment as its dataclass prints: ``TopK(keep=0.05)``.

    Args:
        table: ``name``, and the fields; a field that is a table with a name is described in its turn.
    """
    return f"{class_name(table)}({_fields(table)})"


def class_name(table: Mapping[str, Any]) -> str:
    """The class that a table makes, without the module of a user's own: ``MyAlgorithm``."""
    return table["name"].rpartition(":")[2]


def algorithm_names(experiments: Sequence[Experiment]) -> list[str]:
    """A name for each experiment's algorithm: ``FedPer``, or ``FedPer(lr=0.1)`` where another FedPer has another lr."""
    tables = [experiment["algorithm"] for experiment in experiments]
    return [_brief(table, [other for other in tables if other["name"] == table["name"]]) for table in tables]


def codec_name(experiment: Experiment) -> str:
    """The codecs in short: ``""`` where both ways are dense, ``TopK(keep=0.05)`` for the uplink, ``down …`` else."""
    parts = []
    for key, prefix in (("up_codec", ""), ("down_codec", "down ")):
        if experiment[key]["name"] != DENSE:
            parts.append(prefix + _squeezed(experiment[key]))
    return ", ".join(parts)


def short_names(experiments: Sequence[Experiment]) -> list[str]:
    """Names that tell the experiments apart: algorithm, codec, and in brackets any other setting that two do not share.

    Experiments that differ in nothing but what ``IGNORED`` lists get the same name.
    """
    names = [
        f"{algorithm} · {codec}" if (codec := codec_name(experiment)) else algorithm
        for algorithm, experiment in zip(algorithm_names(experiments), experiments, strict=True)
    ]
    named = list(zip(names, experiments, strict=True))
    return [_with_settings(name, own, [other for n, other in named if n == name]) for name, own in named]


def _squeezed(table: Mapping[str, Any]) -> str:
    """A codec and its settings; a codec within it needs no keyword: ``ErrorFeedback(TopK(keep=0.05))``."""
    fields = [
        _squeezed(value) if isinstance(value, Mapping) else f"{key}={value!r}"
        for key, value in table.items()
        if key != "name"
    ]
    return f"{class_name(table)}({', '.join(fields)})" if fields else class_name(table)


def _with_settings(name: str, experiment: Experiment, namesakes: Sequence[Experiment]) -> str:
    keys = [key for key in settings(experiment) if any(experiment[key] != other.get(key) for other in namesakes)]
    return f"{name} [{', '.join(f'{key}={_value(experiment[key])}' for key in keys)}]" if keys else name


def _brief(table: Mapping[str, Any], namesakes: Sequence[Mapping[str, Any]]) -> str:
    differing = {k: v for k, v in table.items() if any(other.get(k) != v for other in namesakes)}
    return f"{class_name(table)}({_fields(differing)})" if differing else class_name(table)


def _fields(table: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={_value(value)}" for key, value in table.items() if key != "name")


def _value(value: Any) -> str:
    return describe(value) if isinstance(value, Mapping) and "name" in value else repr(value)

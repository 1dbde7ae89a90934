"""Names of runs: in full as their dataclasses print, in short by their differences."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fedmtl.runs.experiment_fields import EXECUTION_FIELDS
from fedmtl.runs.old_keys import OLD_KEYS

DENSE = "Dense"
"""The codec that goes without saying."""

_CODECS = ("up_codec", "down_codec")

NOT_COMPARED = {"seed", *EXECUTION_FIELDS, *OLD_KEYS} - {"name"}
"""Settings that runs of one group may differ in: the seed, and the place of execution. A name distinguishes runs."""

ExperimentTable = Mapping[str, Any]


def settings(experiment: ExperimentTable) -> dict[str, Any]:
    """Return the settings that distinguish experiments: all but ``NOT_COMPARED``."""
    return {key: value for key, value in experiment.items() if key not in NOT_COMPARED}


def settings_key(table: object) -> str:
    """A text that is equal for equal tables."""
    return json.dumps(table, sort_keys=True, default=str)


def describe(table: Mapping[str, Any]) -> str:
    """A table of the experiment as its dataclass prints: ``TopK(keep=0.05)``.

    Args:
        table: ``name``, and the fields; a field that is a table with a name is described in its turn. An object of a
            user's own, whose fields are not known, is its class: ``ArrayData``.
    """
    if isinstance(table.get("parts"), list) and class_name(table) == "Chain":
        return f"Chain({', '.join(map(_value, table['parts']))})"
    if isinstance(table.get("layers"), Mapping) and class_name(table) == "PerLayer":
        layers = ", ".join(f"{glob!r}: {_value(codec)}" for glob, codec in table["layers"].items())
        return f"PerLayer({{{layers}}}, default={_value(table.get('default'))})"
    if "passed_as_object" in table:
        own, text = class_name(table), str(table["passed_as_object"])
        return text if text.startswith(f"{own}(") else own
    return f"{class_name(table)}({_fields(table)})"


def class_name(table: Mapping[str, Any]) -> str:
    """The class that a table makes, without the module of a user's own: ``MyAlgorithm``."""
    return table["name"].rpartition(":")[2]


def algorithm_names(experiments: Sequence[ExperimentTable]) -> list[str]:
    """A name for each experiment's algorithm: ``FedPer``, or ``FedPer(lr=0.1)`` where another FedPer has another lr."""
    tables = [experiment["algorithm"] for experiment in experiments]
    return [_brief(table, [other for other in tables if other["name"] == table["name"]]) for table in tables]


def codec_names(experiments: Sequence[ExperimentTable]) -> list[str]:
    """The codecs of each experiment in short: ``""`` where both ways are dense, else ``TopK5+EF ↑ / Int8 ↓``.

    ``TopK5`` keeps 5 % and ``+EF`` feeds errors back; any other setting of a codec is named where another codec of the
    class has another.
    """
    tables = [table for experiment in experiments for key in _CODECS for table in _nested(experiment[key])]
    names = []
    for experiment in experiments:
        up, down = (_codec_name(experiment[key], tables) for key in _CODECS)
        ways = [f"{up} ↑↓"] if up == down else [f"{up} ↑", f"{down} ↓"]
        names.append(" / ".join(way for way in ways if not way.startswith(f"{DENSE} ")))
    return names


def short_names(experiments: Sequence[ExperimentTable]) -> list[str]:
    """Distinct names of the experiments: algorithm, codec, and in brackets any other setting that two do not share.

    Experiments that differ in nothing but what ``NOT_COMPARED`` lists get the same name.
    """
    parts = zip(algorithm_names(experiments), codec_names(experiments), strict=True)
    names = [f"{algorithm} · {codec}" if codec else algorithm for algorithm, codec in parts]
    named = list(zip(names, experiments, strict=True))
    return [_with_settings(name, own, [other for n, other in named if n == name]) for name, own in named]


def _codec_name(value: Any, tables: Sequence[Mapping[str, Any]]) -> str:
    """A codec in short, distinguished from others of its class among ``tables``, with the codec inside it."""
    if not isinstance(value, Mapping):
        return "+".join(_codec_name(each, tables) for each in value) if isinstance(value, list) else repr(value)
    name = class_name(value)
    if name == "Chain" and isinstance(value.get("parts"), list):
        return "+".join(_codec_name(each, tables) for each in value["parts"])
    if name == "PerLayer" and isinstance(value.get("layers"), Mapping):
        parts = dict.fromkeys(_codec_name(each, tables) for each in [*value["layers"].values(), value.get("default")])
        return f"PerLayer({', '.join(parts)})"
    inner = [_codec_name(value[key], tables) for key in value if key == "codec"]
    namesakes = [table for table in tables if table["name"] == value["name"]]
    fields = {k: v for k, v in value.items() if k not in ("name", "codec")}
    if name == "TopK" and isinstance(keep := fields.get("keep"), int | float):
        name = f"TopK{100 * keep:.4g}"
        del fields["keep"]
    text = _fields({k: v for k, v in fields.items() if any(other.get(k) != v for other in namesakes)})
    if name == "ErrorFeedback" and inner:
        return f"{inner[0]}+EF" + (f"({text})" if text else "")
    within = ", ".join([*inner, *([text] if text else [])])
    return f"{name}({within})" if within else name


def _nested(value: Any) -> list[Mapping[str, Any]]:
    """The table of a codec, and those within it."""
    if isinstance(value, list):
        return [table for each in value for table in _nested(each)]
    if not isinstance(value, Mapping):
        return []
    own = [value] if "name" in value else []
    return [*own, *(table for each in value.values() for table in _nested(each))]


def _with_settings(name: str, experiment: ExperimentTable, namesakes: Sequence[ExperimentTable]) -> str:
    keys = [key for key in settings(experiment) if any(experiment[key] != other.get(key) for other in namesakes)]
    if not keys:
        return name
    return f"{name} [{', '.join(f'{key}={_setting(key, experiment, namesakes)}' for key in keys)}]"


def _setting(key: str, experiment: ExperimentTable, namesakes: Sequence[ExperimentTable]) -> str:
    """A setting; of a component its class, with the fields in which others of that class differ."""
    value, others = experiment[key], [other[key] for other in namesakes if isinstance(other.get(key), Mapping)]
    if not isinstance(value, Mapping) or "name" not in value or "passed_as_object" in value:
        return _value(value)
    return _brief(value, [other for other in others if other.get("name") == value["name"]])


def _brief(table: Mapping[str, Any], namesakes: Sequence[Mapping[str, Any]]) -> str:
    differing = {k: v for k, v in table.items() if any(other.get(k) != v for other in namesakes)}
    return f"{class_name(table)}({_fields(differing)})" if differing else class_name(table)


def _fields(table: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={_value(value)}" for key, value in table.items() if key != "name")


def _value(value: Any) -> str:
    return describe(value) if isinstance(value, Mapping) and "name" in value else repr(value)

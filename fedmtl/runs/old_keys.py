"""Keys of experiments before engine and runtime were components: an error that gives the new ones."""

from collections.abc import Mapping
from typing import Any

from fedmtl.core.bounds import shown
from fedmtl.registry.components import fields_given
from fedmtl.runs.experiment_fields import DEFAULT_RUNTIME

OLD_KEYS = {
    "chunk": ("engine", "chunk"),
    "compile": ("engine", "compile"),
    "workers": ("runtime", "workers"),
    "gpus_per_worker": ("runtime", "gpus_per_worker"),
    "ray_address": ("runtime", "address"),
    "state_dir": ("runtime", "state_dir"),
    "wait_seconds": ("runtime", "wait_seconds"),
    "round_seconds": ("runtime", "round_seconds"),
}
"""Key of former times -> component of an experiment, and its field."""

_WAITS = ("wait_seconds", "round_seconds")

_FIELDS = {
    "VMap": ("chunk", "compile"),
    "Loop": (),
    "Ray": ("workers", "gpus_per_worker", "address", "state_dir", *_WAITS),
    "InProcess": ("state_dir",),
    "Flower": _WAITS,
}
"""Component -> fields that were keys of their own."""

_NAMES = {name.lower(): name for name in _FIELDS} | {"local": "InProcess"}


def refuse_old_keys(values: Mapping[str, Any]) -> None:
    """Refuse keys, and the name of a runtime, that an experiment no longer has.

    Raises:
        ValueError: it gives the lines to write instead.
    """
    key = next((key for key in values if key in OLD_KEYS), None)
    runtime = values.get("runtime")
    if key is not None:
        field, new = OLD_KEYS[key]
        name = _name(values.get(field, {"engine": "VMap", "runtime": DEFAULT_RUNTIME}[field]))
        instead = _instead(values)
        if new not in _FIELDS.get(name, (new,)) and "device=" not in instead:
            owner = next(one for one, fields in _FIELDS.items() if new in fields)
            raise ValueError(
                f'{key} = {shown(values[key])} is a field of {owner} now, and {field} = "{name}" has none: leave it '
                f'out, or write {field} = "{owner}({new}={values[key]!r})".'
            )
        raise ValueError(
            f"{key} = {shown(values[key])} is a field of the {field} now: write {instead}, or on the command "
            f"line --set {field}.{new}={_plain(values[key])}."
        )
    if isinstance(runtime, str) and runtime.strip() == "local":
        raise ValueError(
            "runtime 'local' is now 'InProcess', since Local is an algorithm: write runtime = \"InProcess\"."
        )


def _instead(values: Mapping[str, Any]) -> str:
    """The new lines for all old keys of some values."""
    olds = {key: value for key, value in values.items() if key in OLD_KEYS}
    engine, runtime = _name(values.get("engine", "VMap")), _name(values.get("runtime", DEFAULT_RUNTIME))
    fields = {
        kind: {OLD_KEYS[key][1]: value for key, value in olds.items() if OLD_KEYS[key][0] == kind}
        for kind in ("engine", "runtime")
    }
    if runtime == "InProcess" and fields["runtime"].get("gpus_per_worker"):
        fields["engine"]["device"] = "cuda"
    lines = []
    for kind, name in (("engine", engine), ("runtime", runtime)):
        if fields[kind]:
            known = (*_FIELDS.get(name, fields[kind]), *(("device",) if kind == "engine" else ()))
            own = {key: value for key, value in fields_given(kind, values.get(kind, "")).items() if key != "name"}
            own |= {key: value for key, value in fields[kind].items() if key in known}
            text = ", ".join(f"{key}={value!r}" for key, value in own.items())
            lines.append(f'{kind} = "{name}({text})"' if text else f'{kind} = "{name}"')
    return " and ".join(lines)


def _name(value: Any) -> str:
    """The name of a component, as it is written today."""
    if isinstance(value, Mapping):
        value = value.get("name", "")
    word = value.partition("(")[0].strip() if isinstance(value, str) else type(value).__name__
    return _NAMES.get(word.lower(), word)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else shown(value)

"""``fedmtl list``: the names that a preset can use."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from fedmtl.cli.errors import one_clear_error


class Kind(StrEnum):
    """What ``fedmtl list`` can list."""

    algorithms = "algorithms"
    weightings = "weightings"
    optimizers = "optimizers"
    codecs = "codecs"
    tasks = "tasks"
    data = "data"
    models = "models"
    presets = "presets"


def list_known(kind: Annotated[Kind, typer.Argument(hidden=True, metavar="KIND")]) -> None:
    """List what a preset can name, and what it takes.

    KIND is algorithms, weightings, optimizers, codecs, tasks, data, models or presets.
    """
    with one_clear_error():
        if kind is Kind.presets:
            from fedmtl.loading import presets

            for name, path in presets().items():
                first = path.read_text(encoding="utf-8").splitlines()[0]
                typer.echo(f"{name:<16} {first.lstrip('# ')}")
            return
        from fedmtl.components import REGISTRY, find

        for name in REGISTRY[kind.value if kind is Kind.data else kind.value[:-1]]:
            cls = find(kind.value if kind is Kind.data else kind.value[:-1], name)
            typer.echo(f"{name:<16} {first_line(cls)}\n{'':<16} {fields_of(cls)}")


def first_line(cls: Any) -> str:
    return next((line.strip() for line in (cls.__doc__ or "").splitlines() if line.strip()), "")


def fields_of(cls: Any) -> str:
    """Fields with their defaults, as they are written in a preset."""
    import dataclasses

    parts = []
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            parts.append(f"{field.name}={field.default!r}")
        elif field.default_factory is not dataclasses.MISSING:
            parts.append(f"{field.name}={field.default_factory()!r}")
        else:
            parts.append(field.name)
    return ", ".join(parts) or "no fields"

"""``fedmtl list``: the names that a preset can use. Nothing heavy is imported, so that it comes at once."""

import json
from enum import StrEnum
from typing import Annotated

import typer

from fedmtl.cli.errors import one_clear_error
from fedmtl.core.terminal import say

NAME_WIDTH = 20
"""Columns before the text of an entry."""


class ListKind(StrEnum):
    """Kinds that ``fedmtl list`` can list."""

    algorithms = "algorithms"
    weightings = "weightings"
    optimizers = "optimizers"
    codecs = "codecs"
    transforms = "transforms"
    tasks = "tasks"
    data = "data"
    partitions = "partitions"
    models = "models"
    augmentations = "augmentations"
    callbacks = "callbacks"
    engines = "engines"
    runtimes = "runtimes"
    links = "links"
    devices = "devices"
    availability = "availability"
    policies = "policies"
    radios = "radios"
    presets = "presets"

    @property
    def singular(self) -> str:
        """The registry's word for it."""
        others = {ListKind.data: "data", ListKind.availability: "availability", ListKind.policies: "policy"}
        return others.get(self, self.value[:-1])


def list_known(
    kind: Annotated[ListKind, typer.Argument(hidden=True, metavar="KIND")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs: a list of name, summary and fields.")] = False,
) -> None:
    """List what a preset can name, and what it takes.

    KIND is algorithms, weightings, optimizers, codecs, transforms, tasks, data, partitions, models, augmentations,
    callbacks, engines, runtimes, links, devices, availability, policies, radios or presets.
    """
    with one_clear_error():
        from fedmtl.registry.described import MEANING, Described, described

        if kind is ListKind.presets:
            from fedmtl.runs.presets import presets

            firsts = {name: path.read_text(encoding="utf-8").partition("\n")[0] for name, path in presets().items()}
            found = [Described(name, first.lstrip("# "), {}) for name, first in firsts.items()]
        else:
            found = described(kind.singular)
        if as_json:
            entries = [{"name": each.name, "summary": each.summary, "fields": each.fields} for each in found]
            typer.echo(json.dumps(entries, indent=2, ensure_ascii=False))
            return
        say(MEANING[kind.singular])
        indent = " " * NAME_WIDTH
        for each in found:
            say(f"{each.name:<{NAME_WIDTH - 1}} {each.summary}", indent)
            if kind is not ListKind.presets:
                say(indent + each.signature, indent)

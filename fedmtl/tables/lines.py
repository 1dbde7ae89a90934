"""Blocks of a table as lines of JSON and CSV, a text a block."""

import csv
import io
import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

from fedmtl.core.file_format import FORMAT
from fedmtl.tables.blocks import Block
from fedmtl.tables.schemas import Table


def json_lines(table: Table, blocks: Iterator[Block]) -> Iterator[str]:
    """Yield lines of JSON, a text a block, several times as fast as dict by dict; ``format`` is their last field."""
    for block in blocks:
        fields = [*(f'"{field}": %s' for field in table.names(block)), f'"format": {FORMAT}']
        template = "{" + ", ".join(fields) + "}\n"
        yield "".join([template % values for values in zip(*map(_json, table.values(block)), strict=True)])


def _json(values: list[Any]) -> list[str]:
    """Each value as JSON; a text, of which there are few, once."""
    known: dict[Any, str] = {None: "null", True: "true", False: "false"}
    return [
        repr(value)
        if type(value) in (int, float)
        else known[value]
        if value in known
        else known.setdefault(value, json.dumps(value))
        for value in values
    ]


def csv_lines(table: Table, blocks: Iterator[Block]) -> Iterator[str]:
    """CSV with a header, a text a block; nothing where JSON has null, true and false as there."""
    first = next(blocks, None)
    yield ",".join(table.fields if first is None else table.names(first)) + "\n"
    for block in [] if first is None else chain([first], blocks):
        columns = [
            ["true" if value is True else "false" if value is False else value for value in values]
            for values in table.values(block)
        ]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(zip(*columns, strict=True))
        yield text.getvalue()

"""``fedmtl run --data FILE``: the options of a table as values of an experiment."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MODEL = "BagOfEmbeddings"
"""Model of a text, where none is named."""

SIZED = (MODEL, "TextCNN", "TransformerEncoder", "GRU", "LSTM")
"""Models that are given the vocabulary of a table's texts where it is not set."""


def table_values(
    data: Path | None,
    client: str | None,
    tasks: Sequence[str],
    features: str | None,
    text: str | None,
    named: bool,
    resumed: Path | None,
) -> dict[str, Any]:
    """The experiment's data, its name, and the model of a text; nothing without a table.

    Args:
        data: the file.
        client: the column of clients.
        tasks: columns of labels, ``name`` or ``name=kind``.
        features: columns, with commas between them.
        text: a column.
        named: whether a preset gives name and model.
        resumed: folder of the run that goes on, whose file must be the same.

    Raises:
        ValueError: an option of a table without one, or a table without client or task.
        OSError: no such file.
    """
    if data is None:
        given = {"--client": client, "--task": tasks, "--features": features, "--text": text}
        if other := [option for option, value in given.items() if value]:
            raise ValueError(f"{other[0]} is about a table: add --data FILE.csv or FILE.parquet.")
        return {}
    if not client or not tasks:
        missing = "--task COLUMN" if client else "--client COLUMN"
        raise ValueError(f"--data {data} needs {missing}: the columns of clients and of labels are named.")
    from fedmtl.data.table_file import checksum

    pairs = [task.partition("=")[::2] for task in tasks]
    table: dict[str, Any] = {"name": "tablefile", "path": str(data), "client": client}
    table["tasks"] = [name.strip() for name, _ in pairs]
    if kinds := {name.strip(): kind.strip() for name, kind in pairs if kind.strip()}:
        table["kinds"] = kinds
    if features is not None:
        table["features"] = [name.strip() for name in features.split(",") if name.strip()]
    if text is not None:
        table["text"] = text
    table["sha256"] = _first_checksum(resumed, str(data)) or checksum(data)
    values: dict[str, Any] = {"data": table}
    if not named:
        values["name"] = data.stem
        if text is not None:
            values["model"] = MODEL
    return values


def sized(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values, in which a model of ``SIZED`` has an embedding for each of the table's tokens and no more.

    Raises:
        ValueError: a table that cannot be loaded.
    """
    data, model = values.get("data"), values.get("model")
    table = {"name": model} if isinstance(model, str) else dict(model or {})
    if not (isinstance(data, Mapping) and data.get("text") and table.get("name") in SIZED) or "vocabulary" in table:
        return values
    from fedmtl.registry.components import make

    return {**values, "model": {**table, "vocabulary": make("data", data).frame().vocabulary}}


def checked(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values as of ``sized``, once their table has been loaded: several runs would each fail of it.

    Raises:
        ValueError: a table that cannot be loaded.
    """
    from fedmtl.registry.components import make

    found, data = sized(values), values.get("data")
    if isinstance(data, Mapping) and data.get("name") == "tablefile":
        make("data", data).frame()
    return found


def _first_checksum(folder: Path | None, path: str) -> str:
    """The checksum with which a folder's run on this file began; empty where there is none."""
    from fedmtl.core.toml import read_toml

    file = None if folder is None else folder / "experiment.toml"
    if file is None or not file.is_file():
        return ""
    try:
        table = read_toml(file).get("data")
    except ValueError:
        return ""  # reported where the run is opened
    kept = table if isinstance(table, dict) and table.get("path") == path else {}
    return str(kept.get("sha256", ""))

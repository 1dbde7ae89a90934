"""Data sets in words: tables, lines and records of ``fedmtl data``."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fedmtl.core.suggest import did_you_mean
from fedmtl.core.text_table import TextColumn, fitted
from fedmtl.data.base import Dataset, Federation
from fedmtl.data.fetch import fetch_file
from fedmtl.data.home import data_home, find_file, is_there
from fedmtl.data.skew import LabelSkew
from fedmtl.data.source import DataSource
from fedmtl.registry.components import REGISTRY, find, make
from fedmtl.registry.described import describe_source
from fedmtl.registry.finding import plain
from fedmtl.runs.settings import override

MOST_CLIENTS = 40
"""Rows of the table of clients."""


def sources() -> list[DataSource]:
    """The sources of all registered data sets, in their order."""
    return [find("data", name).source for name in REGISTRY["data"]]


def source_of(name: str) -> DataSource:
    """The source of a registered data set.

    Raises:
        ValueError: no data set has the name.
    """
    known = {plain(each): each for each in REGISTRY["data"]}
    if plain(name) not in known:
        raise ValueError(f"There is no data set {name!r}; known: {', '.join(known)}.{did_you_mean(name, known)}")
    return find("data", known[plain(name)]).source


def made(name: str, settings: Sequence[str]) -> Dataset:
    """A registered data set with settings."""
    return make("data", override({"data": name}, [f"data.{setting}" for setting in settings])["data"])


def set_table(found: Sequence[DataSource], width: int | None) -> str:
    """One row a data set; what matters less is left out of a narrow terminal."""
    here = ["yes" if is_there(source) else "no" for source in found]
    return fitted(
        [
            TextColumn("data set", [source.name for source in found]),
            TextColumn("there", here),
            TextColumn("clients", [source.clients for source in found]),
            TextColumn("tasks", [_tasks(source) for source in found], 2),
            TextColumn("examples", [_count(source.examples) for source in found], 1),
            TextColumn("licence", [source.licence for source in found], 3),
        ],
        width,
    ).text


def _tasks(source: DataSource) -> str:
    if len(source.tasks) > 4:
        return f"{len(source.tasks)} tasks"
    return ", ".join(source.tasks) or "any"


def _count(examples: int | None) -> str:
    return "any" if examples is None else f"{examples:,}"


def home_line() -> str:
    """The place of the files, and the commands that say more."""
    return (
        f"Files of data sets are in {data_home()}; FEDMTL_DATA names another folder. More: fedmtl data describe NAME, "
        "fedmtl data fetch NAME."
    )


def source_record(source: DataSource) -> dict[str, Any]:
    """The facts of ``fedmtl data list --json``."""
    return {
        "name": source.name,
        "there": is_there(source),
        "clients": source.clients,
        "tasks": list(source.tasks),
        "examples": source.examples,
        "licence": source.licence,
        "address": source.address,
        "citation": source.citation,
        "files": [
            {"path": file.path, "bytes": file.size, "sha256": file.sha256, "address": file.address}
            for file in source.files
        ],
    }


def source_lines(dataset: Dataset) -> list[str]:
    """Name and sentence, and the source of a registered data set."""
    name = type(dataset).__name__
    path = f"{type(dataset).__module__}:{name}"
    lines = [f"{name}: {describe_source('data', name, path).summary}"]
    source = source_of(name)
    facts = {
        "source": source.address,
        "licence": source.licence,
        "citation": source.citation,
        "files": "; ".join(f"{file.path} ({file.size:,} bytes, SHA-256 {file.sha256})" for file in source.files),
    }
    return lines + [f"{key:<10} {value}" for key, value in facts.items() if value]


def client_table(federation: Federation, skews: Mapping[str, LabelSkew], width: int | None) -> str:
    """Sizes and labels of each client, the first ``MOST_CLIENTS`` of them."""
    ids, sizes = federation.ids(), federation.sizes
    shown = range(min(len(ids), MOST_CLIENTS))
    names = [_client(federation, int(ids[k])) for k in shown]
    columns = [
        TextColumn("client", names),
        TextColumn("train", [f"{sizes[k, 0]:,}" for k in shown]),
        TextColumn("test", [f"{sizes[k, 1]:,}" for k in shown]),
    ]
    for rank, (task, skew) in enumerate(skews.items(), 1):
        at = {int(client): row for row, client in enumerate(skew.clients)}
        cells = [_labels(skew, at[int(ids[k])]) if int(ids[k]) in at else "" for k in shown]
        columns.append(TextColumn(task, cells, rank))
    table = fitted(columns, width)
    text = table.text
    if table.left_out:
        text += f"\nLeft out for want of width: {', '.join(table.left_out)}."
    if len(ids) > MOST_CLIENTS:
        text += f"\n… and {len(ids) - MOST_CLIENTS:,} clients more; --json has all."
    return f"{text}\n{len(ids):,} clients, {sizes[:, 0].sum():,} training and {sizes[:, 1].sum():,} test examples"


def _client(federation: Federation, client: int) -> str:
    return federation.client_names.get(client, str(client))


def _labels(skew: LabelSkew, row: int) -> str:
    """The most frequent class with its share, or mean and standard deviation; and the client's part of the skew."""
    if not skew.labelled[row]:
        return "–"
    own = f" ({skew.own[row]:.2f})"
    if not skew.names:
        return f"{skew.means[row]:.4g} ± {skew.stds[row]:.3g}{own}"
    most = int(skew.counts[row].argmax())
    return f"{skew.names[most]} {skew.counts[row, most] / skew.labelled[row]:.0%}{own}"


def skew_lines(skews: Mapping[str, LabelSkew]) -> list[str]:
    """The skew of each task."""
    return [
        "Skew of labels, 0 where all clients are alike, 1 at most: "
        + ", ".join(f"{task} {skew.skew:.3f}" for task, skew in skews.items())
        + ". In brackets: the client's distance from all clients, or its part of the variance between clients."
    ]


def federation_record(dataset: Dataset, federation: Federation, skews: Mapping[str, LabelSkew]) -> dict[str, Any]:
    """The facts of ``fedmtl data describe --json``."""
    sizes = federation.sizes.tolist()
    clients = [
        {"client": client, "name": _client(federation, client), "train": train, "test": test}
        for client, (train, test) in zip(federation.ids().tolist(), sizes, strict=True)
    ]
    return {"data": repr(dataset), "source": source_record(source_of(type(dataset).__name__)), "clients": clients} | {
        "tasks": {task: _skew_record(skew) for task, skew in skews.items()}
    }


def _skew_record(skew: LabelSkew) -> dict[str, Any]:
    found: dict[str, Any] = {
        "skew": _number(skew.skew),
        "clients": skew.clients.tolist(),
        "labelled": skew.labelled.tolist(),
        "own_skew": list(map(_number, skew.own)),
    }
    if skew.names:
        return found | {"names": list(skew.names), "counts": skew.counts.tolist()}
    return found | {"means": list(map(_number, skew.means)), "stds": list(map(_number, skew.stds))}


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return float(value) if value == value else None


def fetched_lines(name: str, origin: str, timeout: float) -> Iterator[str]:
    """Get the files of a data set, a line after each, and its licence at the end."""
    source = source_of(name)
    if not source.files:
        if not is_there(source):
            raise ValueError(f"Data set {source.name} comes with {source.package}; install it with pip.")
        yield f"Data set {source.name} has no files to fetch" + (
            f": {source.package} has it." if source.package else "."
        )
        return
    for file in source.files:
        is_new = fetch_file(source, file, origin, timeout)
        what = "fetched" if is_new else "was there"
        yield f"{find_file(source, file.path)}: {what}, {file.size:,} bytes, SHA-256 {file.sha256}"
    yield f"Licence: {source.licence}. Cite: {source.citation}."

"""Data sets that tests read where the data home has them, and small ones that tests make."""

import hashlib
from pathlib import Path

import pytest

from fedmtl.data.home import is_there
from fedmtl.data.source import DataFile, DataSource


def missing(source: DataSource) -> str:
    """The reason to skip a test of a data set; empty where it is there."""
    if is_there(source):
        return ""
    what = source.package or ", ".join(file.path for file in source.files)
    return f"{source.name}: no {what} in the data home; fedmtl data fetch {source.name}"


def needs(source: DataSource) -> pytest.MarkDecorator:
    """Skip where a data set is not there."""
    return pytest.mark.skipif(bool(missing(source)), reason=missing(source))


def small_source(content: bytes, address: str = "") -> DataSource:
    """A source of one file with that content."""
    file = DataFile("small/small.bin", len(content), hashlib.sha256(content).hexdigest(), address)
    return DataSource(
        name="small",
        clients="none",
        tasks=(),
        examples=0,
        address="https://example.org/small",
        licence="MIT",
        citation="Small, 2020",
        files=(file,),
        packing="packed small.",
    )


def all_files(folder: Path) -> list[str]:
    """Files below a folder, temporary ones too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

"""The origin of a data set: address, licence and citation of the original, and the files that its loader reads."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DataFile:
    """A file that a loader reads, known by its checksum."""

    path: str
    """Below the data home; absolute for a ``copy``."""
    size: int
    """Bytes."""
    sha256: str
    address: str = ""
    """URL of these bytes; empty where the file is re-packed from the original, and so is placed by hand."""
    copy: "DataFile | None" = None
    """Another packing of the same content outside the data home, as a system's package installs it."""


@dataclass(frozen=True)
class DataSource:
    """The facts about a data set that are known without its files."""

    name: str
    """The registered name."""
    clients: str
    """The natural clients, with their number."""
    tasks: tuple[str, ...]
    """Names of the tasks."""
    examples: int | None
    """Number of examples that the files hold; None where any number is drawn."""
    address: str
    """Page or file of the original; empty where there is none."""
    licence: str
    """Licence of the data, and what it is known from; a set that states none is for tests and research only."""
    citation: str
    """The work to cite; empty where there is none."""
    files: tuple[DataFile, ...] = ()
    """Files in the data home; none where a package carries the data."""
    excerpt: tuple[DataFile, ...] = ()
    """Files that hold all that default settings read, and are read in place of ``files`` where they are there."""
    packing: str = ""
    """The way from the original to the files, where they differ."""
    package: str = ""
    """Python package that carries the data."""

"""A picture of a report that is on disk."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PictureFile:
    """A PNG file, which a notebook shows as the value of a cell."""

    path: Path

    def _repr_png_(self) -> bytes:
        return self.path.read_bytes()

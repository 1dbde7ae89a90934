"""Arrays on disk named in files: paths and numbers of rows, for other processes, and none of their content."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fedmtl.data.disk import DiskArray
from fedmtl.data.disk_file import StoredRows


def write_disk_array(path: Path, array: DiskArray) -> None:
    """Write an array's places as ``path.json``, its rows, and what it holds in memory."""
    named: list[Any] = []
    for number, part in enumerate(array.parts):
        if isinstance(part, StoredRows):
            named.append(asdict(part))
        else:
            named.append(None)
            np.save(_beside(path, f"{number}.npy"), part)
    if array.rows is not None:
        np.save(_beside(path, "rows.npy"), array.rows)
    _beside(path, "json").write_text(json.dumps({"dtype": array.dtype.str, "checked": array.checked, "parts": named}))


def read_disk_array(path: Path) -> DiskArray | None:
    """The array of ``write_disk_array``; None where there is none. What it holds in memory, and its rows, are read."""
    if not _beside(path, "json").exists():
        return None
    found = json.loads(_beside(path, "json").read_text())
    parts = tuple(
        np.load(_beside(path, f"{number}.npy"))
        if part is None
        else StoredRows(**{**part, "shape": tuple(part["shape"]), "strides": tuple(part["strides"])})
        for number, part in enumerate(found["parts"])
    )
    file = _beside(path, "rows.npy")
    return DiskArray(parts, np.dtype(found["dtype"]), np.load(file) if file.exists() else None, found["checked"])


def _beside(path: Path, end: str) -> Path:
    return path.with_name(f"{path.name}.{end}")

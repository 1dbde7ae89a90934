"""A folder of .npy files as clients: one folder each, with inputs and a file of labels for each task."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedmtl.core.bounds import shown

INPUTS = "x"
"""Name of the file of inputs."""

PARTS = {"train", "test"}


def files_of(folder: str | Path) -> dict[str, Any]:
    """Client -> (file of x, {task: file}), or {"train": …, "test": …}; paths only, nothing is read.

    Raises:
        ValueError: no such folder, no client, or a client without inputs or labels.
    """
    place = Path(folder)
    if not place.is_dir():
        raise ValueError(f"from_arrays: there is no folder {shown(str(folder))}; it has a folder for each client.")
    found = {each.name: _of_client(each) for each in sorted(place.iterdir()) if _is_part(each)}
    if not found:
        raise ValueError(
            f"{place} has no folder; give one for each client, with {INPUTS}.npy and a file of labels for each task."
        )
    return found


def _is_part(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith((".", "_"))


def _of_client(folder: Path) -> Any:
    parts = sorted(each.name for each in folder.iterdir() if _is_part(each))
    if not parts:
        return _examples(folder)
    if set(parts) != PARTS:
        raise ValueError(f"{folder} has the folders {', '.join(parts)}; a client has files, or folders train and test.")
    return {part: _examples(folder / part) for part in parts}


def _examples(folder: Path) -> tuple[Path, dict[str, Path]]:
    files = {each.stem: each for each in sorted(folder.iterdir()) if each.suffix == ".npy" and each.name[0] != "."}
    if INPUTS not in files:
        raise ValueError(f"{folder} has no {INPUTS}.npy, the inputs of its examples; it has {shown(sorted(files))}.")
    x = files.pop(INPUTS)
    if not files:
        raise ValueError(f"{folder} has {INPUTS}.npy alone; give labels in a file for each task, such as sick.npy.")
    return x, files


def with_labels(where: str, data: Any) -> Any:
    """A client's data with the files of labels read, which may hold texts; inputs stay where they are.

    Raises:
        ValueError: a file that is not there or holds no array; the message begins with ``where``.
    """
    if isinstance(data, Mapping):
        return {name: with_labels(where, one) for name, one in data.items()}
    if isinstance(data, tuple | list) and len(data) == 2 and isinstance(data[1], Mapping):
        return data[0], {name: _read(f"{where}, task {name!r}: labels", y) for name, y in data[1].items()}
    return data


def _read(what: str, y: Any) -> Any:
    if not isinstance(y, str | Path):
        return y
    if Path(y).suffix != ".npy":
        raise ValueError(f"{what}: an array, or a .npy file, got {shown(str(y))}.")
    try:
        return np.load(y, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        line = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
        raise ValueError(f"{what}: {y} cannot be read ({line}).") from None

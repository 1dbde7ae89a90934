"""A folder of .npy files as clients: one folder each, with inputs and a file of labels for each task."""

from pathlib import Path
from typing import Any

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

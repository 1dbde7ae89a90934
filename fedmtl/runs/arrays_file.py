"""Named arrays beside a checkpoint, in a file of the round that the checkpoint names, which has their digest."""

import base64
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from xxhash import xxh3_128_hexdigest

from fedmtl.client.state.base import StateError
from fedmtl.core.files import Folder


def write_arrays(files: Folder, stem: str, round: int, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Write the arrays of a round, and return their digest, for the checkpoint's note."""
    data = save_arrays(dict(arrays))
    files.write(f"checkpoint/{stem}-{round}.state", data)
    return xxh3_128_hexdigest(data)


def read_arrays(files: Folder, stem: str, round: int, digest: str, what: str) -> dict[str, NDArray[Any]]:
    """Read the arrays of a round.

    Raises:
        StateError: they are gone or damaged; the message says ``what`` they are.
    """
    name = f"checkpoint/{stem}-{round}.state"
    data = files.read(name) if files.exists(name) else b""
    if xxh3_128_hexdigest(data) != digest:
        raise StateError(
            f"{str(files.path(name))!r}, {what}, is gone or damaged; restore the file, or begin anew in another folder "
            "(--out)."
        )
    return load_arrays(data)


def remove_old_arrays(files: Folder, stem: str, round: int) -> None:
    """Remove the arrays of other rounds."""
    for name in files.names("checkpoint"):
        if re.fullmatch(rf"{stem}-\d+\.state", name) and name != f"{stem}-{round}.state":
            files.remove(f"checkpoint/{name}")


def to_text(numbers: NDArray[Any], kind: str) -> str:
    """Return numbers as text, for a note."""
    return base64.b64encode(numbers.astype(kind).tobytes()).decode()


def from_text(text: str, kind: str) -> NDArray[Any]:
    """Return the numbers of such a text."""
    return np.frombuffer(base64.b64decode(text, validate=True), kind)

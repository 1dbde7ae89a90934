"""An algorithm's diagnostics of the clients, from a run's folder."""

import json
from pathlib import Path
from typing import Any, NamedTuple


class Diagnostic(NamedTuple):
    """Numbers of K clients."""

    clients: list[int]
    values: list[Any]
    """[K], or [K, K] as rows; None where there is no number."""


def read_diagnostics(folder: Path) -> dict[str, Diagnostic]:
    """Return the diagnostics by name; none where the algorithm has none, or before the end.

    Raises:
        ValueError: a file that no run writes.
    """
    path = folder / "diagnostics.json"
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: Diagnostic(each["clients"], each["values"]) for name, each in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is not what a run writes ({type(error).__name__}); delete it.") from None

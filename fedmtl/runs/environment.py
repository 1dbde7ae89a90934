"""Environment of a run: versions and the machine's kind."""

import importlib.metadata
import os
import platform
from functools import cache
from typing import Any


def environment() -> dict[str, Any]:
    """Return the environment of a run: versions and the machine's kind."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "packages": {package: _version(package) for package in ("fedmtl", "flwr", "numpy", "ray", "torch")},
    }


@cache  # each reads and parses a file of up to 100 kB
def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"

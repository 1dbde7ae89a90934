"""Environment of a run: versions and the machine's kind."""

import importlib.metadata
import os
import platform
from typing import Any


def environment() -> dict[str, Any]:
    """Return the environment of a run: versions and the machine's kind."""
    packages = ("fedmtl", "flwr", "numpy", "ray", "torch")
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "packages": versions,
    }

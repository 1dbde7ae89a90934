"""``fedmtl --version``: versions of fedmtl and of what its results may depend on."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import typer

PACKAGES = ("flwr", "torch", "ray", "numpy")


def versions() -> dict[str, str]:
    """Package -> version, without importing any of them."""
    found = {"fedmtl": sys.modules["fedmtl"].__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def print_versions(asked: bool) -> None:
    """The callback of ``--version``: print a line each, and end."""
    if asked:
        for package, number in versions().items():
            typer.echo(f"{package} {number}")
        raise typer.Exit

"""Scripts of benchmarks in forks: as new processes each of them, and of Ray's workers, imports torch for seconds."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import forks, pool_forks
from tests.runtime import ray_forks

RUN = subprocess.run


def run(command: list[str], stub: Path | None = None, **settings: Any) -> "subprocess.CompletedProcess[str]":
    """In place of ``subprocess.run``: a script or the command of fedmtl's in a fork, other programs as they are.

    Args:
        command: its program and arguments.
        stub: of Ray's workers; this process's own by default.
        **settings: of ``subprocess.run``.
    """
    executable, first, *arguments = command
    if executable != sys.executable:
        return RUN(command, **settings)
    assert settings.pop("capture_output") and settings.pop("text")
    if first == "-m":
        assert arguments[0] == "fedmtl"
        return forks.run(code=pool_forks.program(arguments[1:]), **settings)
    return forks.run(code=ray_forks.on_forks(forks.script(Path(first), arguments), stub), **settings)


def program(arguments: list[str]) -> str:
    """A program, for tests.forks, that is ``fedmtl`` with these arguments, whose benchmarks are in forks, too."""
    return (
        "import functools, pathlib, subprocess, sys, fedmtl.__main__\n"
        "from tests.bench import forked\n"
        f"stub = pathlib.Path({str(ray_forks.stub_of_workers())!r})\n"
        "subprocess.run = functools.partial(forked.run, stub=stub)\n"
        f"sys.argv = {['fedmtl', *arguments]!r}\n"
        "fedmtl.__main__.main()"
    )

"""Ray's workers in forks of a process that has imported torch and fedmtl. What the forks run is Ray's own worker.

For clusters that the process of tests starts; commands and programs that tests start have workers with a true start.
"""

import argparse
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests import stubs


@contextmanager
def forked_workers(folder: Path) -> Iterator[None]:
    """Have stubs in place of the workers of clusters that are started meanwhile; a folder for them is made."""
    if not stubs.POSSIBLE:
        yield
        return
    from ray._private import services

    start = services.start_ray_process
    set_up = str(Path(services.__file__).parent / "workers" / "setup_worker.py")

    def with_stub(command: list[str], kind: str, *arguments: Any, **settings: Any) -> Any:
        true, stub = (subprocess.list2cmdline(each) for each in ([sys.executable, set_up], [str(folder / "worker")]))
        changed = [
            part.replace(f"--python_worker_command={true} ", f"--python_worker_command={stub} ") for part in command
        ]
        assert kind != "raylet" or changed != command
        return start(changed, kind, *arguments, **settings)

    with stubs.stubs(folder, ["worker"], __name__, os.environ), patch.object(services, "start_ray_process", with_stub):
        yield


def work(arguments: list[str]) -> None:
    """Run the worker with its own arguments, as Ray's ``setup_worker.py`` does where no environment is to be set up."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--serialized-runtime-env-context", default="{}")
    parser.add_argument("--language")
    known, sys.argv = parser.parse_known_args(arguments[1:])
    assert not any(json.loads(known.serialized_runtime_env_context).values()), known
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    import cloudpickle  # noqa: F401
    import jsonschema  # noqa: F401
    import requests  # noqa: F401
    import yaml  # noqa: F401

    import fedmtl.runtime.local  # noqa: F401

    assert "ray" not in sys.modules  # it reads a worker's variables of the environment when it is imported
    stubs.main(work)

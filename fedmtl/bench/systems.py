"""The systems that are compared: their scripts, and whether this machine has them."""

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fedmtl.core.suggest import did_you_mean


@dataclass(frozen=True)
class System:
    """One way to train the clients of a workload."""

    name: str
    """Name in tables."""
    script: str
    """Its file in ``simulations/benchmarks``."""
    workers: int = 1
    """Processes that train."""
    most_rounds: int = sys.maxsize
    """In the first turn, after which trunks and losses are compared."""
    later_rounds: int = 10
    """In later turns, which only take the time."""
    needs: str = ""
    """The package that it measures; "" when it comes with fedmtl."""
    install: str = ""
    """Command that installs that package."""
    options: tuple[str, ...] = ()
    """Further arguments of its script."""

    @property
    def installed(self) -> bool:
        return not self.needs or find_spec(self.needs) is not None

    @property
    def path(self) -> Path:
        return scripts() / self.script


def scripts() -> Path:
    """The folder of the systems' scripts: with the package, or beside it in a checkout.

    Raises:
        OSError: neither is there.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "benchmarks", package.parent / "simulations" / "benchmarks"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(2, "The benchmarks' scripts are missing; install fedmtl again", str(package / "benchmarks"))


LOOP = System("plain loop", "plain_loop.py")
"""Without which there is no telling how fast this machine is just now."""


def fedmtl(workers: int, compile: bool = False) -> System:
    """All rounds in all turns: a run that is long enough may pay for work at its start."""
    return System("fedmtl", "with_fedmtl.py", workers, later_rounds=sys.maxsize, options=("--compile",) * compile)


def peers(word: str, workers: int) -> list[System]:
    """The systems that a word of ``--against`` stands for.

    Raises:
        ValueError: an unknown word.
    """
    match word:
        case "flower":
            hint = "pip install 'flwr[simulation]'"
            return [System("Flower", "with_flower.py", workers, 3, 3, needs="flwr", install=hint)]
        case "pfl":
            hint = "pip install 'fedmtl[bench]'"
            counts = sorted({1, workers})
            return [System(f"pfl, {_processes(n)}", "with_pfl.py", n, needs="pfl", install=hint) for n in counts]
    raise ValueError(
        f"fedmtl is measured against flower or pfl, got {word!r}; the plain loop is always run."
        f"{did_you_mean(word, ('flower', 'pfl'))}"
    )


def _processes(number: int) -> str:
    return "1 process" if number == 1 else f"{number} processes"

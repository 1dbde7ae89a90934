"""The runtime ``Flower``: the one of every experiment that ``flwr run`` starts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedmtl.runtime.base import RuntimeTraits, check_fields

if TYPE_CHECKING:
    from flwr.serverapp import Grid

    from fedmtl.data.base import Federation
    from fedmtl.runs.experiment import Experiment


@dataclass(frozen=True)
class Flower:
    """Nodes of Flower's own: devices behind a SuperLink, or Flower's simulation. ``flwr run`` starts it, and only that.

    Where private state lies is each node's own: ``--node-config 'state-dir="…"'``.
    """

    wait_seconds: float = 120.0
    """Longest wait for nodes that host all clients."""
    round_seconds: float = 3600.0
    """Longest wait for the replies of a round."""
    traits = RuntimeTraits(several_machines=True, deployed=True)
    device = ""
    state_dir = ""

    def __post_init__(self) -> None:
        check_fields(self, seconds=("wait_seconds", "round_seconds"))

    def prepare(self) -> None:
        """Refuse: nothing can be started here.

        Raises:
            ValueError: always.
        """
        refuse_deployed(self)

    def nodes(self, clients: int) -> int:
        return clients

    def open(self, experiment: "Experiment", federation: "Federation", state_folder: str | None) -> "Grid":
        raise _refusal(self)


def refuse_deployed(runtime: Any) -> None:
    """Refuse a runtime whose nodes are started elsewhere, and its runs with them.

    Raises:
        ValueError: it names the command that starts such a run, and the runtimes of runs that are started here.
    """
    if runtime.traits.deployed:
        raise _refusal(runtime)


def _refusal(runtime: Any) -> ValueError:
    return ValueError(
        f"runtime {runtime!r}: a run over Flower is started by 'flwr run', see fedmtl/runtime/README.md; for one that "
        "is started here, take Ray or InProcess."
    )

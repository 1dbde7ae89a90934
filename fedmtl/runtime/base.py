"""The interface of a runtime: where nodes are, how they start, how long the server waits for them."""

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol, get_type_hints

from fedmtl.core.bounds import shown
from fedmtl.core.field_types import check_type
from fedmtl.core.traits import known_traits

if TYPE_CHECKING:
    from flwr.serverapp import Grid

    from fedmtl.data.base import Federation
    from fedmtl.runs.experiment import Experiment

MOST_SECONDS = 10_000_000
"""Four months of waiting."""


@known_traits
@dataclasses.dataclass(frozen=True)
class RuntimeTraits:
    """Capabilities of a runtime. The default declares none."""

    several_machines: bool = False
    """Nodes may be on other machines, which share a folder at most: private state is then one file a client."""
    exclusive: str = ""
    """Field and value for which a run needs its machine, or its cluster, to itself; empty: runs go side by side."""
    deployed: bool = False
    """Its nodes are started elsewhere, and the run by ``flwr run``."""


class Runtime(Protocol):
    """A place of nodes. It has no effect on results: rows and ledgers are equal in all of them."""

    @property
    def traits(self) -> RuntimeTraits:
        """An attribute of the class, or a property where it depends on fields."""
        ...

    @property
    def device(self) -> str:
        """The torch device that nodes train on; empty for the engine's own."""
        ...

    @property
    def state_dir(self) -> str:
        """Folder for durable private state; empty: in the run's folder, or with no folder, for the run only."""
        ...

    @property
    def wait_seconds(self) -> float:
        """Longest wait for nodes that host all clients."""
        ...

    @property
    def round_seconds(self) -> float:
        """Longest wait for the replies of a round."""
        ...

    def prepare(self) -> None:
        """Start in the background what takes long; called before torch is imported."""
        ...

    def nodes(self, clients: int) -> int:
        """Return the number of nodes that host a number of clients."""
        ...

    def open(self, experiment: "Experiment", federation: "Federation", state_folder: str | None) -> "Grid":
        """Start the nodes, and return the connection to them.

        Args:
            experiment: of the run.
            federation: its data, of which each node gets its clients' part.
            state_folder: folder of private state; None for none that outlives the run.
        """
        ...


def check_fields(component: Any, seconds: Iterable[str] = ()) -> None:
    """Refuse fields of the wrong type, and waits that are no positive numbers of seconds.

    Raises:
        ValueError: it names the field, the value and the rule.
    """
    hints = get_type_hints(type(component))
    for field in dataclasses.fields(component):
        check_type(field.name, getattr(component, field.name), hints[field.name])
    for name in seconds:
        value = getattr(component, name)
        if not 0 < value <= MOST_SECONDS:
            raise ValueError(f"{name} is a positive number of seconds, got {shown(value)}; at most {MOST_SECONDS:,}.")

"""Private state stays where its client lives, keyed by client, in versions of the model.

A state of version v is the client's after the training that made version v of the model. A request that sends version v
starts from the newest state up to v, so that training that runs again (after a crash, or because a message came twice)
starts from the same state. Two versions are kept: where the newest is damaged, the one before is left.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.types import ClientId
from fedmtl.protocol.best_round import NO_ROUND


class StateError(ValueError):
    """Stored state that is damaged, or of another model or algorithm."""


class OtherState(StateError):
    """Stored state of another model, algorithm or codec."""


class LostState(StateError):
    """Private state that clients must have and that is not there, or is damaged."""

    def __init__(self, clients: Sequence[ClientId], why: str = "") -> None:
        self.clients, self.why = list(clients), why
        some = ", ".join(map(str, self.clients[:10])) + (", …" if len(self.clients) > 10 else "")
        super().__init__(
            f"The private state of {len(self.clients)} client(s) ({some}) cannot be used: {why}. Restore the files, or "
            "give the state_dir that the run had; or go on knowingly with --restart-clients, by which such clients "
            "begin anew."
        )

    def __reduce__(self) -> Any:
        return LostState, (self.clients, self.why)


class StateStore(Protocol):
    """Store of private states: ``VersionedFileStore``, durable, or ``MmapStateStore``, fast."""

    def load_rows(
        self,
        kind: str,
        clients: NDArray[np.int64],
        version: int,
        first: Callable[[NDArray[np.int64]], Any],
        since: NDArray[np.int64] | None = None,
    ) -> Any:
        """Load the newest states of K clients up to a version of the model, a tree of arrays [K, …].

        Args:
            kind: a name for states of one structure.
            version: of the model that was sent.
            first: some of the K rows -> the first states of these clients, stacked; for those that have none.
            since: the version of which each must have a state, that or a later one; 0 for none, START_ANEW where a
                lost or damaged state may begin anew. None: 0 for all.

        Raises:
            LostState: a state that must be there is not, or is damaged.
            StateError: a state of another experiment.
        """
        ...

    def save_rows(self, kind: str, clients: NDArray[np.int64], version: int, states: Any, keep: int = NO_ROUND) -> None:
        """Keep the states of K clients, a tree of arrays [K, …]; of what is older, the newest version stays.

        And the newest up to version ``keep`` stays, for ``load_rows`` of that version. The best version is named by all
        requests that come two or more after it, until another one is.

        Args:
            version: that the training of these clients makes.
        """
        ...


class Backend(Protocol):
    """Versions of a client's bytes, in memory, in a folder or in Flower's context."""

    def versions(self, client: ClientId) -> list[int]:
        """Return the versions that exist, ascending."""
        ...

    def read(self, client: ClientId, version: int) -> bytes: ...

    def write(self, client: ClientId, version: int, data: bytes) -> None:
        """Replace or add a version, wholly or not at all."""
        ...

    def delete(self, client: ClientId, version: int) -> None: ...

"""A preparation: what clients agree on before the first round, statistics and words, by a summary of each.

A *rule* says what a summary may be and what is agreed by all of them; it knows columns and choices, and no example. The
server asks each client for its summary, adds them up, and sends what was agreed to all, by which each makes its inputs.
Where one process holds all data, as in a simulation, the same happens when it is loaded; the summaries are then sent by
the nodes that have the clients. Where nodes have their own data, each summarises its own, and ``remake`` makes its
inputs anew by what all have agreed on.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.types import ClientId


class Rule(Protocol):
    """The server's part of a preparation: a frozen dataclass of plain values, equal on all sides.

    Summaries come from clients, and are hostile until they are checked.
    """

    def weight(self, body: bytes) -> float:
        """Check a client's summary, and return the largest number of values in it, by which it weighs; 0 for words.

        Raises:
            ValueError: a summary that no client of these columns sends, or numbers that are not finite.
        """
        ...

    def agree(self, sent: Mapping[ClientId, bytes]) -> bytes:
        """Return what is agreed by the summaries of clients; their order is by number.

        Raises:
            ValueError: summaries by which nothing can be agreed.
        """
        ...


@dataclass(frozen=True, eq=False)
class Prepared:
    """A preparation of a federation: its rule, what was agreed, and the summaries of the clients that are here."""

    rule: Rule
    agreed: bytes = field(repr=False)
    """The agreement, which all clients receive."""
    remake: Callable[[bytes], Any] = field(repr=False)
    """The federation, loaded anew and made by what was agreed elsewhere."""
    sent: Mapping[ClientId, bytes] = field(default_factory=dict, repr=False)
    """Each client's summary."""

    @property
    def clients(self) -> NDArray[np.int64]:
        """Ascending, [K]."""
        return np.array(sorted(self.sent), np.int64)

    @property
    def up(self) -> NDArray[np.int64]:
        """Bytes of each client's summary, [K]."""
        return np.array([len(self.sent[client]) for client in self.clients.tolist()], np.int64)

    @property
    def down(self) -> int:
        """Bytes of what was agreed."""
        return len(self.agreed)

    @property
    def digest(self) -> bytes:
        """Eight bytes of the rule, by which packets of another one are refused."""
        return hashlib.sha256(repr(self.rule).encode("utf-8", "surrogatepass")).digest()[:8]

    def of(self, clients: Iterable[ClientId]) -> "Prepared":
        """The preparation with the summaries of some clients alone."""
        return replace(self, sent={client: self.sent[client] for client in clients})


def on_node(prepared: Prepared | None, clients: NDArray[np.int64]) -> Prepared | None:
    """The part of a node that a simulation makes: summaries of its clients, whose inputs are made already."""
    return prepared and replace(prepared.of(clients.tolist()), remake=_elsewhere)


def _elsewhere(agreed: bytes) -> Any:
    raise RuntimeError("The data of this preparation is in another process.")


def prepared_by(
    rule: Rule, sent: Mapping[ClientId, bytes], remake: Callable[[bytes], Any], agreed: bytes | None = None
) -> Prepared:
    """A preparation by the summaries that are here, or by what was agreed elsewhere."""
    return Prepared(rule, rule.agree(sent) if agreed is None else agreed, remake, sent)

"""The only counter of bytes: every packet that crosses between server and client, once."""

from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

from fedmtl.types import ClientId

Direction = Literal["down", "up"]

Purpose = Literal["train", "evaluate", "gather"]
"""Why a packet travelled. A broadcast that is both evaluated and trained on is one packet, of training.
``gather`` is raw data on its way to a central algorithm."""


class Transfer(NamedTuple):
    """One packet of one client."""

    round: int
    """The round that it trains; for ``evaluate``, the round whose model it measures."""
    client: ClientId
    direction: Direction
    purpose: Purpose
    payload_bytes: int
    """Length of the packet, header included: what the algorithm asks the network to carry. The transport's own
    surplus (HTTP, TLS, TCP) is not in it."""


class Ledger:
    """The transfers of a run, in the order of rounds and, within a round and direction, of clients."""

    def __init__(self, transfers: Iterable[Transfer] = ()) -> None:
        self.transfers: list[Transfer] = []
        self._totals: Counter[tuple[Direction, Purpose]] = Counter()
        for transfer in transfers:
            self.record(transfer)

    def record(self, transfer: Transfer) -> None:
        """Count one packet.

        Raises:
            ValueError: an unknown direction or purpose, or a negative length.
        """
        if transfer.direction not in get_args(Direction) or transfer.purpose not in get_args(Purpose):
            raise ValueError(
                f"The ledger knows {get_args(Direction)} and {get_args(Purpose)}, "
                f"got {transfer.direction!r} and {transfer.purpose!r}."
            )
        if transfer.payload_bytes < 0:
            raise ValueError(f"A packet has no negative length, got {transfer.payload_bytes}.")
        self.transfers.append(transfer)
        self._totals[transfer.direction, transfer.purpose] += transfer.payload_bytes

    def total(self, direction: Direction | None = None, purposes: Iterable[Purpose] = get_args(Purpose)) -> int:
        """Bytes in a direction (both when None) for some purposes (all by default)."""
        directions = get_args(Direction) if direction is None else (direction,)
        return sum(self._totals[one, purpose] for one in directions for purpose in set(purposes))

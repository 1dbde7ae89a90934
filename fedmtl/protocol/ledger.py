"""The only counter of bytes: every packet that crosses between server and client, once."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.types import ClientId
from fedmtl.protocol.transfers import DIRECTIONS, PURPOSES, Direction, Purpose, Transfers, in_columns, in_order, kinds
from fedmtl.tables.blocks import Block


class LedgerRow(NamedTuple):
    """One packet of one client."""

    round: int
    """The round that it trains; for ``evaluate``, the round whose model it measures; 0 for ``prepare``."""
    client: ClientId
    direction: Direction
    purpose: Purpose
    packet_bytes: int
    """Length of the packet, header included: what the algorithm asks the network to carry. The transport's own
    surplus (HTTP, TLS, TCP) is not in it."""
    ideal_bits: int | None = None
    """Bits that the symbols of its body hold (``ideal_bits.py``); None where the ledger keeps none."""


class Ledger:
    """The transfers of a run, by exchange; in an exchange down before up, then by client, then by round.

    Exchange t is one exchange of server and clients: it trains round t, and measures the model of round t − 1. So the
    order, and the digest, are those of the transfers and not of the calls that recorded them, as long as exchanges
    come one after the other.

    A transfer takes about two bytes; ``flush`` frees them too.

    Args:
        transfers: to be counted.
        ideal: also keep ``ideal_bits``. They are in no digest: where floats differ by rounding, as from engine to
            engine, a level may differ, in a packet of the same length.
    """

    def __init__(self, transfers: Iterable[LedgerRow] = (), ideal: bool = False) -> None:
        self.ideal = ideal
        self._totals: Counter[tuple[str, str]] = Counter()
        self._exchanges: list[list[Transfers]] = []
        self._exchange = -1
        self._open: list[Transfers] = []
        """Blocks of the exchange that is going on."""
        self._digest = b""
        """Digest of the exchanges before it."""
        for transfer in transfers:
            self.record(transfer)

    def record(self, transfer: LedgerRow) -> None:
        """Count one packet.

        Raises:
            ValueError: an unknown direction or purpose, or a negative length.
        """
        round, client, direction, purpose, packet_bytes, ideal_bits = transfer
        self.record_many(round, np.array([client], np.int64), direction, purpose, packet_bytes, ideal_bits)

    def record_many(
        self,
        round: int,
        clients: NDArray[Any],
        direction: Direction,
        purpose: Purpose,
        packet_bytes: NDArray[Any] | int,
        ideal_bits: NDArray[np.int64] | int | None = None,
    ) -> None:
        """Count a packet of each of several clients.

        Args:
            round: as in ``LedgerRow``: for ``evaluate``, the round whose model is measured.
            clients: ids, [K] int64; none is fine.
            direction: of all of them.
            purpose: of all of them.
            packet_bytes: their lengths, [K] int64, or the length that all have.
            ideal_bits: likewise; None for 8 a byte of the body.

        Raises:
            ValueError: an unknown direction or purpose, a negative length, or another number of lengths than clients.
        """
        if direction not in DIRECTIONS or purpose not in PURPOSES:
            raise ValueError(f"The ledger knows {DIRECTIONS} and {PURPOSES}, got {direction!r} and {purpose!r}.")
        clients = np.array(clients, np.int64)
        lengths = np.array(packet_bytes, np.int64)
        if lengths.ndim and lengths.shape != clients.shape:
            raise ValueError(
                f"The ledger takes one length a packet, got {lengths.size} for {clients.size} clients; give one "
                "number when all are equal."
            )
        if clients.size == 0:
            return
        if lengths.min() < 0:
            raise ValueError(f"A packet has no negative length, got {lengths.min()}.")
        exchange = round + (purpose == "evaluate")
        if exchange != self._exchange:
            self._close()
            self._exchange = exchange
        same = int(lengths.min()) if lengths.min() == lengths.max() else None
        self._open.append(Transfers(round, direction, purpose, clients, lengths if same is None else same, ideal_bits))
        self._totals[direction, purpose] += int(lengths.sum()) if same is None else same * clients.size

    def _close(self, hold: bool = True) -> None:
        if self._open:
            self._digest = bytes.fromhex(self.digest())
            if hold:
                self._exchanges.append([block.packed() for block in self._open])
            self._open = []

    def end_exchange(self) -> None:
        """Close the exchange: what is counted next is of another one, whatever its round."""
        self._close()
        self._exchange = -1

    def total(self, direction: Direction | None = None, purposes: Iterable[Purpose] = PURPOSES) -> int:
        """Bytes in a direction (both when None) for some purposes (all by default)."""
        directions = DIRECTIONS if direction is None else (direction,)
        return sum(self._totals[one, purpose] for one in directions for purpose in set(purposes))

    def __iter__(self) -> Iterator[LedgerRow]:
        """The transfers that are held, one exchange in memory at a time."""
        for blocks in [*self._exchanges, self._open]:
            columns = (column.tolist() for column in in_order(blocks, self.ideal))
            round, client, direction, purpose, *numbers = columns
            kind = map(DIRECTIONS.__getitem__, direction), map(PURPOSES.__getitem__, purpose)
            yield from map(LedgerRow, round, client, *kind, *numbers)

    def blocks(self) -> list[Block]:
        """The transfers that are held, in columns, in the same order."""
        return [block for blocks in [*self._exchanges, self._open] for block in in_columns(blocks, self.ideal)]

    def latest(self) -> list[Block]:
        """The transfers of the latest exchange, in columns, in the same order; none after ``flush``."""
        return in_columns(self._open, self.ideal)

    @property
    def transfers(self) -> list[LedgerRow]:
        """The transfers that are held, made anew at each call."""
        return list(self)

    def digest(self) -> str:
        """SHA-256 of all that was counted, chained over exchanges.

        An exchange's is that of the digest before it (32 bytes, at first none) and of its transfers by round, direction
        and purpose: little-endian int64, first round, direction (down 0, up 1), purpose (train 0, evaluate 1,
        raw_data 2, prepare 3) and number of transfers, then the clients, ascending, then their lengths.
        """
        if not self._open and self._digest:
            return self._digest.hex()
        sha = hashlib.sha256(self._digest)
        for *kind, clients, lengths, _ in kinds(self._open):
            sha.update(np.concatenate([[*kind, len(clients)], clients, lengths]).astype("<i8", copy=False).tobytes())
        return sha.hexdigest()

    def flush(self) -> None:
        """Close the exchange and drop the transfers that are held; totals and digest stay."""
        self._close(hold=False)
        self._exchanges.clear()

    def state_dict(self) -> dict[str, Any]:
        """Totals and digest as plain values, for ``from_state_dict``."""
        return {
            "exchange": self._exchange,
            "digest": self.digest() if self._digest or self._open else "",
            "totals": {f"{direction} {purpose}": total for (direction, purpose), total in self._totals.items()},
            **({"ideal": True} if self.ideal else {}),
        }

    @classmethod
    def from_state_dict(cls, note: Mapping[str, Any]) -> "Ledger":
        """A ledger that goes on counting where ``note`` was taken, and holds no transfer from before."""
        ledger = cls(ideal=note.get("ideal", False))
        ledger._exchange, ledger._digest = note["exchange"], bytes.fromhex(note["digest"])
        for kind, total in note["totals"].items():
            direction, _, purpose = kind.partition(" ")
            ledger._totals[direction, purpose] = total
        return ledger

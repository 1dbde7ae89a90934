"""The transfers of an exchange in columns: packed while a run holds them, in order when they are read."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from fedmtl.protocol.packets import HEADER_BYTES
from fedmtl.tables.blocks import Block, blocks_of
from fedmtl.tables.columns import Column, pack_column, unpack_column
from fedmtl.tables.schemas import LEDGER

Direction = Literal["down", "up"]

Purpose = Literal["train", "evaluate", "raw_data", "prepare"]
"""Purpose of a packet. A broadcast that is both evaluated and trained on is one packet, of training.
``raw_data`` is raw data on its way to a central algorithm, ``prepare`` what clients agree on before the first round."""

DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


class Transfers(NamedTuple):
    """Packets of one kind: a client, a length and bits for each."""

    round: int
    direction: Direction
    purpose: Purpose
    clients: Column | NDArray[np.int64]
    """Packed when the exchange is over."""
    packet_bytes: Column | NDArray[np.int64] | int
    """An int when all have this length."""
    ideal_bits: Column | NDArray[np.int64] | int | None = None
    """None: 8 bits for each byte of a body."""

    def packed(self) -> "Transfers":
        """Return the same in few bytes."""
        return Transfers(*self[:3], *(pack_column(part) if isinstance(part, np.ndarray) else part for part in self[3:]))  # pyright: ignore[reportArgumentType]


class TransferKind(NamedTuple):
    """An exchange's transfers of one round, direction and purpose, by client."""

    round: int
    direction: int
    """Number of it, and of the purpose."""
    purpose: int
    clients: NDArray[np.int64]
    packet_bytes: NDArray[np.int64]
    ideal_bits: NDArray[np.int64] | None
    """None where they are not asked for."""


def body_bits(packet_bytes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 8 bits for each byte of a packet's body: those of one without a model of its entropy."""
    return 8 * np.maximum(packet_bytes - HEADER_BYTES, 0)


def kinds(transfers: Sequence[Transfers], ideal: bool = False) -> Iterator[TransferKind]:
    """Yield an exchange's transfers by round, direction and purpose (numbers), each by client, ascending."""
    found: dict[tuple[int, int, int], list[Transfers]] = {}
    for block in transfers:
        kind = block.round, DIRECTIONS.index(block.direction), PURPOSES.index(block.purpose)
        found.setdefault(kind, []).append(block)
    for kind, alike in sorted(found.items()):
        clients = np.concatenate([_numbers(block.clients) for block in alike])
        lengths = np.concatenate([_lengths(block) for block in alike])
        bits = np.concatenate([_bits(block) for block in alike]) if ideal else None
        if (np.diff(clients) < 0).any():
            order = np.argsort(clients, kind="stable")
            clients, lengths, bits = clients[order], lengths[order], None if bits is None else bits[order]
        yield TransferKind(*kind, clients, lengths, bits)


_NONE = np.zeros(0, np.int64)


def in_order(transfers: Sequence[Transfers], ideal: bool) -> list[NDArray[np.int64]]:
    """Return the columns of an exchange's transfers: down before up, then by client, then by round.

    They are round, client, direction, purpose, length and, where they are kept, ideal bits.
    """
    found = list(kinds(transfers, ideal))
    if not found:
        return [_NONE] * (5 + ideal)
    rounds, directions, purposes, some, *numbers = zip(*found, strict=True)
    sizes = [len(clients) for clients in some]
    round, direction, purpose = (np.repeat(np.array(each), sizes) for each in (rounds, directions, purposes))
    joined = [np.concatenate(each) for each in numbers[: 1 + ideal]]
    each = (round, np.concatenate(some), direction, purpose, *joined)
    columns = [column.astype(np.int64, copy=False) for column in each]
    if (np.diff(directions) > 0).all():
        return columns  # one kind each way: in order as it is
    order = np.lexsort((columns[0], columns[1], columns[2]))
    return [column[order] for column in columns]


def in_columns(transfers: Sequence[Transfers], ideal: bool) -> list[Block]:
    """Return the transfers of one exchange in blocks, with their ideal bits where these are kept.

    A block has in place of them how many bits of the body they save: 0 of most packets, which takes no space.
    """
    shared: dict[str, Any] = {"directions": DIRECTIONS, "purposes": PURPOSES}
    found = in_order(transfers, ideal)
    columns = dict(zip(LEDGER.fields, found, strict=False))
    if ideal:
        shared["header_bytes"] = HEADER_BYTES
        columns["saved_bits"] = body_bits(columns["packet_bytes"]) - found[-1]
    return blocks_of(LEDGER.name, shared, columns)


def _numbers(column: Column | NDArray[np.int64]) -> NDArray[Any]:
    return unpack_column(column) if isinstance(column, Column) else column


def _lengths(block: Transfers) -> NDArray[Any]:
    return _spread(block.packet_bytes, block)


def _bits(block: Transfers) -> NDArray[Any]:
    return body_bits(_lengths(block)) if block.ideal_bits is None else _spread(block.ideal_bits, block)


def _spread(values: Column | NDArray[np.int64] | int, block: Transfers) -> NDArray[Any]:
    return np.full(block.clients.size, values, np.int64) if isinstance(values, int) else _numbers(values)

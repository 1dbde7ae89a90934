"""Packets -> payloads, each checked before its numbers are used."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.trees import tree_map
from fedmtl.core.types import Payload
from fedmtl.protocol.header import read_packets, train_losses
from fedmtl.protocol.link import Link
from fedmtl.protocol.packets import KIND_NAMES, UP, PacketError, Packets, concat
from fedmtl.protocol.spec import payload_of


class Unpacked(NamedTuple):
    """The contents of the packets that are good."""

    rows: NDArray[np.int64]
    """Their rows among the K packets, [P], ascending."""
    num_examples: NDArray[np.float64]
    """[P]."""
    vectors: NDArray[np.float32]
    """The payloads' numbers in the order of the Spec, [P, size]."""
    train_loss: NDArray[np.float32]
    """Training losses of uploads, [P], unchecked; NaN where there is none."""
    metrics: NDArray[np.float32]
    """The numbers that the link names, [P, M], unchecked."""

    def select(self, rows: NDArray[np.int64]) -> "Unpacked":
        """Select the contents of some packets."""
        num_examples, vectors = self.num_examples[rows], self.vectors[rows]
        return Unpacked(self.rows[rows], num_examples, vectors, self.train_loss[rows], self.metrics[rows])


def unpack_payloads(
    packets: Packets,
    link: Link,
    *,
    kind: int,
    round: int,
    references: Sequence[Payload] = (),
    broadcast_index: NDArray[np.int64] | None = None,
    on_error: Callable[[int, PacketError], None],
) -> Unpacked:
    """Unpack the payloads of K packets.

    Args:
        references, broadcast_index: as in ``pack_payloads``.
        on_error: called with the row and the error of each packet that is damaged, or of another kind, round, spec or
            codec.
    """
    if not link.spec:
        empty = packets.lengths == 0
        for k in np.flatnonzero(~empty).tolist():
            what = f"Expected an empty {KIND_NAMES[kind]}, got {packets.lengths[k]} bytes"
            on_error(k, PacketError(f"{what}; both sides need the same algorithm."))
        rows = np.flatnonzero(empty)
        nothing = np.empty((len(rows), 0), np.float32)
        return Unpacked(rows, np.ones(len(rows)), nothing, np.full(len(rows), np.nan, np.float32), nothing)
    rows, num_examples, bodies = read_packets(packets, kind, link.digest, round, on_error)
    bodies, metrics = _parted(bodies, len(link.metrics))
    index = None if broadcast_index is None else broadcast_index[rows]
    decoded, vectors = link.decode(
        bodies, references, index, lambda k, error: on_error(int(rows[k]), _cannot_decode(kind, error))
    )
    rows, num_examples, metrics = rows[decoded], num_examples[decoded], metrics[decoded]
    good = np.ones(len(rows), bool)
    if not np.isfinite(vectors).all():
        bad = (~np.isfinite(vectors)).sum(axis=1)
        for k in np.flatnonzero(bad).tolist():
            what = f"The {KIND_NAMES[kind]} holds {bad[k]} numbers that are not finite."
            on_error(int(rows[k]), PacketError(what, "values"))
        good = bad == 0
    if kind == UP:
        weighs = (num_examples > 0) & (num_examples < np.inf)
        for k in np.flatnonzero(good & ~weighs).tolist():
            rule = "An upload's number of examples is positive and finite"
            on_error(int(rows[k]), PacketError(f"{rule}, got {num_examples[k]}.", "weight"))
        good &= weighs
    losses = train_losses(packets.select(rows)) if kind == UP else np.full(len(rows), np.nan, np.float32)
    unpacked = Unpacked(rows, num_examples, vectors, losses, metrics)
    return unpacked if good.all() else unpacked.select(np.flatnonzero(good))


def _parted(bodies: Any, count: int) -> tuple[Any, NDArray[np.float32]]:
    """Return the bodies without the metrics behind them, and these, [P, count]; of a body too short for them, NaN."""
    if not count:
        return bodies, np.zeros((len(bodies), 0), np.float32)
    size = 4 * count
    if isinstance(bodies, np.ndarray) and bodies.shape[1] >= size:
        return bodies[:, :-size], np.ascontiguousarray(bodies[:, -size:]).view("<f4").astype(np.float32)
    found = [np.frombuffer(body, "<f4", count, len(body) - size) if len(body) >= size else [np.nan] for body in bodies]
    return [body[:-size] for body in bodies], np.array([np.resize(one, count) for one in found], np.float32)


def unpack_payload(
    packet: bytes, link: Link, *, kind: int, round: int, reference: Payload | None = None
) -> tuple[Payload, float]:
    """Unpack the payload of one packet, and its number of examples.

    Raises:
        PacketError: the packet is not one of this kind, round, spec and codec, or is damaged.
    """
    references = [reference] if reference else ()
    unpacked = unpack_payloads(concat([packet]), link, kind=kind, round=round, references=references, on_error=_raise)
    payload = payload_of(unpacked.vectors.copy(), link.spec)
    return tree_map(lambda leaf: leaf[0], payload), float(unpacked.num_examples[0])


def _cannot_decode(kind: int, error: ValueError) -> PacketError:
    return PacketError(f"The {KIND_NAMES[kind]} packet's body cannot be decoded: {error}")


def _raise(_: int, error: ValueError) -> None:
    raise error

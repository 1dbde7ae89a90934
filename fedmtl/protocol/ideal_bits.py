"""Ideal bits of packets: how many bits the symbols of their bodies hold, by the codec's model of them.

The header, and other framing that both sides could derive, counts nothing. What is behind a body, metrics and the
version of a memory, counts 8 bits a byte, as does the body of a codec that declares no ``ideal_bits``, and one that its
codec refuses. A packet never counts more than the bits of its body: where these are fewer, they are the better code.
"""

import numpy as np
from numpy.typing import NDArray

from fedmtl.protocol.link import Link
from fedmtl.protocol.packets import HEADER_BYTES, Packets
from fedmtl.protocol.reference import step_bits
from fedmtl.protocol.transfers import body_bits

NO_BITS = np.zeros(0, np.int64)


def ideal_bits(packets: Packets, link: Link) -> NDArray[np.int64]:
    """Return the ideal bits of K packets of a link, to whole bits, [K]."""
    most = body_bits(packets.lengths)
    if not link.models_entropy:
        return most
    tail, found = 4 * link.tail, most.astype(np.float64)
    for length in np.unique(packets.lengths[packets.lengths > HEADER_BYTES + tail]).tolist():
        rows = np.flatnonzero(packets.lengths == length)
        matrix = packets.select(rows).matrix()
        assert matrix is not None  # their lengths are equal
        found[rows] = 8 * tail + link.ideal_bits(matrix[:, HEADER_BYTES : length - tail])
    return np.minimum(most, np.rint(found).astype(np.int64))


def broadcast_bits(packets: Packets, link: Link, changes: bool) -> NDArray[np.int64]:
    """Return the ideal bits of K broadcasts of a link, measured once where they are the same bytes, [K].

    Args:
        changes: they are changes of a reference, see ``reference.py``.
    """
    if not link.models_entropy:
        return body_bits(packets.lengths)
    _, first, which = np.unique(packets.starts, return_index=True, return_inverse=True)
    distinct = packets.select(first)
    if not changes:
        return ideal_bits(distinct, link)[which]
    bits = [step_bits(link, packet[HEADER_BYTES:]) if packet else 0.0 for packet in distinct]
    return np.minimum(body_bits(distinct.lengths), np.rint(bits).astype(np.int64))[which]

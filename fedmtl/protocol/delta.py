"""The delta rule: an upload is coded as its difference from the broadcast that its client received.

Where a broadcast has a record and name of the upload, with the same shape, the difference travels; elsewhere the value
itself. A lossless codec codes values: a difference would lose bits and save none.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedmtl.codecs.base import Codec
from fedmtl.core.types import Payload
from fedmtl.protocol.spec import Spec


def references_of(
    payloads: Sequence[Payload], broadcast_index: NDArray[np.int64] | None, spec: Spec, codec: Codec
) -> NDArray[np.float32] | None:
    """Return the numbers that uploads are coded relative to, [1 or K, size]; None where values are coded.

    Args:
        payloads: the broadcasts that differ.
        broadcast_index: [K] index of each client's broadcast; None where there is one.
        spec: of the uploads.
        codec: of the uploads.
    """
    if not payloads or codec.traits.lossless:
        return None
    found = reference_vectors(payloads, spec)
    return found if broadcast_index is None or len(found) == 1 else found[broadcast_index]


def reference_vectors(payloads: Sequence[Payload], spec: Spec) -> NDArray[np.float32]:
    """Return the numbers of payloads in the order of ``spec``, [M, size], 0 for a name or shape that one lacks."""
    found = np.zeros((len(payloads), spec.size), np.float32)
    for vector, payload in zip(found, payloads, strict=True):
        offset = 0
        for entry in spec:
            count = math.prod(entry.shape)
            value = payload.get(entry.record, {}).get(entry.name)
            if value is not None and tuple(value.shape) == entry.shape:
                vector[offset : offset + count] = value.detach().cpu().numpy().reshape(-1)
            offset += count
    return found

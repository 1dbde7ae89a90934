"""The spec of a payload: both sides derive it before the first packet, so that no name and no shape travels."""

import math
from functools import cached_property
from hashlib import blake2b
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fedmtl.codecs.base import Codec
from fedmtl.codecs.layout import Layout, layout_of
from fedmtl.core.types import Payload
from fedmtl.protocol.packets import KIND_NAMES


class Entry(NamedTuple):
    """One array of a payload."""

    record: str
    name: str
    shape: tuple[int, ...]


class Spec(tuple[Entry, ...]):
    """The arrays of a payload, in order."""

    empty: tuple[str, ...] = ()
    """Records without an array, such as the trunk of a model that has only heads. They take no byte of a packet;
    opening it restores them."""

    @property
    def size(self) -> int:
        """The number of numbers in a payload."""
        return sum(math.prod(entry.shape) for entry in self)

    @cached_property
    def layout(self) -> Layout:
        """The arrays as codecs see them, named ``record/name``."""
        return layout_of([(f"{entry.record}/{entry.name}", entry.shape) for entry in self])

    def digest(self, codec: Codec[Any], metrics: tuple[str, ...] = ()) -> bytes:
        """8 bytes that differ when the other side has another model, algorithm or codec."""
        return blake2b(repr((tuple(self), repr(codec), *metrics)).encode(), digest_size=8).digest()


def spec_of(payload: Payload) -> Spec:
    """Return the spec of a payload.

    Raises:
        ValueError: an array that is not float32.
    """
    entries = []
    for record in sorted(payload):
        for name, value in sorted(payload[record].items()):
            if not isinstance(value, Tensor) or value.dtype != torch.float32:
                raise ValueError(
                    f"Payloads hold float32 tensors, but {record!r}/{name!r} is "
                    f"{getattr(value, 'dtype', type(value).__name__)}; convert it in the algorithm."
                )
            entries.append(Entry(record, name, tuple(value.shape)))
    spec = Spec(entries)
    spec.empty = tuple(record for record in sorted(payload) if not payload[record])
    return spec


def check_payload(payload: Payload, spec: Spec, kind: int) -> None:
    """Refuse a payload (of one client) that is not what the other side expects: a mistake of the algorithm.

    Raises:
        ValueError: it says what is missing and what is too much.
    """
    found = spec_of(payload)
    if found != spec:
        missing, surplus = (
            [f"{e.record}/{e.name} {e.shape}" for e in one if e not in other]
            for one, other in ((spec, found), (found, spec))
        )
        raise ValueError(
            f"The {KIND_NAMES[kind]} should hold {missing} and not {surplus}: an algorithm's payload has the same "
            "names and shapes in every round."
        )

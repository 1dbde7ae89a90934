"""Packets of one client, and requests from rows: the cohort of one that tests compare with."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from fedmtl.core.trees import tree_index, tree_stack
from fedmtl.core.types import Payload
from fedmtl.protocol.exchange import Exchange
from fedmtl.protocol.link import Link
from fedmtl.protocol.packets import concat
from fedmtl.protocol.packing import pack_payloads, raise_error, unpack_payloads
from fedmtl.protocol.requests import Request, Requests
from fedmtl.protocol.spec import check_payload


def pack_payload(
    payload: Payload,
    link: Link,
    state: Any,
    rng: np.random.Generator,
    *,
    kind: int,
    round: int,
    num_examples: float = 0.0,
    train_loss: float = math.nan,
    metrics: Sequence[float] = (),
    reference: Payload | None = None,
) -> tuple[bytes, Any]:
    """Pack one payload; return the packet and the codec's next state. A broadcast's number of examples is 0.

    Raises:
        ValueError: the payload is not what the spec says, or the codec refuses its numbers.
    """
    check_payload(payload, link.spec, kind)
    packed = pack_payloads(
        {record: {name: value[None] for name, value in params.items()} for record, params in payload.items()},
        link,
        tree_stack([state]),
        lambda _: rng,
        kind=kind,
        round=round,
        num_examples=np.array([num_examples]),
        train_loss=np.array([train_loss], np.float32),
        metrics=np.array([metrics], np.float32),
        references=[reference] if reference else (),
        on_error=raise_error,
    )
    return packed.packets[0], tree_index(packed.states, 0)


def unpack_payload(
    packet: bytes, link: Link, *, kind: int, round: int, reference: Payload | None = None
) -> tuple[Payload, float]:
    """Unpack the payload of one packet, and its number of examples.

    Raises:
        PacketError: the packet is not one of this kind, round, spec and codec, or is damaged.
    """
    references = [reference] if reference else ()
    unpacked = unpack_payloads(
        concat([packet]), link, kind=kind, round=round, references=references, on_error=raise_error
    )
    return link.arrays(torch.from_numpy(unpacked.vectors[0].copy())), float(unpacked.num_examples[0])


def requests_of(requests: Iterable[Request], exchange: Exchange) -> Requests:
    """Make columns from rows."""
    rows = list(requests)
    flags = np.array([(request.evaluate, request.train, request.raw_data) for request in rows], bool).reshape(-1, 3)
    evaluate, train, raw_data = flags.T
    clients, packets = (
        np.array([request.client for request in rows], np.int64),
        concat([request.packet for request in rows]),
    )
    return Requests(exchange, clients, packets, evaluate, train, raw_data)

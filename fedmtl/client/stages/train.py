"""Third stage: clients train, store their private parts, and send their uploads or the sum of these."""

import logging
import time
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.client.stages.exchange import LoadedExchange
from fedmtl.client.stages.load import ClientGroup
from fedmtl.client.stages.receive import stored
from fedmtl.client.stages.remember import begin
from fedmtl.core.context import context_rows
from fedmtl.core.random import permutations, rng
from fedmtl.core.trees import finite_rows, tree_index, tree_leaves, tree_map
from fedmtl.core.types import Trained
from fedmtl.core.uploads import weighted_sum
from fedmtl.protocol.ideal_bits import NO_BITS, ideal_bits
from fedmtl.protocol.packets import UP, PacketError, PacketRows, Packets
from fedmtl.protocol.packing import Packed, PacketBuffer, pack_payloads, unpack_payloads
from fedmtl.protocol.permissions import NOT_CODED, NOT_FINITE, NOT_READ
from fedmtl.protocol.requests import Total
from fedmtl.protocol.spec import check_payload
from fedmtl.tables.schemas import TRAIN_LOSS

log = logging.getLogger("fedmtl")


def train(exchange: LoadedExchange, groups: list[ClientGroup], batch_size: int | None) -> list[PacketRows]:
    """Train the clients that are to train, and return their uploads.

    A client whose update is not finite, or is refused by the codec, sends none and keeps its last good state.
    """
    start = time.perf_counter()
    plan, round, requests = exchange.plan, exchange.round, exchange.requests
    cohorts, trained = [], []
    training = [group for group in groups if requests.train[group.positions].any()]
    # All cohorts or none, since engines may join them.
    drawing = any(group.plan.reads_context(int(group.clients[0]), group.table.owned) for group in training)
    for group in training:
        some = np.flatnonzero(requests.train[group.positions])
        if len(some):
            sizes = group.table.train.size[group.rows[some]]
            order = permutations(plan.seed, round, group.clients[some], "batches", sizes)
            function = group.plan.training(group.table.owned)
            link = plan.uplink(int(group.clients[0]), group.table.owned)
            buffer = PacketBuffer(len(some), link)
            outputs = partial(_output_buffers, buffer, len(link.spec))
            context = context_rows(plan.seed, round - 1, group.clients[some]) if drawing else None
            cohorts.append(group.cohort(function, group.table.train, some, order, batch_size, context, outputs))
            trained.append((group, some, sizes, buffer))
    padding = plan.task_padding(plan.training(plan.all_tasks))
    results = exchange.engine.map(cohorts, padding) if cohorts else []
    elapsed = exchange.spend("train", start)
    examples = sum(int(sizes.sum()) for _, _, sizes, _ in trained)
    updates = []
    for (group, some, sizes, buffer), result in zip(trained, results, strict=True):
        # Clients that ran together have one time between them; it is shared out by examples.
        exchange.training_seconds[group.positions[some]] = elapsed * sizes / examples
        rows, packets = _send(exchange, group, some, result, buffer)
        updates.append((group.positions[some[rows]], packets))
    return updates


def _output_buffers(buffer: PacketBuffer, arrays: int, result: Trained[Any]) -> list[Tensor | None]:
    """Return the memory of a payload's arrays, so that they are made where they will be packed."""
    private, payload = (len(tree_leaves(part)) for part in (result.private, result.upload.payload))
    uploaded = buffer.payload_views() if payload == arrays else [None] * payload
    return [*[None] * private, *uploaded, None, *[None] * len(result.metrics)]


def _send(
    exchange: LoadedExchange, group: ClientGroup, some: NDArray[np.int64], result: Trained[Any], buffer: PacketBuffer
) -> PacketRows:
    """Pack uploads and store private parts; return the rows of the clients that send, and their packets."""
    start = time.perf_counter()
    plan, round = exchange.plan, exchange.round
    payload, num_examples = result.upload
    loss = result.metrics.get(TRAIN_LOSS)
    link = plan.uplink(int(group.clients[0]), group.table.owned)
    metrics = torch.stack([result.metrics[name] for name in link.metrics], dim=1) if link.metrics else None
    check_payload(tree_index(payload, 0), link.spec, UP)
    finite = finite_rows((result.private, payload), len(some))
    begun = None
    if link.remembers:
        begun = begin(group.states, exchange.requests.memories[group.positions], link.init())
    codec_states, bases = (group.states["codec"], None) if begun is None else begun
    rows = np.arange(len(some))
    if not finite.all():
        rows = np.flatnonzero(finite)
        for client in group.clients[some[~finite]].tolist():
            exchange.problems[client] = NOT_FINITE
        payload, num_examples, loss, metrics = tree_map(lambda leaf: leaf[rows], (payload, num_examples, loss, metrics))
    clients = group.clients[some[rows]]

    def refused(k: int, error: ValueError) -> None:
        log.warning("round %d: the update of client %d cannot be coded: %s", round, clients[k], error)
        exchange.problems[int(clients[k])] = NOT_CODED

    packed = pack_payloads(
        payload,
        link,
        tree_map(lambda leaf: leaf[some[rows]], codec_states),
        lambda k: rng(plan.seed, round, int(clients[k]), "up"),
        kind=UP,
        round=round,
        num_examples=np.asarray(num_examples, np.float64),
        train_loss=None if loss is None else np.asarray(loss, np.float32),
        metrics=None if metrics is None else np.asarray(metrics, np.float32),
        bases=None if bases is None else bases[some[rows]],
        references=group.downs,
        broadcast_index=group.broadcast_index[some[rows]],
        buffer=buffer,
        finite=True,
        on_error=refused,
    )
    exchange.spend("encode", start)
    start = time.perf_counter()
    rows = rows[packed.rows]
    private = result.private
    if len(rows) < len(some):
        private = tree_map(lambda leaf: leaf[rows], private)
    states = {"private": private, "codec": packed.states}
    if group.references:
        states["reference"] = stored(group.references, group.broadcast_index[some[rows]])
    sent = exchange.requests.exchange
    if begun is not None:
        states["sent"] = begun.stored(some[rows], sent.makes)
    exchange.store.save_rows(group.kind, group.clients[some[rows]], sent.makes, states, sent.keep)
    exchange.spend("state", start)
    if not exchange.add:
        return rows, packed.packets
    start = time.perf_counter()
    exchange.totals.append(_total(exchange, group, some[rows], packed, num_examples, loss, metrics))
    exchange.spend("add", start)
    return rows, Packets(np.zeros(0, np.uint8), np.zeros(len(rows), np.int64), packed.packets.lengths)


def _total(
    exchange: LoadedExchange,
    group: ClientGroup,
    some: NDArray[np.int64],
    packed: Packed,
    num_examples: Any,
    loss: Any,
    metrics: Any,
) -> Total:
    """Add up the uploads as the server would, after it has unpacked them."""
    clients, round = group.clients[some], exchange.round
    if packed.vectors is not None:
        weights = np.asarray(num_examples, np.float64)
        vector = weighted_sum(packed.vectors, weights)
        losses = np.full(len(clients), np.nan, np.float32) if loss is None else np.asarray(loss, np.float32)
        own = np.zeros((len(clients), 0), np.float32) if metrics is None else np.asarray(metrics, np.float32)
        return Total(group.table.owned, clients, vector, weights, losses, own, NO_BITS)

    def refused(k: int, error: PacketError) -> None:
        log.warning("round %d: the upload of client %d cannot be read back: %s", round, clients[k], error)
        exchange.problems[int(clients[k])] = NOT_READ

    link = exchange.plan.uplink(int(group.clients[0]), group.table.owned)
    bits = ideal_bits(packed.packets, link) if link.models_entropy else None
    unpacked = unpack_payloads(
        packed.packets,
        link,
        kind=UP,
        round=round,
        references=group.downs,
        broadcast_index=group.broadcast_index[some],
        on_error=refused,
    )
    vector = weighted_sum(unpacked.vectors, unpacked.num_examples)
    good = clients[unpacked.rows]
    own = NO_BITS if bits is None else bits[unpacked.rows]
    return Total(group.table.owned, good, vector, unpacked.num_examples, unpacked.train_loss, unpacked.metrics, own)

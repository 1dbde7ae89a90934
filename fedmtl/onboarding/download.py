"""The download of a new client: the broadcast that the server would send to it, coded as in the run, and its bytes.

Of a method that keeps a state for each client on the server, that is the mean of the broadcasts to the known clients of
its group.
"""

from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch

from fedmtl.codecs.dense import Dense
from fedmtl.core.random import SERVER, rng
from fedmtl.core.trees import tree_stack, weighted_mean
from fedmtl.core.types import ClientId, Params, Payload, TaskSet
from fedmtl.models.narrow import leading_blocks
from fedmtl.onboarding.kinds import NewcomerKind
from fedmtl.protocol.link import Link
from fedmtl.protocol.packets import DOWN
from fedmtl.protocol.packing import pack_payloads, raise_error, unpack_payloads
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.spec import spec_of

MODEL = "model"
"""The record of a broadcast that is the model, where another has parameters of the same names."""


class Download(NamedTuple):
    """A new client's packet, and the parameters in it."""

    params: Params
    """Parameters by their names in the model; of a method that sends several models, those are in the payload."""
    bytes: int
    """Length of the packet."""
    payload: Payload
    """The broadcast, decoded."""


def download(kind: NewcomerKind, server: Any, version: int, owned: TaskSet) -> Download:
    """Return the download of a new client with some tasks.

    Args:
        kind: of the new client.
        server: last state of the server.
        version: rounds of training behind the state.
        owned: tasks of the new client.

    Raises:
        ValueError: a method that sends no parameter of a model, or several models without the trait for it.
    """
    plan, (alike, *others) = kind.plan, kind.like
    several = plan.algorithm.traits.several_models
    if plan.mixture is not None and not several:
        _refuse_several(plan)

    shapes = {name: value.shape for name, value in plan.initial.items()} if kind.narrow else {}

    def sent(client: ClientId) -> Payload:
        """Return the broadcast to a client of the run, were it of the new one's width and tasks."""
        payload = plan.broadcast(server, client, owned, version + 1)
        return {record: leading_blocks(params, shapes) for record, params in payload.items()}

    first = sent(alike)
    model = {**plan.initial, **plan.algorithm.personal_params(first, plan.init_client(owned, 1))}
    records = {} if several else _records(plan, first, model)
    if not several and not any(records.values()):
        raise ValueError(
            f"{plan.algorithm!r} sends no parameter of a model, so a new client has nothing to download; train with a "
            "method that shares a trunk, such as FedPer, or take known=True for a new task of the run's own clients."
        )
    payload: Payload = first
    if not plan.algorithm.traits.uniform_broadcast and not several:  # the models are the same for all clients
        each = [first, *map(sent, others)]
        payload = {record: weighted_mean((one[record], 1.0) for one in each) for record in first}
    link = Link(spec_of(payload), Dense() if plan.down_codec.traits.delta_only else plan.down_codec)
    number = version + 1
    packed = pack_payloads(
        tree_stack([payload]),
        link,
        tree_stack([link.init()]),
        lambda _: rng(plan.seed, number, SERVER, "onboard"),
        kind=DOWN,
        round=number,
        num_examples=np.zeros(1),
        on_error=raise_error,
    )
    found = unpack_payloads(packed.packets, link, kind=DOWN, round=number, on_error=raise_error)
    received = link.arrays(torch.from_numpy(found.vectors[0].copy()))
    params = {name: received[record][name] for record, names in records.items() for name in names}
    return Download(params, int(packed.packets.lengths[0]), received)


def _records(plan: Plan, payload: Payload, model: Params) -> dict[str, list[str]]:
    """Return the record of each parameter of the model that a broadcast holds, once.

    Args:
        plan: of the run.
        payload: the broadcast.
        model: parameters by name, also those that the method puts beside the model's, such as merged adapters.

    Raises:
        ValueError: several models.
    """
    found: dict[str, list[str]] = {}
    places: dict[str, list[str]] = {}
    for record, params in payload.items():
        for name, value in params.items():
            if name in model and model[name].shape == value.shape:
                places.setdefault(name, []).append(record)
    for name, records in places.items():
        if len(records) > 1 and not (plan.algorithm.traits.uniform_broadcast and MODEL in records):
            _refuse_several(plan)
        found.setdefault(records[0] if len(records) == 1 else MODEL, []).append(name)
    return found


def _refuse_several(plan: Plan) -> NoReturn:
    raise ValueError(
        f"{plan.algorithm!r} sends several models, and does not say how a new client weighs them; declare the trait "
        "several_models and write its methods, as FedEM does, or train with a method of one trunk, such as FedPer."
    )

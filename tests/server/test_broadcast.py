"""Broadcasts packed together are those packed one by one."""

from typing import Any

import pytest

from fedmtl.algorithms import FedAMP, FedAvg
from fedmtl.codecs import FP16, Dense, Int8
from fedmtl.core.random import rng
from fedmtl.data import Synthetic
from fedmtl.protocol.packets import DOWN
from fedmtl.server.broadcast import STACK
from tests.server.toy import make_toy
from tests.single_packets import pack_payload

MANY = Synthetic(clients=STACK + 7, examples=6, test_examples=2, features=4, rank=2, kind="binary", tasks=2)
"""More clients than are packed in one pass, each with one of two tasks."""


@pytest.mark.parametrize("codec", [Dense(), FP16(), Int8(block=8)], ids=repr)
@pytest.mark.parametrize("algorithm", [FedAMP(epochs=1), FedAvg(epochs=1)], ids=repr)
def test_packets_are_those_of_a_pass_for_each(algorithm: Any, codec: Any) -> None:
    """With the randomness of the first client that is sent a payload, in round 2, when FedAMP's are all different."""
    toy = make_toy(MANY.load(0), algorithm=algorithm, down_codec=codec)
    toy.play(1)
    requests = toy.open(2)
    if isinstance(algorithm, FedAMP):
        assert len(set(requests.packets.starts.tolist())) == len(requests) > STACK
    first: dict[bytes, int] = {}
    for request in requests:
        owned = toy.server.roster[request.client]
        context = toy.plan.server_context(2, "broadcast")
        sent = toy.plan.algorithm.broadcast(toy.server.state, request.client, context)
        payload = {record: toy.plan.restrict(params, owned) for record, params in sent.items()}
        link = toy.plan.downlink(request.client, owned)
        speaker = first.setdefault(request.packet, request.client)
        draw = rng(toy.plan.seed, 2, speaker, "down")
        assert request.packet == pack_payload(payload, link, link.init(), draw, kind=DOWN, round=2)[0]

"""Memories of uploads: server and client have the same ones, whatever becomes of replies and of clients' states."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from fedmtl.algorithms import FedAvg, FedPer, HeteroFL, LayerSchedule, Mocha, Scaffold
from fedmtl.client.stages.load import first_state
from fedmtl.client.state.base import LostState
from fedmtl.codecs import EF21, STC, Chain, Dense, PerLayer, Sign, TopK
from fedmtl.codecs.transforms import ClipNorm, GaussianNoise
from fedmtl.core.trees import tree_leaves
from fedmtl.protocol.header import make_packet, read_packet
from fedmtl.protocol.packets import HEADER_BYTES, UP
from fedmtl.protocol.plan_check import check_plan
from fedmtl.protocol.requests import START_ANEW, Reply, replies_of
from fedmtl.runs.lossy import check_down_codec, check_lossless
from tests.cases import case
from tests.server.toy import TRUNK_NUMBERS, Toy, make_toy, toy_plan

NARROW = HeteroFL(FedPer(epochs=1), {"0": 1, "[12]": 0.5, "*": 0.25})
"""Of the trunk's 4 units, client 0 has 4, clients 1 and 2 have 2, and 3 and 4 have 1."""


def toy_of(codec: Any, **changes: Any) -> Toy:
    return make_toy(**{"up_codec": codec, "cohort": 3, "rounds": 100, **changes})


def stored(toy: Toy, client: int) -> dict[str, Any]:
    """A client's newest state."""
    owned, examples = toy.server.roster[client], len(toy.client_pool.clients[client].train.x)
    return toy.store.load(client, 999, lambda: first_state(toy.plan.of(client), client, owned, examples))


def server_memory(toy: Toy, client: int) -> tuple[int, bytes]:
    assert toy.server.memories is not None
    size = toy.plan.uplink(client, toy.server.roster[client]).spec.size
    held = toy.server.memories.of(np.array([client]), size)
    return int(held.versions[0]), held.numbers.tobytes()


def assert_client_has_the_servers(toy: Toy) -> list[bool]:
    """Each client has the server's memory of it, bit for bit, as its newest or the one before; which of them, newest is
    True."""
    newest = []
    for client in range(5):
        version, numbers = server_memory(toy, client)
        if version:
            state = stored(toy, client)
            newest.append(int(state["sent"]["version"]) == version)
            assert newest[-1] or int(state["sent"]["base"]) == version
            found = state["codec"] if newest[-1] else state["sent"]["before"]
            assert tree_leaves(found)[0].tobytes() == numbers
    return newest


@pytest.mark.parametrize(
    ("codec", "rounds", "algorithm"),
    [
        (EF21(TopK(0.25)), 40, FedPer(epochs=1)),
        (EF21(Sign()), 12, FedPer(epochs=1)),
        (EF21(PerLayer({"*weight": STC(0.25)}, default=TopK(0.5))), 12, FedPer(epochs=1)),
        (Chain(ClipNorm(0.1), GaussianNoise(0.001), EF21(STC(0.25))), 12, FedPer(epochs=1)),
        (EF21(TopK(0.25)), 12, NARROW),
    ],
    ids=repr,
)
def test_memories_are_equal_with_partial_participation_and_lost_replies(
    codec: Any, rounds: int, algorithm: Any
) -> None:
    """Three of five clients a round, of whose replies a third is lost, and some are damaged: after each round. A memory
    is of the client's own upload, which with narrow models is narrow."""
    toy, rng, seen = toy_of(codec, evaluate_every=rounds, algorithm=algorithm), np.random.default_rng(0), set[bool]()

    def on_the_way(replies: Sequence[Reply]) -> Iterator[Reply]:
        for reply in replies:
            if not reply.update or rng.random() > 0.35:
                harmed = reply.update and rng.random() < 0.1
                yield reply._replace(update=reply.update[:-1] + b"x") if harmed else reply

    for round in range(1, rounds + 1):
        requests = toy.open(round)
        replies = replies_of(on_the_way(toy.client_pool.handle(requests, toy.store)))
        toy.server.close_round(requests, [replies], needs_update=False)
        if round % 4 == 0:
            seen |= set(assert_client_has_the_servers(toy))
    assert seen == {True, False}
    assert toy.server.memories is not None and toy.server.memories.live()[-1] > rounds - 5
    sizes = {len(server_memory(toy, client)[1]) // 4 for client in range(5)}
    assert sizes == ({7 * units for units in (4, 2, 1)} if algorithm is NARROW else {TRUNK_NUMBERS})


def test_the_model_is_the_mean_of_what_the_server_remembers() -> None:
    """x' = Σ n_k (x + g_k') / Σ n_k over the clients of the round, and g_k' = g_k + top-k of (w_k - x - g_k): here g_k'
    after round 2, derived in float64 from the same run with uploads that lose nothing."""
    toy, plain = toy_of(EF21(TopK(0.25)), cohort=1.0), toy_of(Dense(), cohort=1.0)
    g, k = np.zeros((5, TRUNK_NUMBERS)), 7
    weights = np.array([len(toy.client_pool.clients[client].train.x) for client in range(5)], np.float64)
    for round in (1, 2):
        link = toy.plan.uplink(0, toy.server.roster[0])
        plain.server.state = toy.server.state  # the same model, and heads that have learnt the same
        x = link.vectors([{"trunk": toy.server.state}])[0].astype(np.float64)
        requests = plain.open(round)
        replies = plain.client_pool.handle(requests, plain.store)
        w = np.stack([np.frombuffer(replies.updates[one], "<f4", offset=HEADER_BYTES) for one in range(5)])
        plain.server.close_round(requests, [replies])
        change = w - x - g
        some = np.argsort(-np.abs(change), axis=1)[:, :k]
        np.put_along_axis(g, some, np.take_along_axis(g + change, some, axis=1), axis=1)
        toy.play(round)
        for client in range(5):
            found = np.frombuffer(server_memory(toy, client)[1], np.float32)
            assert np.abs(found - g[client]).max() < 1e-6 < np.abs(found).max()
        after = link.vectors([{"trunk": toy.server.state}])[0]
        assert np.abs(after - (weights @ (x + g)) / weights.sum()).max() < 1e-6


@pytest.mark.parametrize("algorithm", [FedPer(epochs=1), NARROW], ids=["whole", "narrow"])
def test_with_dense_inside_a_run_is_that_of_dense(algorithm: Any) -> None:
    """To the rounding of float32: x - g + g is not x bit for bit."""
    toys = [toy_of(codec, algorithm=algorithm) for codec in (EF21(Dense()), Dense())]
    first = {name: value.numpy().copy() for name, value in toys[0].server.state.items()}
    for round in range(1, 5):
        for toy in toys:
            toy.play(round)
        for name, value in toys[0].server.state.items():
            assert np.abs(value.numpy() - toys[1].server.state[name].numpy()).max() < 2e-6
    assert any(np.abs(value.numpy() - first[name]).max() > 1e-3 for name, value in toys[0].server.state.items())


def test_a_client_without_its_state_starts_anew_and_says_so() -> None:
    """Where its owner lets it, as any lost state; its next upload is whole again, and both memories are equal."""
    toy = toy_of(EF21(TopK(0.25)), cohort=1.0, algorithm=FedAvg(epochs=1))
    for round in (1, 2):
        toy.play(round)
    toy.store.delete_client(2)
    requests = toy.open(3)
    with pytest.raises(LostState, match="--restart-clients"):
        toy.client_pool.handle(requests, toy.store)
    requests.since[:] = START_ANEW
    replies = toy.client_pool.handle(requests, toy.store)
    bases = [int.from_bytes(replies.updates[k][-4:], "little") for k in range(5)]
    assert requests.memories.tolist() == [2] * 5 and bases == [2, 2, 0, 2, 2]
    assert toy.server.close_round(requests, [replies]).problems == {}
    assert assert_client_has_the_servers(toy) == [True] * 5
    assert int(stored(toy, 2)["sent"]["base"]) == 0
    toy.play(4)
    assert assert_client_has_the_servers(toy) == [True] * 5


def test_an_upload_from_another_memory_is_left_out_and_moves_none() -> None:
    """An older one, one of a version that is no client's, and bytes that are no version."""
    toy = toy_of(EF21(TopK(0.25)), cohort=1.0, evaluate_every=9)
    for round in (1, 2):
        toy.play(round)
    before, digest = server_memory(toy, 1), toy.plan.uplink(1, toy.server.roster[1]).digest
    for round, base in ((3, 1), (4, 3), (5, 2**32 - 1)):

        def forged(replies: list[Reply], round: int = round, base: int = base) -> list[Reply]:
            weight, body = read_packet(replies[1].update, UP, digest, round)
            both = float(np.array([weight, 0], "<f4").view("<f8")[0])  # the header of an upload has two numbers here
            packet = make_packet(UP, digest, round, both, bytes(body[:-4]) + base.to_bytes(4, "little"))
            return [replies[0], replies[1]._replace(update=packet), *replies[2:]]

        result = toy.play(round, forged)
        assert list(result.problems) == [1] and result.rejected == {"packet": 1}
        assert f"from a memory of version {base}, the server's is of 2" in result.problems[1]
        assert server_memory(toy, 1) == before
    assert not toy.play(6).problems
    assert assert_client_has_the_servers(toy) == [True] * 5


def test_a_round_of_damaged_uploads_moves_no_memory() -> None:
    """Of unlike lengths, so that no body is left to be read; cut behind the header, or of another round."""
    toy = toy_of(EF21(STC(0.25)), cohort=1.0, evaluate_every=9)
    toy.play(1)
    before = [server_memory(toy, client) for client in range(5)]
    harms = (lambda data: data[:-1] + b"xy", lambda data: data[:HEADER_BYTES], lambda data: data[:3])
    for round, harm in enumerate(harms, 2):
        requests = toy.open(round)
        replies = [reply._replace(update=harm(reply.update)) for reply in toy.client_pool.handle(requests, toy.store)]
        assert len(toy.server.close_round(requests, [replies_of(replies)], needs_update=False).problems) == 5
        assert [server_memory(toy, client) for client in range(5)] == before
    assert not toy.play(5).problems and assert_client_has_the_servers(toy) == [True] * 5


def test_where_it_has_no_place_it_is_refused_with_the_way_out() -> None:
    for algorithm in (Mocha(), Scaffold()):
        with case(algorithm), pytest.raises(ValueError, match=r"EF21.*use Dense\(\), or ErrorFeedback\(codec=TopK"):
            check_lossless(algorithm, EF21())
    plan = toy_plan(algorithm=LayerSchedule(FedAvg(epochs=1), {"trunk.*": 2}), up_codec=EF21(TopK(0.25)))
    with pytest.raises(ValueError, match="not all numbers of .* travel in each round; use a codec without a memory"):
        check_plan(plan, plan.owners)
    with pytest.raises(ValueError, match=r"memory on both sides.*EF21-P.*write the codec inside it, such as STC"):
        check_down_codec(EF21())

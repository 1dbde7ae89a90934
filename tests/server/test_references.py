"""Broadcasts as changes of a reference: what the server remembers, and what each client holds after each round."""

from typing import Any

import numpy as np
import pytest

from fedmtl.algorithms import IFCA, FedAMP, FedAvg, FedPer
from fedmtl.client.stages.load import first_state
from fedmtl.client.state.files import MemoryBackend, VersionedFileStore
from fedmtl.codecs import STC, Dense, ErrorFeedback, Sign, TernGrad, TopK
from fedmtl.protocol.header import make_packet
from fedmtl.protocol.packets import DOWN, HEADER_BYTES, PacketError, concat
from fedmtl.protocol.permissions import REFERENCE_LOST
from fedmtl.protocol.plan_check import check_plan
from fedmtl.protocol.reference import Reference, whole_body, whole_bytes
from fedmtl.protocol.requests import START_ANEW, Requests
from tests.server.toy import TRUNK_NUMBERS, Toy, make_toy, toy_plan

ROUNDS = 8
WHOLE = HEADER_BYTES + whole_bytes(TRUNK_NUMBERS)


def toy_of(**changes: Any) -> Toy:
    values = {"down_codec": TopK(0.25), "up_codec": ErrorFeedback(TopK(0.25)), "cohort": 2, "rounds": ROUNDS, **changes}
    return make_toy(**values)


def reference(toy: Toy) -> Reference:
    """The only chain's."""
    assert toy.server.references is not None
    (chain,) = toy.server.references.chains.values()
    return chain.reference


def held(toy: Toy, client: int, version: int = 99) -> Reference:
    """What a client has stored, as of a version of its private state."""
    owned = toy.server.roster[client]
    examples = len(toy.client_pool.clients[client].train.x)
    state = toy.store.load(client, version, lambda: first_state(toy.plan, client, owned, examples))
    return Reference(int(state["reference"]["version"]), state["reference"]["numbers"])


def same(one: Reference, other: Reference) -> bool:
    return one.version == other.version and one.numbers.tobytes() == other.numbers.tobytes()


@pytest.mark.parametrize("codec", [TopK(0.25), Sign(), TernGrad(8)], ids=repr)
def test_clients_that_missed_rounds_hold_the_reference_bit_for_bit(codec: Any) -> None:
    """Two of five clients a round: what was missed comes as steps, or as the whole model where that is shorter."""
    toy, missed, lengths = toy_of(down_codec=codec, rounds=12), set[int](), dict[int, set[int]]()
    since = dict.fromkeys(range(5), -1)
    for round in range(1, 13):
        requests = toy.open(round)
        now = reference(toy)
        assert now.version == round - 1
        replies = toy.client_pool.handle(requests, toy.store)
        assert toy.server.close_round(requests, [replies]).problems == {}
        for client in requests.clients[requests.train].tolist():
            assert same(held(toy, client), now)
            size = int(requests.packets.lengths[requests.clients == client][0])
            lengths.setdefault(round - 1 - since[client] if since[client] >= 0 else 0, set()).add(size)
            missed.add(round - 1 - since[client])
            since[client] = round - 1
    assert lengths.pop(0) == {WHOLE} and max(missed) >= 3
    assert all(size <= WHOLE for sizes in lengths.values() for size in sizes)
    assert max(lengths[1]) < min(lengths[2]) <= WHOLE  # two steps are longer than one


def test_a_client_whose_reply_is_lost_takes_the_steps_behind_its_own() -> None:
    """The server knows of an older reference than the client has stored; both end with the same."""
    toy = toy_of(cohort=1.0)
    toy.play(1)
    toy.play(2, lambda replies: [reply for reply in replies if reply.client != 3])
    assert held(toy, 3).version == 1 and toy.server.since.tolist() == [2, 2, 2, 1, 2]
    requests = toy.open(3)
    sizes = dict(zip(requests.clients.tolist(), requests.packets.lengths.tolist(), strict=True))
    assert sizes[0] < sizes[3] < WHOLE
    toy.server.close_round(requests, [toy.client_pool.handle(requests, toy.store)])
    assert all(same(held(toy, client), reference(toy)) for client in range(5))


@pytest.mark.parametrize("algorithm", [FedPer(epochs=1), FedAvg(epochs=1)], ids=lambda one: type(one).__name__)
def test_a_client_whose_memory_is_deleted_is_sent_the_whole_model(algorithm: Any) -> None:
    """Without private numbers at once, with them when its owner lets it begin anew, as any lost state."""
    toy = toy_of(algorithm=algorithm, up_codec=Dense(), cohort=1.0)
    toy.play(1)
    toy.store.delete_client(2)
    requests = toy.open(2)
    if isinstance(algorithm, FedPer):
        with pytest.raises(ValueError, match="--restart-clients"):
            toy.client_pool.handle(requests, toy.store)
        requests.since[:] = START_ANEW
    replies = toy.client_pool.handle(requests, toy.store)
    assert replies.problems == {2: REFERENCE_LOST}
    result = toy.server.close_round(requests, [replies])
    assert result.problems == {2: REFERENCE_LOST} and result.trained.tolist() == [0, 1, 3, 4]
    requests = toy.open(3)
    sizes = requests.packets.lengths.tolist()
    assert sizes[2] == HEADER_BYTES + whole_bytes(toy.plan.down_spec(2, toy.server.roster[2]).size) > max(sizes[3:])
    requests.since[requests.clients == 2] = START_ANEW
    assert not toy.server.close_round(requests, [toy.client_pool.handle(requests, toy.store)]).problems
    requests = toy.open(4)
    assert requests.packets.lengths[2] < sizes[2]
    assert held(toy, 2).version == 2


def test_a_false_claim_costs_its_client_bytes_and_changes_no_number() -> None:
    """Clients that only measure say that they lack what they hold: they are sent whole models, as good to them."""
    honest, liar = toy_of(), toy_of()
    for round in range(1, 5):
        ends = []
        for toy in (honest, liar):
            requests = toy.open(round)
            measuring = requests.clients[~requests.train].tolist()
            replies = toy.client_pool.handle(requests, toy.store)
            if toy is liar:
                replies.problems.update(dict.fromkeys([*measuring, 77], REFERENCE_LOST))  # there is no client 77
            toy.server.close_round(requests, [replies])
            ends.append({name: value.numpy().tobytes() for name, value in toy.server.state.items()})
        assert ends[0] == ends[1]
    assert honest.server.ledger.total("down") < liar.server.ledger.total("down")


def test_how_often_models_are_measured_changes_nothing_of_training() -> None:
    ends = []
    for every in (1, 5):
        toy = toy_of(evaluate_every=every, algorithm=FedAvg(epochs=1))
        for round in range(1, ROUNDS + 1):
            toy.play(round)
        rows = [transfer for transfer in toy.server.ledger.transfers if transfer.purpose == "train"]
        ends.append((rows, {name: value.numpy().tobytes() for name, value in toy.server.state.items()}))
    assert ends[0] == ends[1]


def test_the_model_moves_by_what_clients_have_learnt_from_the_one_they_hold() -> None:
    """x' = x + mean (w_k - h): with uploads that lose nothing, the server's model after a round, derived from them."""
    toy = toy_of(up_codec=Dense(), down_codec=STC(0.1), cohort=1.0)
    toy.play(1)
    x = {name: value.numpy().copy() for name, value in toy.server.state.items()}
    requests = toy.open(2)
    link = toy.plan.uplink(0, toy.server.roster[0])
    h = link.arrays(reference(toy).numbers)["trunk"]
    replies = toy.client_pool.handle(requests, toy.store)
    uploads = np.stack([np.frombuffer(replies.updates[k], "<f4", offset=HEADER_BYTES) for k in range(5)])
    weights = np.array([len(toy.client_pool.clients[client].train.x) for client in range(5)], np.float64)
    mean = link.arrays((weights @ uploads / weights.sum()).astype(np.float32))["trunk"]
    toy.server.close_round(requests, [replies])
    assert any((x[name] != h[name]).any() for name in x)
    for name, value in toy.server.state.items():
        assert np.allclose(value.numpy(), x[name] + mean[name] - h[name], atol=1e-6)


def test_methods_that_send_each_client_its_own_are_refused_with_the_way_out() -> None:
    for algorithm in (FedAMP(), IFCA()):
        plan = toy_plan(algorithm=algorithm, down_codec=TopK(0.25))
        with pytest.raises(ValueError, match=f"{type(algorithm).__name__}.*sends each, .* its own, .*such as FedAvg"):
            check_plan(plan, plan.owners)


def test_packets_that_no_server_makes_are_errors_of_the_message() -> None:
    toy = toy_of(cohort=1.0)
    requests = toy.open(1)
    link = toy.plan.downlink(0, toy.server.roster[0])
    for numbers, version, why in ((np.nan, 0, "28 numbers that are not finite"), (0.0, 1, "cannot be decoded")):
        body = whole_body(Reference(version, np.full(TRUNK_NUMBERS, numbers, np.float32)))
        packet = concat([make_packet(DOWN, link.digest, 1, 0.0, body)]).select(np.zeros(5, np.int64))
        flags = requests.evaluate, requests.train, requests.raw_data
        with pytest.raises(PacketError, match=why):
            toy.client_pool.handle(
                Requests(requests.exchange, requests.clients, packet, *flags),
                VersionedFileStore(MemoryBackend()),
            )

"""Clients of a device whose private state is lost, or whose data are others than when the run began: left out alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from fedmtl.client.client_pool import ClientPool
from fedmtl.client.data_shard import shard_of
from fedmtl.client.own_data import OtherData, changed
from fedmtl.client.state.base import LostState, StateError
from fedmtl.client.state.files import FileBackend, MemoryBackend, VersionedFileStore
from fedmtl.data.base import ClientData, Split
from fedmtl.protocol.requests import START_ANEW
from fedmtl.runtime import Flower
from fedmtl.runtime import node as module
from fedmtl.runtime.flower.client_app import device_replies
from fedmtl.runtime.node import client_pool_of, read_run_config, store_of
from tests.runtime.hostile import experiment, play
from tests.server.toy import Toy, make_toy


def with_other_data(client_pool: ClientPool, *clients: int) -> ClientPool:
    """The client pool with one label of each of some clients changed."""
    data: dict[int, Any] = {client: client_pool.clients[client] for client in client_pool.clients.clients.tolist()}
    for client in clients:
        train = data[client].train
        labels = {task: np.array(y) for task, y in train.y.items()}
        task = sorted(labels)[0]
        labels[task][0] = 1 - labels[task][0]
        data[client] = ClientData(Split(train.x, labels), data[client].test)
    return ClientPool(client_pool.plan, shard_of(data), client_pool._engine, client_pool.rounds)


def ask(toy: Toy, round: int, client_pool: ClientPool, store: VersionedFileStore, restart: bool = False) -> Any:
    requests = toy.open(round)
    if restart:
        requests.since = np.full(len(requests), START_ANEW)
    return device_replies(client_pool, requests, store, False, restart)


def test_a_lost_state_costs_its_client_alone(tmp_path: Path) -> None:
    """The others' replies are bit for bit what they are without it. It was an error of the whole node."""
    toy = make_toy()
    store = VersionedFileStore(FileBackend(tmp_path))
    ask(toy, 1, toy.client_pool, store)
    (tmp_path / "1" / "00000001.state").write_bytes(b"")
    (tmp_path / "3" / "00000001.state").unlink()  # its last update was of round 1
    requests = toy.open(2)
    requests.since[:] = 1
    replies = device_replies(toy.client_pool, requests, store, False, False)
    assert replies.problems == dict.fromkeys(
        [1, 3], "its private state is lost or damaged on its node; look at the node's log"
    )
    rest = requests.select(np.flatnonzero(~np.isin(requests.clients, [1, 3])))
    fresh = VersionedFileStore(FileBackend(tmp_path))
    for client in rest.clients.tolist():  # the round again, from where it started
        assert (tmp_path / f"{client}" / "00000002.state").exists()
    alone = toy.client_pool.handle(rest, fresh)
    assert [(r.client, r.update, r.report) for r in replies] == [(r.client, r.update, r.report) for r in alone]


def test_a_node_without_a_client_left_fails(tmp_path: Path) -> None:
    toy = make_toy()
    store = VersionedFileStore(FileBackend(tmp_path))
    ask(toy, 1, toy.client_pool, store)
    for file in tmp_path.glob("*/*.state"):
        file.write_bytes(b"")
    with pytest.raises(LostState, match="that of round 1 is damaged"):
        ask(toy, 2, toy.client_pool, VersionedFileStore(FileBackend(tmp_path)))


def test_other_data_cost_their_client_alone_until_it_begins_anew(tmp_path: Path) -> None:
    toy = make_toy()
    ask(toy, 1, toy.client_pool, VersionedFileStore(FileBackend(tmp_path)))
    assert not ask(toy, 1, toy.client_pool, VersionedFileStore(FileBackend(tmp_path))).problems
    other = with_other_data(toy.client_pool, 2)
    replies = ask(toy, 2, other, VersionedFileStore(FileBackend(tmp_path)))
    assert list(replies.problems) == [2] and "restart-clients=true" in replies.problems[2]
    assert sorted(replies.clients.tolist()) == [0, 1, 3, 4]
    assert [file.name for file in (tmp_path / "2").iterdir()] == ["00000001.state"]
    # Knowingly: it starts from its first state, as a client that never trained does.
    replies = ask(toy, 2, other, VersionedFileStore(FileBackend(tmp_path)), restart=True)
    first = ask(toy, 2, other, VersionedFileStore(MemoryBackend()))
    assert not replies.problems
    assert [r.update for r in replies if r.client == 2] == [r.update for r in first if r.client == 2]
    assert not ask(toy, 3, other, VersionedFileStore(FileBackend(tmp_path))).problems


def test_a_node_whose_data_are_all_others_fails(tmp_path: Path) -> None:
    toy = make_toy()
    ask(toy, 1, toy.client_pool, VersionedFileStore(FileBackend(tmp_path)))
    with pytest.raises(OtherData, match="restart-clients=true"):
        ask(toy, 2, with_other_data(toy.client_pool, 0, 1, 2, 3, 4), VersionedFileStore(FileBackend(tmp_path)))


@pytest.mark.parametrize(
    "text", ["", "[]", '{"0": 1}', "\x00", "[" * 100_000], ids=["empty", "list", "type", "0", "deep"]
)
def test_a_damaged_note_of_data_is_refused_with_the_way_out(tmp_path: Path, text: str) -> None:
    toy = make_toy()
    clients = toy.client_pool.clients.clients
    (tmp_path / "data.json").write_text(text)
    with pytest.raises(StateError, match="data.json is damaged.*restart-clients=true"):
        changed(VersionedFileStore(FileBackend(tmp_path)), toy.client_pool.clients, clients)
    assert changed(VersionedFileStore(FileBackend(tmp_path)), toy.client_pool.clients, clients, restart=True) == []
    assert sorted(json.loads((tmp_path / "data.json").read_text())) == ["0", "1", "2", "3", "4"]


def test_the_server_names_a_client_that_its_node_left_out() -> None:
    """Over messages: node 1 loses one client's state after round 1; rounds 2 and 3, and their measurements, go on."""
    from tests.runtime import hostile

    def lose(content: Any) -> None:
        """Delete the state of each node's first client, once it has trained."""
        for (_, _), hosted in list(module._hosted.items()):
            memory = hosted.store._backend._data  # pyright: ignore[reportAttributeAccessIssue]
            if 0 in memory:
                memory[0] = dict.fromkeys(memory[0], b"")

    ran = play(experiment(cohort=1.0, evaluate_every=1), ask=lose)
    assert hostile.NODES > 1
    assert [0 in problems for problems in ran.problems if problems] and 0 in ran.problems[1]
    assert all(set(problems) <= {0} for problems in ran.problems)
    assert any("client 0 left out: its private state is lost" in line for line in ran.warnings)


def test_a_message_chooses_no_folder_device_replies(tmp_path: Path) -> None:
    """``flwr run -c 'overrides="state_dir=…"'`` made, and wrote, a folder anywhere on the nodes. Now the runtime
    of such a run has no field for one, and what a preset says about another runtime has no effect."""
    away = tmp_path / "anywhere"
    run = {"preset": "digits", "overrides": f'runtime.state_dir="{away}"'}
    with pytest.raises(ValueError, match="runtime 'Flower' has no field 'state_dir'"):
        client_pool_of(Context(1, 77, {"clients": "0"}, RecordDict(), run))  # pyright: ignore[reportArgumentType]
    preset = tmp_path / "preset.toml"
    preset.write_text(f"runtime = {{ name = 'Ray', state_dir = '{away}' }}\n")
    run = {"preset": str(preset)}
    assert read_run_config(run, {}).runtime == Flower()  # pyright: ignore[reportArgumentType]
    store_of(Context(1, 77, {}, RecordDict(), run), "a" * 32)  # pyright: ignore[reportArgumentType]
    assert not away.exists()
    own = {"state-dir": str(tmp_path / "own")}
    store_of(Context(1, 77, own, RecordDict(), run), "a" * 32)  # pyright: ignore[reportArgumentType]
    assert not away.exists() and (tmp_path / "own" / ("a" * 32)).is_dir()

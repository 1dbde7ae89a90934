"""Channels to an actor: small messages by a socket, large ones by Ray, and both in order."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from ray.exceptions import RayActorError, RayTaskError

from fedmtl.runtime import scratch
from fedmtl.runtime.flower.messages import byte_array
from fedmtl.runtime.ray.channels import LARGE, Channel, RayChannel, SocketChannel, SocketServer, listen
from fedmtl.runtime.ray.cluster import connect
from fedmtl.runtime.ray.framing import Frame, attach, detach


def set_sender() -> None:
    """Flower's Message reads the sender from the process."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 0, 1


@ray.remote(num_cpus=0)
class Echo:
    """Replies with the bytes that it received, ``times`` over."""

    def listen(self, sockets: str) -> str:
        self._server, self._calls = SocketServer(sockets) if sockets else None, 0
        set_sender()
        return self._server.address if self._server else ""

    def pid(self) -> int:
        return os.getpid()

    def calls(self) -> int:
        return self._calls

    def handle(self, message: Message, keys: list[tuple[str, str]], *arrays: np.ndarray) -> Frame:
        config = attach(message, keys, arrays).content.config_records["how"]
        time.sleep(float(config["sleep"]))  # type: ignore[arg-type]
        if config["fail"]:
            raise ValueError("as requested")
        content = np.frombuffer(message.content.array_records["a"]["a"].data, np.uint8)
        return detach(note(np.tile(content, int(config["times"]))))  # type: ignore[call-overload]

    def serve(self, message: Any = None, keys: Sequence[Any] = (), *arrays: np.ndarray) -> Frame | None:
        self._calls += 1
        assert self._server
        return self._server.serve(self.handle, None if message is None else Frame(message, list(keys), list(arrays)))


def note(content: np.ndarray, times: int = 1, sleep: float = 0.0, fail: bool = False) -> Message:
    arrays = ArrayRecord({})
    arrays["a"] = byte_array(content.astype(np.uint8))
    how = ConfigRecord({"times": times, "sleep": sleep, "fail": int(fail)})
    return Message(RecordDict({"a": arrays, "how": how}), 1, "train")


def read(message: Message | None) -> np.ndarray:
    assert message is not None
    return np.frombuffer(message.content.array_records["a"]["a"].data, np.uint8)


def an_actor() -> Any:
    connect("")
    set_sender()
    return Echo.remote()


@pytest.fixture(scope="module")
def actor() -> Iterator[Any]:
    actor = an_actor()
    yield actor
    ray.kill(actor)


def opened(kind: type[SocketChannel | RayChannel], actor: Any) -> Channel:
    return kind(actor, ray.get(actor.listen.remote(str(scratch.make()) if kind is SocketChannel else "")), ray.put)


@pytest.mark.parametrize("kind", [SocketChannel, RayChannel])
def test_messages_of_all_sizes_come_and_go_whole(kind: type[SocketChannel | RayChannel], actor: Any) -> None:
    channel = opened(kind, actor)
    rng = np.random.default_rng(0)
    sizes = [(10, 1), (0, 1), (LARGE + 1, 1), (10, 1), (1000, 2000), (LARGE, 3), (LARGE, 1), (10, 1)]
    for size, times in sizes:
        content = rng.integers(0, 256, size).astype(np.uint8)
        message = note(content, times)
        channel.send(message)
        assert np.array_equal(read(message), content)  # the driver's own is whole again
        assert np.array_equal(read(channel.receive()), np.tile(content, times))
    channel.close()
    # A large message or reply ends one call and begins the next: the first, and 2, 1 and 1 for three of the sizes.
    assert ray.get(actor.calls.remote(), timeout=10) == (1 + 2 + 1 + 1 if kind is SocketChannel else 0)


def test_a_late_reply_is_not_taken_for_the_next_one(actor: Any) -> None:
    channel = opened(SocketChannel, actor)
    for size, sleep in [(1, 0.3), (2, 0.0), (LARGE + 3, 0.0)]:
        channel.send(note(np.zeros(size), sleep=sleep))
    assert channel.receive() is None  # the reply to the first, which is superseded
    assert read(channel.receive()).size == LARGE + 3  # the second was never sent
    channel.close()


@pytest.mark.parametrize("kind", [SocketChannel, RayChannel])
def test_the_apps_error_is_raised_in_the_driver(kind: type[SocketChannel | RayChannel], actor: Any) -> None:
    channel = opened(kind, actor)
    channel.send(note(np.zeros(1), fail=True))
    with pytest.raises(RayTaskError, match="as requested"):
        channel.receive()
    channel.close()


@pytest.mark.parametrize("kind", [SocketChannel, RayChannel])
def test_a_dead_actor_is_noticed(kind: type[SocketChannel | RayChannel]) -> None:
    actor = an_actor()
    pid: Any = ray.get(actor.pid.remote())
    channel = opened(kind, actor)
    channel.send(note(np.zeros(1), sleep=60.0))
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(RayActorError):
        channel.receive()
    channel.send(note(np.zeros(1)))
    with pytest.raises(RayActorError):
        channel.receive()
    channel.close()


def test_an_actor_whose_driver_is_gone_is_free_again(actor: Any) -> None:
    channel = opened(SocketChannel, actor)
    channel.send(note(np.zeros(LARGE), times=2, sleep=0.2))
    channel.close()
    assert ray.get(actor.pid.remote(), timeout=10)


def test_a_folder_whose_name_is_too_long_for_a_socket(tmp_path: Path) -> None:
    long = tmp_path / ("long" * 30)
    long.mkdir()
    assert listen(str(long)) is None  # so Ray's calls are used
    assert not list(long.iterdir())

"""Ways to an actor: what is small by a socket, what is large by Ray, and both in order."""

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
from fedmtl.runtime.ray.channels import LARGE, Call, End, Lane, Way, listen
from fedmtl.runtime.ray.framing import Parcel, attach, detach
from fedmtl.runtime.ray.pool import connect


def somebody() -> None:
    """Flower's Message asks who is sending."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 0, 1


@ray.remote(num_cpus=0)
class Echo:
    """Answers with the bytes that it got, ``times`` over."""

    def begin(self, sockets: str) -> str:
        self._end, self._calls = End(sockets) if sockets else None, 0
        somebody()
        return self._end.address if self._end else ""

    def pid(self) -> int:
        return os.getpid()

    def calls(self) -> int:
        return self._calls

    def handle(self, message: Message, keys: list[tuple[str, str]], *arrays: np.ndarray) -> Parcel:
        config = attach(message, keys, arrays).content.config_records["how"]
        time.sleep(float(config["sleep"]))  # type: ignore[arg-type]
        if config["fail"]:
            raise ValueError("as it was told")
        content = np.frombuffer(message.content.array_records["a"]["a"].data, np.uint8)
        return detach(note(np.tile(content, int(config["times"]))))  # type: ignore[call-overload]

    def serve(self, message: Any = None, keys: Sequence[Any] = (), *arrays: np.ndarray) -> Parcel | None:
        self._calls += 1
        assert self._end
        return self._end.answer(self.handle, None if message is None else Parcel(message, list(keys), list(arrays)))


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
    somebody()
    return Echo.remote()


@pytest.fixture(scope="module")
def actor() -> Iterator[Any]:
    actor = an_actor()
    yield actor
    ray.kill(actor)


def begun(kind: type[Lane | Call], actor: Any) -> Way:
    return kind(actor, ray.get(actor.begin.remote(str(scratch.make()) if kind is Lane else "")), ray.put)


@pytest.mark.parametrize("kind", [Lane, Call])
def test_messages_of_all_sizes_come_and_go_whole(kind: type[Lane | Call], actor: Any) -> None:
    way = begun(kind, actor)
    rng = np.random.default_rng(0)
    sizes = [(10, 1), (0, 1), (LARGE + 1, 1), (10, 1), (1000, 2000), (LARGE, 3), (LARGE, 1), (10, 1)]
    for size, times in sizes:
        content = rng.integers(0, 256, size).astype(np.uint8)
        message = note(content, times)
        way.post(message)
        assert np.array_equal(read(message), content)  # the driver's own is whole again
        assert np.array_equal(read(way.receive()), np.tile(content, times))
    way.close()
    # A large message or reply ends one call and begins the next: the first, and 2, 1 and 1 for three of the sizes.
    assert ray.get(actor.calls.remote(), timeout=10) == (1 + 2 + 1 + 1 if kind is Lane else 0)


def test_a_late_answer_is_not_taken_for_the_next_ones(actor: Any) -> None:
    lane = begun(Lane, actor)
    for size, sleep in [(1, 0.3), (2, 0.0), (LARGE + 3, 0.0)]:
        lane.post(note(np.zeros(size), sleep=sleep))
    assert lane.receive() is None  # to the first, for which nobody waits
    assert read(lane.receive()).size == LARGE + 3  # the second was never sent
    lane.close()


@pytest.mark.parametrize("kind", [Lane, Call])
def test_the_apps_error_is_the_drivers(kind: type[Lane | Call], actor: Any) -> None:
    way = begun(kind, actor)
    way.post(note(np.zeros(1), fail=True))
    with pytest.raises(RayTaskError, match="as it was told"):
        way.receive()
    way.close()


@pytest.mark.parametrize("kind", [Lane, Call])
def test_a_dead_actor_is_noticed(kind: type[Lane | Call]) -> None:
    actor = an_actor()
    pid: Any = ray.get(actor.pid.remote())
    way = begun(kind, actor)
    way.post(note(np.zeros(1), sleep=60.0))
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(RayActorError):
        way.receive()
    way.post(note(np.zeros(1)))
    with pytest.raises(RayActorError):
        way.receive()
    way.close()


def test_an_actor_whose_driver_is_gone_is_free_again(actor: Any) -> None:
    lane = begun(Lane, actor)
    lane.post(note(np.zeros(LARGE), times=2, sleep=0.2))
    lane.close()
    assert ray.get(actor.pid.remote(), timeout=10)


def test_a_folder_whose_name_is_too_long_for_a_socket(tmp_path: Path) -> None:
    long = tmp_path / ("long" * 30)
    long.mkdir()
    assert listen(str(long)) is None  # so that Ray's calls are used
    assert not list(long.iterdir())

"""What users get wrong: one clear error each, before anything is written."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Message
from torch import nn

from fedmtl.algorithms import FedPer
from fedmtl.algorithms.traits import Traits
from fedmtl.codecs import FP16, Codec, Dense, ErrorFeedback, Int8, TopK
from fedmtl.core.context import Context
from fedmtl.core.trees import sha256
from fedmtl.core.types import LocalResult, LossFn, Params, Payload, Upload
from fedmtl.data import ClientData, Federation, Split, from_arrays
from fedmtl.models import MLP
from fedmtl.protocol.packets import PacketError
from fedmtl.protocol.requests import replies_of
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment, from_dict
from fedmtl.runs.presets import load_experiment
from fedmtl.runtime import InProcess
from fedmtl.runtime.flower.messages import read_requests, replies_content, requests_content
from fedmtl.runtime.flower.received import read_replies
from fedmtl.runtime.local import LocalGrid
from fedmtl.runtime.node import client_pool_of
from fedmtl.tasks import Binary, MultiClass
from tests.single_packets import requests_of
from tests.toys import mixed

SMALL: dict[str, Any] = {
    "data": mixed(),
    "model": MLP((3,)),
    "algorithm": FedPer(lr=0.05, epochs=1),
    "rounds": 2,
    "batch_size": 4,
    "runtime": "InProcess",
}


def experiment(**changes: Any) -> Experiment:
    return Experiment(**{**SMALL, **changes})


# Data and models that break the rules

ROWS = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
YES_NO = np.array([0, 1, 1, 0], np.float32)
GOOD = ClientData(Split(ROWS, {"sick": YES_NO}), Split(ROWS, {"sick": YES_NO}))


def holed(value: float) -> ClientData:
    x = ROWS.copy()
    x[2, 1] = value
    return ClientData(Split(x, {"sick": YES_NO}), GOOD.test)


@dataclass(frozen=True)
class Ward:
    """A data set of a good client 0 and somebody else as client 1."""

    second: str

    def load(self, seed: int) -> Federation:
        second = {
            "NaN": holed(np.nan),
            "infinity": holed(np.inf),
            "no example": ClientData(Split(ROWS[:0], {"sick": YES_NO[:0]}), GOOD.test),
            "no task": ClientData(Split(ROWS, {}), Split(ROWS, {})),
            "other width": ClientData(Split(ROWS[:, :2], {"sick": YES_NO}), GOOD.test),
            "labels missing": ClientData(Split(ROWS, {"sick": YES_NO[:3]}), GOOD.test),
            "unknown task": ClientData(*(Split(ROWS, {"sailing": YES_NO}) for _ in range(2))),
            "label of another task": ClientData(Split(ROWS, {"sick": 3 * YES_NO}), GOOD.test),
        }[self.second]
        return Federation({"sick": Binary()}, (3,), {0: GOOD, 1: second})


@dataclass(frozen=True)
class Unfit:
    """A model of which one part does not fit."""

    part: str

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        if self.part == "features":
            return nn.Unflatten(1, (2, 2))
        if self.part == "statistics":
            return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False))
        return nn.Linear(4, 3)

    def head(self, features: int, outputs: int) -> nn.Module:
        return nn.Linear(features, outputs + (self.part == "head"))


@dataclass(frozen=True)
class Odd:
    """FedPer, with a payload that cannot be sent."""

    traits = Traits()

    how: str
    base: FedPer = FedPer(epochs=1)

    def init_server(self, params: Params, ctx: Context) -> Params:
        return self.base.init_server(params, ctx)

    def init_client(self, params: Params, num_examples: int) -> Params:
        return self.base.init_client(params, num_examples)

    def broadcast(self, server: Params, client: int, ctx: Context) -> Payload:
        return self.base.broadcast(server, client, ctx)

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Any, ctx: Context
    ) -> LocalResult[Params]:
        head, (payload, n), _ = self.base.local_update(loss, down, private, batches, ctx)
        if self.how == "float64":
            payload = {"trunk": {name: value.double() for name, value in payload["trunk"].items()}}
        if self.how == "up empty":
            payload = {"none": {"nothing": torch.zeros(0)}}
        return LocalResult(head, Upload(payload, n))

    def aggregate(self, server: Params, uploads: Any, ctx: Context) -> Params:
        return self.base.aggregate(server, uploads, ctx)

    def personal_params(self, down: Payload, private: Params) -> Params:
        return self.base.personal_params(down, private)


BEFORE_A_RUN: dict[str, tuple[Callable[[], Any], str]] = {
    "unknown key": (lambda: from_dict({**SMALL, "round": 3}), "unknown key 'round'; the keys are name, data"),
    "unknown preset": (lambda: load_experiment("no_such_preset"), "No preset 'no_such_preset': give a .toml file, or"),
    "unknown component": (
        lambda: experiment(algorithm="FedNope"),
        "Unknown algorithm 'FedNope'; known: Local, Ensemble",
    ),
    "unknown field": (
        lambda: experiment(algorithm={"name": "FedPer", "rate": 1}),
        "has no field 'rate'; its fields are lr",
    ),
    "wrong type": (lambda: experiment(rounds="ten"), "rounds is a whole number, got 'ten'"),
    "wrong type in a component": (lambda: experiment(algorithm="FedPer(lr='fast')"), "lr is a number, got 'fast'"),
    "wrong type in a list": (lambda: experiment(model={"name": "MLP", "hidden": 64}), "hidden.*64"),
    "two memories down": (
        lambda: experiment(down_codec="ErrorFeedback(STC)"),
        "write the codec inside it, such as",
    ),
    "memories of both sides down": (
        lambda: experiment(down_codec="EF21(STC)"),
        r"EF21\(codec=STC.*EF21-P.*write the codec inside it, such as",
    ),
    "noise down": (lambda: experiment(down_codec="[GaussianNoise, Int8]"), "put the transform on the uplink"),
    "learning rate": (lambda: experiment(algorithm="FedPer(lr=-1)"), "positive, finite learning rate, got lr=-1"),
    "head too wide": (
        lambda: experiment(model=Unfit("head")),
        r"the head of task 'binary_1' gives shape \(2, 2\) for B=2, but Binary\(\) needs \(2, 1\); make head",
    ),
    "features not flat": (
        lambda: experiment(model=Unfit("features")),
        r"end the trunk in nn.Flatten",
    ),
    "no running statistics": (lambda: experiment(model=Unfit("statistics")), "use GroupNorm or LayerNorm"),
    "model of images": (lambda: experiment(model="CNN"), r"CNN takes images of shape .*, got \(4,\); try MLP"),
    "NaN in the data": (
        lambda: experiment(data=Ward("NaN")),
        r"client 1, train: inputs hold NaN or infinity in 1 row\(s\), first row 2, feature 1 \(nan\); drop or impute",
    ),
    "infinity in the data": (lambda: experiment(data=Ward("infinity")), "client 1, train: inputs hold NaN or infinity"),
    "client without examples": (
        lambda: experiment(data=Ward("no example")),
        "Client 1 has no training example; leave it out or give it data",
    ),
    "client without tasks": (
        lambda: experiment(data=Ward("no task")),
        r"Client 1 owns no task; give it labels of one of",
    ),
    "another width": (lambda: experiment(data=Ward("other width")), r"client 1, train: inputs have shape \(2,\)"),
    "labels missing": (lambda: experiment(data=Ward("labels missing")), "task 'sick' has 3 labels for 4 inputs"),
    "unknown task": (lambda: experiment(data=Ward("unknown task")), "unknown task 'sailing'; the tasks are .'sick'."),
    "label of another task": (lambda: experiment(data=Ward("label of another task")), "client 1, train, task 'sick'"),
    "NaN in a user's arrays": (
        lambda: experiment(data=from_arrays({7: (holed(np.nan).train.x, {"sick": YES_NO})})),
        "Client 7: inputs hold NaN or infinity",
    ),
    "no example in a user's arrays": (
        lambda: experiment(data=from_arrays({0: (ROWS, {"sick": YES_NO}), 7: (ROWS[:0], {"sick": YES_NO[:0]})})),
        "[Cc]lient 7",
    ),
    "cohort too large": (
        lambda: experiment(cohort=6),
        "at least 1 client and at most the federation's 5, got cohort=6; lower it, or give the data more clients",
    ),
    "payload of float64": (
        lambda: experiment(algorithm=Odd("float64")),
        "float32 tensors, but 'trunk'/'trunk.1.bias' is torch.float64; convert it in the algorithm",
    ),
    "payload of nothing up": (lambda: experiment(algorithm=Odd("up empty")), "at least one number"),
}
"""What is wrong -> how it comes about, and what the error says."""


@pytest.mark.parametrize("case", BEFORE_A_RUN)
def test_one_clear_error_and_nothing_written(case: str, tmp_path: Path) -> None:
    make, message = BEFORE_A_RUN[case]
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=message) as error:
        run(make(), out)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    assert not out.exists() or list(out.iterdir()) == []


# Folders that cannot be written


@pytest.fixture
def blocked(tmp_path: Path) -> Path:
    """A path where nobody can make a folder, not even root: below a regular file."""
    (tmp_path / "file").write_text("x")
    return tmp_path / "file" / "below"


def test_a_state_folder_that_cannot_be_written_leaves_no_run_behind(blocked: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(OSError) as error:
        run(experiment(runtime=InProcess(str(blocked))), out)
    assert f"The state folder '{blocked}" in str(error.value) and "Not a directory" in str(error.value)
    assert "give a folder that this user may write" in str(error.value)
    left = {path.name for path in out.rglob("*")} if out.exists() else set()
    assert left <= {"fedmtl.manifest", "checkpoint"}  # nothing of a run, in a folder that is known as fedmtl's
    run(experiment(), out)  # and it is free for a run


def test_a_run_folder_that_cannot_be_written_is_named(blocked: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError) as error:
        run(experiment(), blocked)
    assert f"The run folder {str(blocked)!r} cannot be written (Not a directory); give another (--out)" in str(
        error.value
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_run_folder_that_is_a_file_is_named_and_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(OSError, match="cannot be written"):
        run(experiment(), path)
    assert path.read_text() == "mine"


# Codecs and packets


@pytest.mark.parametrize("codec", [Dense(), FP16(), Int8(), TopK(), ErrorFeedback(TopK())], ids=repr)
def test_a_codec_that_is_given_nothing_says_so(codec: Codec[Any]) -> None:
    with pytest.raises(
        ValueError, match=r"codes a flat vector of at least one number, got shape \(0,\); send no packet"
    ):
        codec.encode(np.zeros(0, np.float32), codec.init(0), np.random.default_rng(0))


def cut(packet: bytes) -> bytes:
    return packet[:-1]


def corrupt(packet: bytes) -> bytes:
    return packet[:40] + bytes([packet[40] ^ 1]) + packet[41:]


def tampered(direction: str, change: Callable[[bytes], bytes], clients: set[int]) -> Any:
    """``LocalGrid.send_and_receive`` over a line that changes packets of some clients in the first round."""
    exchange = LocalGrid.send_and_receive

    def over_a_bad_line(grid: LocalGrid, messages: list[Message], *, timeout: float | None = None) -> list[Message]:
        plan = client_pool_of(grid._contexts[1]).plan
        for message in messages:
            if direction == "down" and message.metadata.message_type == "train":
                requests = read_requests(plan, message.content)
                round = requests.exchange.number
                changed = [
                    v._replace(packet=change(v.packet)) if v.client in clients and round == 1 else v for v in requests
                ]
                run_name = str(message.content.config_records["requests"]["run"])
                message.content = requests_content(plan, run_name, requests_of(changed, requests.exchange), share=False)
        replies = exchange(grid, messages, timeout=timeout)
        for reply in replies:
            if direction == "up" and reply.metadata.message_type == "train":
                round = int(reply.content.config_records["replies"]["round"])  # pyright: ignore[reportArgumentType]
                answers = read_replies(reply.content, round)
                changed = [
                    a._replace(update=change(a.update)) if a.client in clients and round == 1 else a for a in answers
                ]
                reply.content = replies_content(round, replies_of(changed), {})
        return replies

    return over_a_bad_line


@pytest.mark.parametrize("change", [cut, corrupt])
def test_a_damaged_upload_leaves_its_client_out_and_the_run_goes_on(
    change: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = run(experiment(engine="loop"))
    monkeypatch.setattr(LocalGrid, "send_and_receive", tampered("up", change, {3}))
    problems: dict[int, Any] = {}
    with caplog.at_level(logging.WARNING, logger="fedmtl"):
        result = run(
            experiment(engine="loop"), on_round=lambda progress: problems.update({progress.round: progress.problems})
        )
    assert [list(problems[round]) for round in (1, 2, 3)] == [[3], [], []]
    assert "truncated" in problems[1][3] or "corrupted" in problems[1][3]
    warnings = [record.getMessage() for record in caplog.records if record.name == "fedmtl"]
    assert [text.startswith("round 1: client 3 left out: ") for text in warnings] == [True]
    assert sha256(result.state) != sha256(whole.state)


@pytest.mark.parametrize(("direction", "error"), [("up", RuntimeError), ("down", PacketError)])
@pytest.mark.parametrize("change", [cut, corrupt])
def test_when_all_packets_are_damaged_the_run_ends_and_can_be_resumed(
    direction: str, error: type[Exception], change: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalGrid, "send_and_receive", tampered(direction, change, set(range(5))))
        with pytest.raises(error, match="truncated|corrupted"):
            run(experiment(), tmp_path)
    assert not (tmp_path / "summary.json").exists()
    result = run(experiment(), tmp_path, resume=True)
    assert result.summary["digests"] == run(experiment()).summary["digests"]


def test_divergence_of_everybody_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    data = from_arrays({c: (ROWS * np.float32(1e30), {"size": ROWS[:, 0] * 1e9}) for c in range(2)})
    with pytest.raises(RuntimeError, match="its update is not finite.* lower the learning rate"):
        run(experiment(data=data), tmp_path)
    assert not (tmp_path / "summary.json").exists()


def test_labels_that_are_classes_beyond_the_task_name_the_way_out() -> None:
    with pytest.raises(ValueError, match="num_classes must be at least 4"):
        labels = {"kind": np.array([0, 1, 3, 2], np.float32)}
        Federation({"kind": MultiClass(3)}, (3,), {0: ClientData(Split(ROWS, labels), Split(ROWS, labels))})

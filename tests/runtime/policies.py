"""Runs under each round policy, with clients that are slow, late and drop out; and SIGKILL at a stage of theirs."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from flwr.app import Message

from fedmtl.core.files import Folder
from fedmtl.run_experiment import run
from fedmtl.runs.checkpoint import CHECKPOINT
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.presets import load_experiment
from fedmtl.runtime.local import LocalGrid

TINY = Path(__file__).with_name("tiny.toml")

CODED = ("up_codec=ErrorFeedback(TopK(0.25))",)
"""Clients have heads and an error memory of their own."""

TIMED = (
    "link=LogNormal(down_mbps=0.01, up_mbps=0.005, period=0.5)",
    "devices=DeviceClasses([400, 100], [4, 2], [1, 1])",
    "availability=Always(dropout=0.1)",
)
"""An exchange takes seconds, and of the clients that are asked a tenth goes away."""

POLICIES: dict[str, tuple[str, ...]] = {
    "Synchronous": (),
    "AllReplies": (*TIMED, "policy=AllReplies()"),
    "Deadline": (*TIMED, "policy=Deadline(1.2)"),
    "OverSelection": (*TIMED, "policy=OverSelection(1.5)"),
    "SemiSynchronous": (*TIMED, "policy=SemiSynchronous(0.8)"),
    "FedBuff": (*TIMED, "policy=FedBuff(2)"),
    "FedAsync": (*TIMED, "policy=FedAsync()"),
}
"""Settings of each policy; the first one is that of runs without a clock."""

STAGES = ("trained", "tables", "checkpoint")
"""Nodes have trained and keep their states, and the server has no reply; tables have the exchange, and the checkpoint
is that of the one before, beside updates that are under way now; the checkpoint is new, and what is old still there."""


def experiment(*settings: str) -> Experiment:
    """Four rounds of the tiny experiment, five exchanges."""
    return load_experiment(TINY, ["rounds=4", "evaluate_every=2", "algorithm=FedPer(lr=0.1, epochs=1)", *settings])


def run_until_killed(out: str, settings: Sequence[str], stage: str, number: int) -> None:
    """Run, or resume, and SIGKILL this process at a stage of its ``number``-th exchange."""
    count, send, write = 0, LocalGrid.send_and_receive, Folder.write

    def pass_stage(which: str) -> None:
        nonlocal count
        count += which == stage
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def sending(grid: LocalGrid, messages: list[Message], *, timeout: float | None = None) -> Any:
        replies = send(grid, messages, timeout=timeout)
        if all(message.metadata.message_type != "query" for message in messages):
            pass_stage("trained")
        return replies

    def writing(folder: Folder, name: str, data: bytes, **options: Any) -> None:
        if name == CHECKPOINT:
            pass_stage("tables")
        write(folder, name, data, **options)
        if name == CHECKPOINT:
            pass_stage("checkpoint")

    with patch.object(LocalGrid, "send_and_receive", sending), patch.object(Folder, "write", writing):
        run(experiment(*settings), out, resume=True)

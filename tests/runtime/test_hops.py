"""The way of a packet, there and back, is the one that ``fedmtl/README.md`` draws."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, Message, RecordDict

from fedmtl.client.stages.exchange import LoadedExchange
from fedmtl.client.stages.load import ClientGroup
from fedmtl.core.types import LocalResult, Trained, Upload
from fedmtl.core.uploads import Stack, Uploads
from fedmtl.data import Synthetic
from fedmtl.engines.base import Cohort
from fedmtl.protocol.link import Encoded
from fedmtl.protocol.packets import Packets
from fedmtl.protocol.packing import Packed, Unpacked
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.requests import Replies, Requests
from fedmtl.runtime.flower.discovery import node_map_of
from fedmtl.runtime.flower.server_app import make_server
from fedmtl.runtime.flower.strategy import FedMTL
from fedmtl.runtime.local import LocalGrid
from fedmtl.server.on_clients import ReceivedUploads, UploadReader
from fedmtl.server.replies import MatchedReplies, RoundReplies
from tests.toys import experiment

ROOT = Path(__file__).parent.parent.parent / "fedmtl"
ROUND = (ROOT / "README.md").read_text(encoding="utf-8").partition("## A round")[2].partition("\n## ")[0]
HOP = re.compile(r"^  (\S+) +(\d+) (\w+)", re.MULTILINE)

CARRIERS = (
    *(Message, RecordDict, ArrayRecord, Array, Packets, Requests, Replies, Packed, Unpacked, Encoded, LoadedExchange),
    *(ClientGroup, Cohort, Trained, LocalResult, Upload, Uploads, Stack, RoundReplies, MatchedReplies, UploadReader),
    ReceivedUploads,
)
"""Types of what a packet is part of, before and after it is one."""

INSIDE = ("core/", "models/", "tasks/", "optimizers/", "algorithms/", "codecs/", "engines/")
"""Rooms that others call for one thing, with calls of their own: an algorithm's, a codec's, an engine's, trees'."""


class Hop(NamedTuple):
    file: str
    """Relative to fedmtl; ``folder/*.py`` for any file of a folder."""
    name: str


class Call(NamedTuple):
    hop: Hop
    carries: bool
    """Whether an argument or the result is, or holds, a packet or what it is part of."""


DRAWN = [Hop(file, name) for file, _, name in HOP.findall(ROUND)]


def carries(value: Any, plan: Plan, depth: int = 0) -> bool:
    """Whether a value is, or holds within two containers, bytes, numbers or arrays of a whole payload."""
    size = plan.up_spec(0, plan.all_tasks).size  # bytes too: no codec of these tests makes fewer
    if isinstance(value, CARRIERS):
        return True
    if isinstance(value, np.ndarray | torch.Tensor):
        raw = isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.size >= size
        return raw or (value.ndim > 0 and value.shape[-1] == size)
    if isinstance(value, bytes | memoryview):
        return len(value) >= size
    inner = value.values() if type(value) is dict else value if isinstance(value, list | tuple) else ()
    named = type(value) is dict and not plan.initial.keys().isdisjoint(value)
    return named or (depth < 2 and any(carries(each, plan, depth + 1) for each in inner))


def trained_exchange(**changes: Any) -> list[Call]:
    """All calls of fedmtl in the second exchange of a run of one client, which trains and does not measure."""
    made = experiment(
        data=Synthetic(clients=1, examples=12, test_examples=6, features=4, rank=2, tasks=1),
        evaluate_every=3,
        **changes,
    )
    federation = made.load()
    grid, server = LocalGrid(made, federation), make_server(made, federation.schema)
    strategy = FedMTL(server, node_map_of(server.roster.clients, {0: 1}), "toy", 1.0)
    found: list[Call] = []
    opened: list[tuple[int, Hop, bool]] = []

    def profile(frame: FrameType, event: str, result: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event not in ("call", "return") or not path.is_relative_to(ROOT):
            return
        if event == "call":
            code = frame.f_code
            given = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            holds = any(carries(frame.f_locals.get(name), server.plan) for name in given)
            opened.append((len(found), Hop(path.relative_to(ROOT).as_posix(), code.co_name), holds))
            found.append(Call(opened[-1][1], holds))
        else:
            place, hop, held = opened.pop()
            found[place] = Call(hop, held or carries(result, server.plan))

    for number in range(2):
        exchange = server.schedule.exchange(number, server.best)
        assert exchange is not None and exchange.train
        if number == 1:
            assert not exchange.measure
            sys.setprofile(profile)
        try:
            strategy.aggregate(grid.send_and_receive(strategy.ask(exchange, grid)))
        finally:
            sys.setprofile(None)
    grid.close()
    return found


def is_at(hop: Hop, drawn: Hop) -> bool:
    """Whether a call is the drawn one; of a folder, any file."""
    folder = drawn.file.removesuffix("*.py")
    return hop.name == drawn.name and (hop.file == drawn.file or (drawn.file != folder and hop.file.startswith(folder)))


def missing(calls: Iterator[Call], drawn: list[Hop]) -> list[Hop]:
    """What is drawn and does not come, in the drawn order, among the calls that carry something."""
    return [hop for hop in drawn if not any(call.carries and is_at(call.hop, hop) for call in calls)]


@pytest.mark.parametrize("codecs", [{}, {"up_codec": "Int8()", "down_codec": "FP16()"}], ids=["Dense", "lossy"])
def test_a_packet_passes_the_drawn_calls_in_their_order_and_no_file_that_the_page_does_not_name(
    codecs: dict[str, Any],
) -> None:
    calls = trained_exchange(**codecs)
    assert missing(iter(calls), DRAWN) == []
    carrying = {call.hop.file for call in calls if call.carries and not call.hop.file.startswith(INSIDE)}
    assert {file for file in carrying if file not in ROUND} == set()


def test_the_follower_finds_what_is_not_there() -> None:
    """A call that is not made, one of another file, and two in the wrong order are missed."""
    calls = [Call(Hop("server/server.py", "open_round"), True), Call(Hop("server/broadcast.py", "broadcasts"), True)]
    order = [call.hop for call in calls]
    assert missing(iter(calls), order) == []
    assert missing(iter(calls), [*order, Hop("server/gone.py", "gone")]) == [Hop("server/gone.py", "gone")]
    assert missing(iter(calls), [Hop("client/*.py", "broadcasts")]) == [Hop("client/*.py", "broadcasts")]
    assert missing(iter(calls), order[::-1]) == [order[0]]


def test_the_drawing_is_numbered_and_the_page_counts_it() -> None:
    """At most 45 calls in 18 files: more, and a reader of the middle loses the packet."""
    assert [int(number) for _, number, _ in HOP.findall(ROUND)] == list(range(1, len(DRAWN) + 1))
    files = {hop.file for hop in DRAWN}
    assert f"{len(DRAWN)} calls in {len(files)} files" in " ".join(ROUND.split())
    assert len(DRAWN) <= 45 and len(files) <= 18

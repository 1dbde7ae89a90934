"""LayerSchedule in whole runs: bytes, clients that miss rounds, resume, runtimes, and its refusals."""

from pathlib import Path
from typing import Any

import pytest
import torch

from fedmtl.algorithms import Ditto, FedAvg, FedBN, FedPer, LayerSchedule, MaTFL, Scaffold, TaskWeighted
from fedmtl.codecs import FP16, ErrorFeedback, TopK
from fedmtl.core.trees import sha256
from fedmtl.engines import Loop
from fedmtl.models import MLP, ShareMap
from fedmtl.onboarding.download import download
from fedmtl.onboarding.kinds import kinds
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.progress import Progress
from fedmtl.runs.result import Result
from tests import toys
from tests.algorithms.rounds import jobs, start
from tests.cases import case
from tests.conftest import ALIKE, tiny, tiny_plan
from tests.engines.jobs import run as run_jobs
from tests.toys import mixed

DATA = mixed(examples=8, test_examples=4, features=6, classes=3, ragged=True)
"""Five clients of four kinds of task."""

EVERY = {"trunk.1.weight": "3+1", "trunk.3.*": 2}
NUMBERS = [19, 28, 19, 4, 43, 4]
"""Of a packet with version 0 to 5, by hand. MLP((4, 3)) on 6 features has a bias of 4 numbers, always; layer 3, of 15,
with versions 0, 2 and 4; and a weight of 24, with versions 1 and 4."""


def experiment(**changes: Any) -> Experiment:
    values: dict[str, Any] = {
        "data": DATA,
        "model": MLP((4, 3)),
        "algorithm": LayerSchedule(FedPer(lr=0.05, epochs=1), EVERY),
        "rounds": 5,
        "cohort": 3,
        "batch_size": 4,
        "engine": "loop",
    }
    return toys.experiment(**{**values, **changes})


@pytest.fixture(scope="module")
def local() -> Result:
    return run(experiment())


def bytes_of(result: Result, direction: str, purpose: str) -> list[tuple[int, int]]:
    """Round and length of each packet, those of equal rounds once."""
    rows = [row for row in result.ledger if (row["direction"], row["purpose"]) == (direction, purpose)]
    return sorted({(row["round"], row["packet_bytes"]) for row in rows})


def test_bytes_are_those_of_the_groups_of_the_round(local: Result) -> None:
    """32 of header and 4 a number, or 2 and a byte with FP16; round t trains on version t − 1, and 5 is measured."""
    for header, size, result in ((32, 4, local), (33, 2, run(experiment(up_codec=FP16(), down_codec=FP16())))):
        with case(size):
            trained = [(t + 1, header + size * numbers) for t, numbers in enumerate(NUMBERS[:5])]
            assert bytes_of(result, "down", "train") == bytes_of(result, "up", "train") == trained
            measured = dict(bytes_of(result, "down", "evaluate"))
            assert measured[5] == header + size * NUMBERS[5]
            assert all(length == header + size * NUMBERS[version] for version, length in measured.items())


def test_runtimes_and_engines_agree(local: Result) -> None:
    ray = run(experiment(runtime="Ray(workers=2)"))
    assert ray.summary["digests"] == local.summary["digests"] and ray.ledger == local.ledger
    stacked = run(experiment(engine="vmap"))
    assert stacked.ledger == local.ledger
    assert max(float((stacked.state[name] - w).abs().max()) for name, w in local.state.items()) < 1e-6


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("at", [1, 3])
def test_a_killed_run_goes_on_with_the_same_bits(local: Result, tmp_path: Path, at: int) -> None:
    def kill(progress: Progress) -> None:
        if progress.round == at:
            raise Killed

    with pytest.raises(Killed):
        run(experiment(), tmp_path / "run", on_round=kill)
    again = run(experiment(), tmp_path / "run", resume=True)
    assert again.summary["digests"] == local.summary["digests"] and again.ledger == local.ledger


def test_a_client_has_what_it_had_and_the_servers_when_that_comes() -> None:
    """Client 1 trains in round 0 and misses 1; in round 2 its layer 1 is its own of round 0, in round 4 the server's.

    The loss of its first step is read at the parameters that (2) and (3) say; states keep their shapes.
    """
    federation = tiny(ALIKE)
    schedule = LayerSchedule(FedPer(lr=0.1, epochs=1), {"trunk.1.weight": 2})
    plan = tiny_plan(federation, schedule)
    state, had = start(plan, federation), None
    for t, cohort in enumerate([[0, 1, 4, 9], [0, 4], [0, 1, 4], [0, 1]]):
        now = plan.at(t)
        assert now is plan.at(t + 2) and (now is plan.at(t + 1)) is False
        work = jobs(now, federation, state, t + 1, cohort)
        for job in work:
            assert (set(job.down["trunk"]) == {"trunk.1.weight", "trunk.1.bias"}) == (t % 2 == 0)
            begins = now.algorithm.personal_params(job.down, job.private)
            own = state.private[job.client].kept["trunk.1.weight"]
            expected = state.server["trunk.1.weight"] if t % 2 == 0 else own
            assert torch.equal(begins["trunk.1.weight"], expected)
            assert torch.equal(begins["trunk.1.bias"], state.server["trunk.1.bias"])
        found = run_jobs(Loop(), work)
        uploads = [(job.client, each.upload) for job, each in zip(work, found, strict=True)]
        server = now.algorithm.aggregate(state.server, uploads, now.server_context(t + 1, "aggregate"))
        assert torch.equal(server["trunk.1.weight"], state.server["trunk.1.weight"]) == (t % 2 == 1)
        private = {**state.private, **{job.client: each.private for job, each in zip(work, found, strict=True)}}
        state = state._replace(server=server, private=private)
        if t == 0:
            had = state.private[1].kept["trunk.1.weight"]
        if t == 1:
            assert had is not None and torch.equal(state.private[1].kept["trunk.1.weight"], had)
            assert not torch.equal(had, server["trunk.1.weight"])


def test_results_predict_with_what_was_measured(local: Result) -> None:
    """Version 5 brings the bias alone: a client's layers are its own, and they are those of the store."""
    models = [local.model(client) for client in (0, 1)]
    states = [{name: w for name, w in model.named_parameters() if name.startswith("trunk.")} for model in models]
    assert sha256(states[0]["trunk.1.bias"].detach()) == sha256(states[1]["trunk.1.bias"].detach())
    assert not torch.equal(states[0]["trunk.3.weight"], states[1]["trunk.3.weight"])


def test_a_new_client_downloads_all_groups(local: Result) -> None:
    """43 numbers after 5 rounds, though the bias alone travels then."""
    data = DATA.load(0)
    (kind,) = kinds(experiment().make_plan(data), data.clients, {}, None)
    assert download(kind, dict(local.state), 5, data.schema.owners[0]).bytes == 32 + 4 * 43


def test_around_wrappers_and_maps() -> None:
    """TaskWeighted inside, and a layer that the model's map has made private: the schedule is of what is left."""
    inside = LayerSchedule(TaskWeighted(FedPer(epochs=1)), {"trunk.3.*": 2})
    mapped = ShareMap(MLP((4, 3)), {"trunk.1.*": "private"})
    for chosen, numbers in (
        (experiment(algorithm=inside, rounds=2), [43, 28]),
        (experiment(model=mapped, algorithm=LayerSchedule(FedPer(epochs=1), {"*.bias": 2}), rounds=2), [15, 12]),
        (experiment(algorithm=LayerSchedule(Ditto(epochs=1, personal_epochs=1), {"head.*": 2}), rounds=2), None),
    ):
        with case(chosen.algorithm):
            up = bytes_of(run(chosen), "up", "train")
            if numbers:
                assert up == [(t + 1, 32 + 4 * n) for t, n in enumerate(numbers)]
            else:
                assert {length for t, length in up if t == 2} == {32 + 4 * 43}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"algorithm": ("FedPer()", {"trunk.2.*": 2})}, "'trunk.2.*' matches no parameter .* trunk.1.bias"),
        ({"algorithm": ("FedPer()", {"head.*": 2})}, "'head.*' matches no parameter"),
        ({"algorithm": ("FedPer()", {"*": 2})}, "nothing travels in round 2"),
        ({"algorithm": ("FedPer()", {"*weight": 2, "*": "4+1"})}, "nothing travels in round 4"),
        ({"up_codec": ErrorFeedback(TopK(0.25))}, "keeps a memory .* use a codec without a memory"),
        ({"policy": "FedBuff(buffer=2)", "link": "Constant(1, 1)"}, "differences from one model"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_before_the_run(changes: dict[str, Any], words: str) -> None:
    given = dict(changes)
    if isinstance(given.get("algorithm"), tuple):
        given["algorithm"] = LayerSchedule(FedPer(epochs=1), given["algorithm"][1])
    with pytest.raises(ValueError, match=words):
        run(experiment(**given))


def test_schedules_and_algorithms_that_do_not_fit() -> None:
    for every, words in (
        ({"trunk.*": "3+3"}, "offset is from 0"),
        ({"trunk.*": 0}, "offset is from 0"),
        ({"a": 997, "b": 991}, "come again after 988027"),
        ({"trunk.*": 1.5}, "whole numbers of rounds"),
    ):
        with pytest.raises(ValueError, match=words):
            LayerSchedule(FedPer(), every)
    for algorithm in (Scaffold(), MaTFL(), FedBN()):
        with pytest.raises(ValueError, match="send a trunk, heads or a model to all clients"):
            LayerSchedule(algorithm)
    with pytest.raises(ValueError, match=r"LayerSchedule goes outside: LayerSchedule\(TaskWeighted"):
        TaskWeighted(LayerSchedule(FedAvg(), {"trunk.*": 2}))

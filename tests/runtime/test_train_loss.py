"""Training losses: in the header of each upload, counted, the same whoever trains, and rows of the run.

Expected values are worked out here from the first model, by torch's own losses, on each client's own examples: with
one full batch and one pass, a client's training loss is that of the model it was sent.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from fedmtl.analysis.export import export
from fedmtl.analysis.load import load_run
from fedmtl.codecs import Codec, Dense, ErrorFeedback, Int8, TopK
from fedmtl.protocol.requests import Reply
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.presets import load_experiment
from fedmtl.runs.progress import Progress
from fedmtl.runs.result import Result
from tests.runtime.hostile import experiment as hostile
from tests.runtime.hostile import filled, play, reseal, update
from tests.server.toy import make_toy

TINY = Path(__file__).with_name("tiny.toml")


def experiment(*settings: str) -> Experiment:
    return load_experiment(TINY, ["rounds=3", "evaluate_every=3", "train_loss=true", *settings])


def first_losses(of: Experiment) -> dict[int, tuple[float, int]]:
    """Client -> the mean over its tasks of the cross-entropy of the first model on its examples, and their number."""
    federation = of.load()
    plan = of.make_plan(federation)
    found = {}
    for client, data in federation.clients.items():
        with torch.no_grad():
            outputs = functional_call(plan.module, dict(plan.initial), (torch.from_numpy(data.train.x),))
        labels = {task: torch.from_numpy(y).long() for task, y in data.train.y.items()}
        losses = [float(cross_entropy(outputs[task], y)) for task, y in labels.items()]
        found[client] = float(np.mean(losses)), len(data.train.x)
    return found


def values(result: Result) -> dict[tuple[int, int | None], float | None]:
    return {(row["round"], row["client"]): row["value"] for row in result.training}


@pytest.mark.parametrize("algorithm", ["FedAvg", "FedProx", "Ditto", "Scaffold", "MRMTL", "PFedMe", "FedRep"])
@pytest.mark.parametrize("engine", ["loop", "vmap"])
def test_one_full_batch_has_the_loss_of_the_model_that_was_sent(algorithm: str, engine: str) -> None:
    """Penalties are 0 there, and no part of the loss. FedRep takes a step of the head and one of the trunk, and says
    the mean of both, which is below the first; PFedMe steps towards its model from the one sent."""
    fields = {
        "FedRep": "head_epochs=1, trunk_epochs=1",
        "Ditto": "epochs=1, personal_epochs=1",
        "PFedMe": "epochs=1, steps=1",
    }
    method = f"algorithm={algorithm}({fields.get(algorithm, 'epochs=1')})"
    of = experiment(method, "batch_size=0", "cohort=1.0", "rounds=1", f"engine={engine}")
    found, expected = values(run(of)), first_losses(of)
    for client, (loss, _) in expected.items():
        if algorithm == "FedRep":
            assert found[1, client] is not None and 0.9 * loss < found[1, client] < loss  # type: ignore[operator]
        else:
            assert found[1, client] == pytest.approx(loss, rel=1e-5)
    if algorithm != "FedRep":
        sizes = np.array([n for _, n in expected.values()], float)
        mean = sizes @ np.array([loss for loss, _ in expected.values()]) / sizes.sum()
        assert found[1, None] == pytest.approx(mean, rel=1e-5)


def test_rows_are_of_the_clients_that_trained_and_of_all_of_them() -> None:
    seen: dict[int, Progress] = {}
    result = run(experiment(), on_round=lambda progress: seen.update({progress.round: progress}))
    cohorts: dict[int, list[int]] = {}
    for packet in result.ledger:
        if (packet["purpose"], packet["direction"]) == ("train", "up"):
            cohorts.setdefault(packet["round"], []).append(packet["client"])
    examples = {client: len(data.train.x) for client, data in experiment().load().clients.items()}
    for round in (1, 2, 3):
        rows = [row for row in result.training if row["round"] == round]
        assert [row["client"] for row in rows] == [*cohorts[round], None]
        assert {row["metric"] for row in rows} == {"train_loss"}
        assert [row["examples"] for row in rows[:-1]] == [examples[client] for client in cohorts[round]]
        assert rows[-1]["examples"] == sum(row["examples"] for row in rows[:-1])
        mean = sum(row["value"] * row["examples"] for row in rows[:-1]) / rows[-1]["examples"]
        assert rows[-1]["value"] == pytest.approx(mean, rel=1e-12) and seen[round].train_loss == rows[-1]["value"]
        assert seen[round].measured == (round == 1)  # of the model before it: the first
    assert seen[4].train_loss is None  # the last model is measured, and no client trains


@pytest.mark.parametrize("codec", ["Dense", "Int8", "ErrorFeedback"])
@pytest.mark.parametrize("algorithm", ["FedPer", "FedU"])
def test_every_engine_and_runtime_has_the_same_losses(algorithm: str, codec: str) -> None:
    """FedPer's uploads are added up on nodes, FedU's are not. Workers change nothing, and engines a rounding."""
    settings = [f"algorithm={algorithm}(epochs=1)", f"up_codec={codec}", "rounds=2"]
    loop = run(experiment(*settings))
    assert len(loop.training) == 2 * 5
    for workers in (1, 2):
        ray = run(experiment(*settings, f"runtime=Ray(workers={workers})"), in_process=True)
        assert ray.training == loop.training
        vmap = run(experiment(*settings, f"runtime=Ray(workers={workers})", "engine=vmap"), in_process=True)
        assert [{**row, "value": 0} for row in vmap.training] == [{**row, "value": 0} for row in loop.training]
        np.testing.assert_allclose(list(values(vmap).values()), list(values(loop).values()), rtol=1e-5)  # type: ignore[arg-type]


def test_losses_cost_no_byte_and_no_bit_and_can_be_kept() -> None:
    said, kept = (run(experiment(f"train_loss={word}")) for word in ("true", "false"))
    assert said.summary["digests"] == kept.summary["digests"] and said.ledger == kept.ledger
    assert said.training and not kept.training


@pytest.mark.parametrize(
    "settings",
    [["algorithm=Local"], ["algorithm=Mocha", "model=Linear(intercept=False)", "data.kind=binary"]],
    ids=["nothing is sent", "no loss is descended on"],
)
def test_no_rows_where_no_loss_is_sent(settings: list[str]) -> None:
    seen: list[Progress] = []
    assert run(experiment(*settings), on_round=seen.append).training == []
    assert {progress.train_loss for progress in seen} == {None}


def test_training_on_the_server_has_a_row_over_all_clients() -> None:
    """One pass over the union in one batch: each task's cross-entropy over the examples that carry its label."""
    of = experiment("algorithm=Pooled(epochs=1)", "batch_size=0")
    federation = of.load()
    plan = of.make_plan(federation)
    terms: dict[str, list[torch.Tensor]] = {}
    for data in federation.clients.values():
        with torch.no_grad():
            outputs = functional_call(plan.module, dict(plan.initial), (torch.from_numpy(data.train.x),))
        for task, y in data.train.y.items():
            terms.setdefault(task, []).append(
                cross_entropy(outputs[task], torch.from_numpy(y).long(), reduction="none")
            )
    expected = float(np.mean([float(torch.cat(some).mean()) for some in terms.values()]))
    rows = run(of).training
    assert [row["client"] for row in rows] == [None] * 3
    assert rows[0]["value"] == pytest.approx(expected, rel=1e-5)
    assert rows[0]["examples"] == sum(len(data.train.x) for data in federation.clients.values())


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("codec", [Dense(), Int8(block=8), ErrorFeedback(TopK(0.3))], ids=repr)
def test_a_loss_that_is_no_number_costs_no_update(loss: float, codec: Codec[Any]) -> None:
    toy = make_toy(up_codec=codec, train_loss=True)

    def tamper(replies: list[Reply]) -> list[Reply]:
        packet = replies[0].update
        return [replies[0]._replace(update=reseal(packet, loss=loss)), *replies[1:]]

    outcome = toy.play(1, tamper)
    losses = outcome.training["train_loss"]
    assert outcome.trained.tolist() == losses.clients.tolist() == [0, 1, 2, 3, 4] and not outcome.problems
    assert repr(float(losses.values[0])) == repr(loss)
    assert math.isnan(losses.mean())
    assert np.isfinite(losses.values[1:]).all()


def test_losses_of_updates_that_are_left_out_are_no_rows() -> None:
    ran = play(hostile(train_loss=True), replies={"2": update(lambda packet: reseal(packet, filled(packet, 3e38)))})
    out = {client for problems in ran.problems for client in problems}
    assert len(out) == 1
    rounds = {row["round"]: set() for row in ran.result.training}
    for row in ran.result.training:
        rounds[row["round"]].add(row["client"])
    assert not rounds[2] & out and rounds[1] & out


def stopping(at: int) -> Callable[[Progress], bool]:
    return lambda progress: progress.round >= at


@pytest.mark.parametrize("settings", [[], ["runtime=Ray(workers=2)", "engine=vmap"]], ids=["loop", "vmap"])
def test_a_resumed_run_has_the_same_rows(tmp_path: Path, settings: list[str]) -> None:
    whole = run(experiment(*settings), tmp_path / "whole", in_process=True)
    run(experiment(*settings), tmp_path / "some", pause=stopping(2), in_process=True)
    some = run(experiment(*settings), tmp_path / "some", resume=True, in_process=True)
    assert some.training == whole.training and len(whole.training) == 15
    for name in ("whole", "some"):
        found = load_run(tmp_path / name)
        assert found.training == whole.training
        lines = (tmp_path / name / "training.jsonl").read_text().splitlines()
        assert [{k: v for k, v in json.loads(line).items() if k != "format"} for line in lines] == whole.training
        assert "".join(export(tmp_path / name, "training")) == "".join(f"{line}\n" for line in lines)
    assert list(found.train_losses()) == [1, 2, 3]
    assert found.train_losses()[3] == whole.training[-1]["value"]


def test_callbacks_get_the_rows_live_and_after_the_fact(tmp_path: Path) -> None:
    from fedmtl.analysis.log import log_runs
    from tests.callbacks.test_runner import Keep

    live, later = Keep(), Keep()
    result = run(experiment(), tmp_path / "run", callbacks=[live])
    list(log_runs([tmp_path / "run"], [later]))
    assert live.all("training") == later.all("training") == result.training
    assert [name for name, _ in live.calls] == [name for name, _ in later.calls]

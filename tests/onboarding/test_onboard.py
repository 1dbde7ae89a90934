"""New clients: what they download, what they train, what is measured, against numpy and against the run itself."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fedmtl import (
    FP16,
    MLP,
    SGD,
    Binary,
    Experiment,
    Federation,
    FedPer,
    FromModule,
    MultiClass,
    Result,
    VMap,
    Without,
    from_arrays,
    hold_out,
    load_result,
    onboard,
    run,
)
from fedmtl.algorithms import FedAvg, FedEM, Local
from fedmtl.algorithms.common.named_setting import methods
from fedmtl.onboarding.descent import step_order
from fedmtl.optimizers import Cosine

SIZES = {"a": 40, "b": 30, "c": 36, "d": 33}
TRUNK = 4 * 3 + 3
"""Numbers of a hidden layer of 3 on 4 features."""


def clinics(**more: Any) -> Federation:
    """Four clients that share two directions; each owns a class of three, and all but "b" a number."""
    draw = np.random.default_rng(0)
    shared = draw.standard_normal((4, 2))
    clients = {}
    for name, rows in SIZES.items():
        x = draw.standard_normal((rows, 4)) + 1.0
        z = x @ shared @ draw.standard_normal((2, 3))
        y = {"kind": np.array(["one", "two", "three"])[z.argmax(1)], "value": 5 + z[:, 0]}
        if name == "b":
            y.pop("value")
        clients[name] = (x, {**y, **{task: of(z) for task, of in more.items()}})
    return from_arrays(clients).load(0)


def experiment(data: Any, **changes: Any) -> Experiment:
    values = {"algorithm": FedPer(lr=0.1, epochs=1), "model": MLP((3,)), "rounds": 2, "engine": "Loop"}
    return Experiment(**{"name": "clinics", "data": data, "batch_size": 8, "runtime": "InProcess", **values, **changes})


class Held:
    """Data without the clients "c" and "d"."""

    def load(self, seed: int) -> Federation:
        return hold_out(clinics(), clients=("c", "d")).rest


NEW = hold_out(clinics(), clients=("c", "d")).held_out
FEW: dict[str, Any] = {"head_steps": 4, "scratch_steps": 3}


@pytest.fixture(scope="module")
def result() -> Result:
    return run(experiment(Held()))


def test_a_new_client_downloads_the_trunk_and_trains_its_heads(result: Result) -> None:
    """A dense packet is a header of 32 bytes and 4 a number. The trunk is the server's, bit for bit, the heads have
    moved, and values are those of the predictions, by numpy."""
    found = onboard(result, NEW, labels=(2, None), fine_tune=2, **FEW)
    each = [one for one in found.scores if one.client is not None]
    assert {one.bytes_down for one in each if one.way != "from scratch"} == {32 + 4 * TRUNK}
    assert {one.bytes_down for one in each if one.way == "from scratch"} == {0}
    assert {(one.labels, one.way) for one in each} == {
        (k, way) for k in (2, "all") for way in ("head", "fine-tuned", "from scratch")
    }
    for client in (2, 3):
        model: Any = found.model(client, 2, "head")
        held = {name: value for name, value in model.named_parameters() if name.startswith("trunk.")}
        assert held.keys() == result.state.keys() and all(torch.equal(held[name], result.state[name]) for name in held)
        first = found.plan.initial["head.kind.weight"]
        assert not torch.equal(model.head["kind"].weight, first)
        tuned: Any = found.model(client, 2, "fine-tuned")
        assert not torch.equal(tuned.trunk[1].weight, result.state["trunk.1.weight"])
        for way in ("head", "fine-tuned"):
            test = NEW.clients[client].test
            predicted = found.predict(NEW.client_names[client], test.x, "all", way)["kind"].values
            names = np.array(("one", "three", "two"))
            (row,) = [
                one for one in each if (one.client, one.labels, one.way, one.task) == (client, "all", way, "kind")
            ]
            assert row.value == pytest.approx((predicted == names[test.y["kind"].astype(int)]).mean())
            assert row.client_name == "cd"[client - 2] and row.labelled == len(NEW.clients[client].train.x)
    for task in ("kind", "value"):  # over all clients: by the number of their test examples
        sizes = [len(NEW.clients[client].test.x) for client in (2, 3)]
        both, alone = (
            [one for one in found.scores if one.task == task and (one.client is None) == pooled]
            for pooled in (True, False)
        )
        mean = np.average(
            [one.value ** (2 if task == "value" else 1) for one in alone if one.way == "head"][:2], weights=sizes
        )
        assert both[0].value == pytest.approx(mean ** (0.5 if task == "value" else 1))
    (line,) = [line for line in found.table(clients=False).splitlines() if "kind" in line and "| 2 |" in line]
    assert line.startswith("| mean of 2 | kind (accuracy) | 2 |") and line.endswith(f" | {32 + 4 * TRUNK} B |")
    assert "mean of 2" in found.table() and "| d " in found.table() and "| d " not in found.table(clients=False)


def test_full_batches_of_sgd_are_gradient_descent_on_the_head(result: Result) -> None:
    """Three steps of W <- W − η (p − 1_y) h / n in numpy, from the plan's first head, on the trunk's features h."""
    found = onboard(result, NEW, labels=None, optimizer=SGD(), head_lr=0.5, batch_size=100, **{**FEW, "head_steps": 3})
    train = NEW.clients[2].train
    trunk = {name: value.numpy().astype(np.float64) for name, value in result.state.items()}
    h = np.maximum(train.x @ trunk["trunk.1.weight"].T + trunk["trunk.1.bias"], 0)
    w, b = (found.plan.initial[f"head.kind.{part}"].numpy().astype(np.float64) for part in ("weight", "bias"))
    y = np.eye(3)[train.y["kind"].astype(int)]
    for _ in range(3):
        z = h @ w.T + b
        p = np.exp(z - z.max(1, keepdims=True))
        slope = (p / p.sum(1, keepdims=True) - y) / len(h) / 2  # the client's loss is the mean over its two tasks
        w, b = w - 0.5 * slope.T @ h, b - 0.5 * slope.sum(0)
    head: Any = found.model("c", "all", "head")
    np.testing.assert_allclose(head.head["kind"].weight.detach().numpy(), w, atol=1e-5)
    np.testing.assert_allclose(head.head["kind"].bias.detach().numpy(), b, atol=1e-5)


def test_stacked_clients_are_those_of_the_loop(result: Result) -> None:
    """Ragged ones, with more batches than one, to rounding; orders and labels do not depend on the engine."""
    by_loop = onboard(result, NEW, labels=3, fine_tune=2, batch_size=4, **FEW)
    stacked = replace(result.models.run.experiment, engine=VMap(chunk=2))  # pyright: ignore[reportAttributeAccessIssue]
    by_vmap = onboard(run(stacked), NEW, labels=3, fine_tune=2, batch_size=4, **FEW)
    for client in (2, 3):
        one, other = by_loop.model(client).state_dict(), by_vmap.model(client).state_dict()
        for name, value in one.items():
            torch.testing.assert_close(value, other[name], atol=1e-4, rtol=1e-4)


def test_labels_are_drawn_by_class_and_nested(result: Result) -> None:
    """k of each class that the client has, k numbers; twice the same, and of another seed others."""
    found = onboard(result, NEW, labels=[2, 1], **FEW)
    used = {(one.task, one.labels): one.labelled for one in found.scores if one.client == 3}
    classes = len(np.unique(NEW.clients[3].train.y["kind"]))
    assert used == {("kind", 1): classes, ("kind", 2): 2 * classes, ("value", 1): 1, ("value", 2): 2}
    again = onboard(result, NEW, labels=[1, 2], **FEW)
    assert again.scores == found.scores
    assert onboard(result, NEW, labels=2, seed=7, **FEW).scores != onboard(result, NEW, labels=2, **FEW).scores


def test_each_epoch_is_a_permutation() -> None:
    """Five examples in batches of 2: three batches an epoch, the last padded; a small client takes all it has."""
    order = step_order(np.array([5, 1]), np.array([4, 9]), 6, 2, 0, "x")
    assert order.shape == (2, 6, 2)
    for epoch in (order[0, :3], order[0, 3:]):
        assert sorted(epoch.ravel()) == [-1, 0, 1, 2, 3, 4] and epoch[2, 1] == -1
    assert order[1].tolist() == [[0, -1]] * 6


def test_a_run_folder_onboards_what_its_data_holds_out(tmp_path: Path) -> None:
    """Also over a codec that loses something: FP16 has 2 bytes a number, and one byte for each of 1 block."""
    data = Without("Synthetic(clients=5, examples=12, test_examples=6, features=4, rank=2)", clients=(1, 3))
    live = run(experiment(Experiment(data=data).data, down_codec=FP16()), tmp_path / "run")
    found = onboard(tmp_path / "run", labels=2, **FEW)
    assert {one.client for one in found.scores} == {None, 1, 3}
    assert {one.bytes_down for one in found.scores if one.client == 1} == {0, 32 + 2 * TRUNK + 1}
    for other in (onboard(live, labels=2, **FEW), onboard(load_result(tmp_path / "run"), labels=2, **FEW)):
        assert other.scores == found.scores


def test_one_model_for_all_is_measured_as_it_is_sent() -> None:
    """FedAvg's model before any label is the one that every client of the run predicts with."""
    result = run(experiment(Held(), algorithm=FedAvg(lr=0.1, epochs=1)))
    found = onboard(result, NEW, labels=1, **FEW)
    sent = {one.task: one for one in found.scores if one.way == "as sent" and one.client == 2}
    test = NEW.clients[2].test
    names = np.array(("one", "three", "two"))[test.y["kind"].astype(int)]
    assert sent["kind"].value == pytest.approx((result.predict("a", test.x)["kind"].values == names).mean())
    assert sent["kind"].labelled == 0 and sent["kind"].bytes_down == 32 + 4 * (TRUNK + 4 * 3 + 4)


def test_running_statistics_of_a_frozen_trunk_stay() -> None:
    """A head learns on what the trunk is measured with; fine-tuning moves its statistics."""
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Dropout(0.5), nn.Linear(3, 2))
    result = run(experiment(Held(), model=FromModule(net, heads="4")))
    found = onboard(result, NEW, labels=2, fine_tune=2, **FEW)
    sent = [value for name, value in result.state.items() if name.endswith("running_mean")]
    for way, same in (("head", True), ("fine-tuned", False)):
        (mean,) = [value for name, value in found.model(2, 2, way).named_buffers() if name.endswith("running_mean")]
        assert torch.equal(mean, sent[0]) == same


def test_a_new_task_of_known_clients(result: Result) -> None:
    """A new head: on the trunk that is sent, or with ``known`` on the client's own, which Local has without a byte."""
    wide = clinics(wide=lambda z: z[:, 1] > 0)
    new = hold_out(wide, tasks="wide").held_out
    found = onboard(result, hold_out(new, clients=("a", "b")).held_out, labels=3, known=True, **FEW)
    assert {one.task for one in found.scores} == {"wide"}
    assert {one.bytes_down for one in found.scores if one.client == 0} == {0, 32 + 4 * TRUNK}
    alone = run(experiment(hold_out_data(wide), algorithm=Local(lr=0.1, epochs=1)))
    found = onboard(alone, new, labels=3, known=True, **FEW)
    assert {one.bytes_down for one in found.scores} == {0}
    for client in "abcd":
        own: Any = alone.model(client)
        model: Any = found.model(client, 3, "head")
        assert torch.equal(model.trunk[1].weight, own.trunk[1].weight)
    with pytest.raises(ValueError, match=r"The run has no client 'c'; its 2 are a, b\."):
        onboard(result, new, labels=3, known=True, **FEW)


def hold_out_data(federation: Federation) -> Any:
    """A data set of a federation without its task "wide"."""

    class Rest:
        def load(self, seed: int) -> Federation:
            return hold_out(federation, tasks="wide").rest

    return Rest()


def arrays(rows: int = 12, features: int = 4, **labels: Any) -> dict[str, Any]:
    x = np.random.default_rng(1).standard_normal((rows, features))
    return {"new": (x, labels or {"kind": np.array(["one", "two", "three"] * rows)[:rows]})}


@pytest.mark.parametrize(
    ("data", "labels", "message"),
    [
        (arrays(features=5), 1, "has shape (5,), and of the run's (4,); give the same features"),
        (arrays(kind=np.array(["one", "four"] * 6)), 1, "label 'four' is none of its classes one, three, two"),
        (arrays(kind=np.array([0, 1, 3] * 4)), 1, "num_classes must be at least 4"),
        (arrays(value=np.full(12, np.nan)), 1, "no labelled example; label some"),
        (arrays(kind=np.array([0.0, 1.0, 2.0] + [np.nan] * 9)), 2, "labelled examples of class"),
        (arrays(value=np.linspace(0, 1, 12)), 30, "labelled examples, but labels=30 of each client are asked for"),
        (arrays(), 0, 'labels is a whole number from 1, or "all", or several of these, got 0'),
        (arrays(), (), "labels names no number of labels"),
        (None, 1, "holds no client and no task out, so give data=…"),
        (3, 1, "New clients are a Federation, a data set, a table, or {client: (x, {task: labels})}, got a int"),
    ],
)
def test_new_clients_that_do_not_fit(result: Result, data: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError) as found:
        onboard(result, data, labels=labels, **FEW)
    assert message in str(found.value) and "\n" not in str(found.value)


def test_federations_that_do_not_fit(result: Result) -> None:
    """Classes are matched by name, whatever their order; another kind of a task is refused."""
    mine = from_arrays(arrays(kind=np.array(["two", "three"] * 6))).load(0)  # coded 1 and 0, and in the run 2 and 1
    given = onboard(result, mine, labels=2, **FEW)
    assert given.scores == onboard(result, arrays(kind=np.array(["two", "three"] * 6)), labels=2, **FEW).scores
    for task, y, message in (
        (Binary(), np.zeros(12), "Task 'kind' is MultiClass(num_classes=3) in the run, and Binary() of the new"),
        (MultiClass(2, ("one", "four")), np.array(["one", "four"] * 6), "class 'four' of the new clients is none of"),
    ):
        data = from_arrays(arrays(kind=y), tasks={"kind": task}).load(0)
        with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
            onboard(result, data, labels=1, **FEW)
    with pytest.raises(ValueError, match="Task 'kind' is the run's"):
        onboard(result, arrays(), tasks={"kind": Binary()}, labels=1, **FEW)
    with pytest.raises(ValueError, match="has a schedule over rounds"):
        onboard(result, NEW, optimizer=Cosine(rounds=3))


@dataclass(frozen=True)
class Unweighed:
    """FedEM without the trait ``several_models``."""

    traits = replace(FedEM.traits, several_models=False)
    setting = FedEM(epochs=1)
    init_server, init_client, broadcast, local_update, aggregate, personal_params = methods()
    (mixture,) = methods("mixture")


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [
        (Local(epochs=1), "a new client has nothing to download"),
        (Unweighed(), "sends several models, and does not say how a new client weighs them; declare the trait several"),
    ],
    ids=["Local", "Unweighed"],
)
def test_methods_without_a_trunk_to_send(algorithm: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        onboard(run(experiment(Held(), algorithm=algorithm, rounds=1)), NEW, labels=1, **FEW)

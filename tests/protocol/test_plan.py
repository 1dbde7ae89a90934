"""What both sides derive alike."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmtl.algorithms import (
    Ensemble,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedEM,
    FedPer,
    FedU,
    FedYogi,
    Local,
    Pooled,
    Scaffold,
    TaskWeighted,
)
from fedmtl.codecs import FP16, Dense, Int8
from fedmtl.core.context import NO_CONTEXT
from fedmtl.data import Federation
from fedmtl.data.batches import make_batches
from fedmtl.models import MLP
from fedmtl.models.split import TaskLoss
from fedmtl.protocol.make_plan import make_plan
from fedmtl.protocol.plan_check import check_plan
from fedmtl.protocol.spec import spec_of
from fedmtl.tasks import Binary
from fedmtl.tasks.regression import Regression
from fedmtl.tasks.traits import TaskTraits
from fedmtl.weightings import Equal, Uncertainty
from tests.server.toy import DATA, make_toy, toy_plan

HEADS = {"multiclass_0": 3, "binary_1": 1, "regression_2": 1, "multilabel_3": 3}
"""Task -> outputs. A head from 4 features is a weight [outputs, 4] and a bias [outputs]."""


def test_equal_experiments_make_equal_plans() -> None:
    one, other = toy_plan(), toy_plan()
    assert one.digest == other.digest and len(one.digest) == 8
    assert all(torch.equal(value, other.initial[name]) for name, value in one.initial.items())


CHANGES = [
    {"algorithm": FedPer(epochs=2)},
    {"algorithm": FedPer(lr=0.2, epochs=1)},
    {"algorithm": FedAvg(epochs=1)},
    {"model": MLP((5,))},
    {"model": MLP((4, 4))},
    {"up_codec": FP16()},
    {"down_codec": FP16()},
    {"up_codec": Int8()},
    {"up_codec": Int8(block=8)},
    {"batch_size": 5},
    {"batch_size": None},
    {"seed": 1},
]


def test_every_change_of_the_experiment_changes_the_digest() -> None:
    digests = [toy_plan(**change).digest for change in [{}, *CHANGES]]
    assert len(set(digests)) == len(digests)


def test_the_digest_knows_the_tasks() -> None:
    """Two sides that standardise labels by another mean would learn past each other."""
    federation = DATA.load(0)
    tasks = {**federation.tasks, "regression_2": Regression(mean=1.0)}
    assert toy_plan(Federation(tasks, (6,), federation.clients)).digest != toy_plan().digest


def test_the_digest_does_not_know_who_is_hosted() -> None:
    """A device holds one client, the server perhaps none of the data."""
    federation = DATA.load(0)
    alone = Federation(federation.tasks, (6,), {3: federation.clients[3]})
    assert toy_plan(alone).digest == toy_plan().digest


def test_parameters_are_named_by_trunk_and_task() -> None:
    names = {f"head.{task}.{part}" for task in HEADS for part in ("weight", "bias")}
    initial = toy_plan().initial
    assert set(initial) == {"trunk.1.weight", "trunk.1.bias"} | names
    assert {task: initial[f"head.{task}.weight"].shape for task in HEADS} == {t: (n, 4) for t, n in HEADS.items()}


def test_specs_hold_what_travels_and_nothing_else() -> None:
    """6·4 + 4 = 28 numbers of a trunk; 4·outputs + outputs of each head that the client owns."""
    owned = ("multilabel_3", "regression_2")
    whole = 28 + 5 * 3 + 5 * 1
    for algorithm, down, up in (
        (FedPer(), 28, 28),
        (FedAvg(), whole, whole),
        (Pooled(), whole, whole),
        (Local(), 0, 0),
    ):
        plan = toy_plan(algorithm=algorithm)
        assert (plan.down_spec(2, owned).size, plan.up_spec(2, owned).size) == (down, up)
        names = {entry.name for entry in plan.up_spec(2, owned)}
        assert not any(name.startswith(("head.multiclass_0", "head.binary_1")) for name in names)


def test_specs_take_one_step_whatever_the_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a large model a step takes a second, and each kind of client has a spec, in each process."""
    steps, loss = [], TaskLoss.__call__
    monkeypatch.setattr(TaskLoss, "__call__", lambda *given: steps.append(1) or loss(*given))
    toy_plan(algorithm=FedPer(epochs=50)).up_spec(2, ("binary_1",))
    assert len(steps) == 1


def test_functions_are_made_once_for_equal_tasks() -> None:
    """Engines tell by identity which clients they may run together."""
    plan = toy_plan()
    for make in (plan.loss, plan.local_update, plan.measure):
        assert make(("binary_1",)) is make(("binary_1",))
        assert make(("binary_1",)) is not make(("binary_1", "regression_2"))


def test_restricting_drops_other_heads_and_keeps_what_is_no_parameter() -> None:
    plan = toy_plan()
    extra = {**plan.initial, "head.none.of.ours": torch.zeros(1), "step": torch.zeros(())}
    kept = set(plan.restrict(extra, ("binary_1",)))
    assert kept == {
        "trunk.1.weight",
        "trunk.1.bias",
        "head.binary_1.weight",
        "head.binary_1.bias",
        "head.none.of.ours",
        "step",
    }


def test_a_task_whose_name_begins_like_another_is_another() -> None:
    federation = DATA.load(0)
    split = federation.clients[1].train
    tasks = {"age": Regression(), "age_2": Regression()}
    labels = {"age": split.y["regression_2"], "age_2": split.y["regression_2"]}
    data = split._replace(y=labels)
    plan = toy_plan(Federation(tasks, (6,), {0: federation.clients[1]._replace(train=data, test=data)}))
    assert {name for name in plan.restrict(plan.initial, ("age",)) if name.startswith("head.")} == {
        "head.age.weight",
        "head.age.bias",
    }


@pytest.mark.parametrize("owned", [(), ("sailing",), ("binary_1", "sailing")])
def test_a_client_owns_tasks_of_the_plan(owned: Any) -> None:
    with pytest.raises(ValueError, match="A client owns one or more of the tasks"):
        toy_plan().up_spec(0, owned)


# ---- mixtures of models ---------------------------------------------------------------------------------------------

OWNED = ("multilabel_3", "regression_2")


def test_a_broadcast_of_all_models_has_the_shape_of_the_federation() -> None:
    """Five clients: five times the trunk and the own heads go down, 28 + 15 + 5 numbers, and of each of four tasks who
    has sent it; one model goes up. So has the first broadcast."""
    plan = toy_plan(algorithm=Ensemble())
    assert plan.down_spec(2, OWNED).size == 5 * (28 + 5 * 3 + 5) + 4 * 5
    assert plan.up_spec(2, OWNED).size == 28 + 5 * 3 + 5
    names = {entry.name for entry in plan.down_spec(2, OWNED) if entry.record == "models"}
    assert names == {entry.name for entry in plan.up_spec(2, OWNED)}
    server = plan.first_server({client: data.tasks for client, data in DATA.load(0).clients.items()})
    assert spec_of(plan.broadcast(server, 2, OWNED)) == plan.down_spec(2, OWNED)


def test_bytes_of_an_ensemble() -> None:
    """What is really sent: packets of 4 bytes a number and a header of 32, each round, to each client and from it."""
    toy = make_toy(algorithm=Ensemble(epochs=1), rounds=2)
    for round in (1, 2, 3):
        toy.play(round)
    down, up = 0, 0
    for client, data in DATA.load(0).clients.items():
        down += 2 * (4 * toy.plan.down_spec(client, data.tasks).size + 32)
        up += 2 * (4 * toy.plan.up_spec(client, data.tasks).size + 32)
    ledger = toy.server.ledger
    assert (ledger.total("down", ("train",)), ledger.total("up", ("train",))) == (down, up)


@pytest.mark.parametrize(
    "algorithm",
    [FedEM(components=3), FedAvgM(FedEM(components=3)), TaskWeighted(FedEM(components=3), Equal())],
    ids=["FedEM", "FedAvgM", "TaskWeighted"],
)
def test_a_client_is_measured_by_its_mixture(algorithm: Any) -> None:
    """Trunks and weights of 0, so that the biases of a regression's head are all that its models say: 1, 2 and 6, with
    π = ⅓ the number 3. On labels y = μ + 3σ the squared error is 0; that of the first model would be 4."""
    plan = toy_plan(algorithm=algorithm)
    owned = ("regression_2",)
    down = plan.broadcast(plan.first_server({2: owned}), 2, owned)
    ((record, models),) = down.items()
    models = {name: torch.zeros_like(w) for name, w in models.items()}
    models["head.regression_2.bias"] = torch.tensor([[1.0], [2.0], [6.0]])
    task: Any = plan.tasks["regression_2"]
    y = np.full(3, task.mean + 3 * task.std, np.float32)
    batches = make_batches(np.ones((3, 6), np.float32), {"regression_2": y}, 2, None)
    sums = plan.measure(owned)({record: models}, plan.init_client(owned, 3), batches, NO_CONTEXT)["regression_2"]
    assert sums.tolist() == pytest.approx([3, 0], abs=1e-9)


def test_a_wrapper_has_a_mixture_where_what_it_wraps_has() -> None:
    for make in (FedAvgM, FedAdam, FedYogi, TaskWeighted):
        assert toy_plan(algorithm=make(FedEM())).mixture is not None
        assert toy_plan(algorithm=make(FedAvg())).mixture is None


def test_a_task_that_cannot_be_mixed_is_found_before_the_run() -> None:
    """By the algorithms that predict with a mixture, and by no other."""
    federation = DATA.load(0)
    tasks: dict[str, Any] = {**federation.tasks, "binary_1": Unmixed()}
    roster = {client: data.tasks for client, data in federation.clients.items()}
    schema = federation.schema._replace(tasks=tasks)
    for algorithm in (Ensemble(), FedEM(), FedAvg()):
        plan = make_plan(
            schema,
            algorithm=algorithm,
            model=MLP((4,)),
            up_codec=Dense(),
            down_codec=Dense(),
            batch_size=4,
            seed=0,
        )
        if plan.mixture is None:
            check_plan(plan, roster)
            continue
        with pytest.raises(ValueError, match=r"task 'binary_1': .*mixture.*Unmixed\(\) has no method mixed"):
            check_plan(plan, roster)


@dataclass(frozen=True)
class Unmixed:
    """Binary as it was before there were mixtures."""

    traits = TaskTraits()

    outputs = 1
    label_shape = ()

    def labels(self, y: Any) -> Any:
        return Binary().labels(y)

    def loss(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        return Binary().loss(output, y, mask)

    def sums(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        return Binary().sums(output, y, mask)

    def metric(self, sums: Any) -> float:
        return Binary().metric(sums)

    def score(self, sums: Any) -> float:
        return Binary().score(sums)


def test_what_is_learnt_beside_a_foreign_head_is_restricted_too() -> None:
    """Uncertainty trains a number for each head; a client has no such task to evaluate it with."""
    plan = toy_plan(algorithm=TaskWeighted(FedAvg(epochs=1), Uncertainty()))
    down = plan.broadcast(plan.first_server({0: ("binary_1",)}), 0, ("binary_1",))
    assert {name for name in down["model"] if name.endswith("log_variance")} == {"head.binary_1.log_variance"}
    check_plan(plan, {0: ("binary_1",), 1: ("multilabel_3", "regression_2")})  # runs a local update of each


def test_a_server_that_keeps_something_of_each_client_is_not_for_populations() -> None:
    """Similarities of a million clients would be 8 TB: refused before anything is made. Counting them is no trouble."""
    owners = {client: (tuple(HEADS)[client % 4],) for client in range(60_000)}
    with pytest.raises(ValueError, match=r"FedU\(.*at most 50,000 clients, got 60,000; .*FedPer"):
        check_plan(toy_plan(algorithm=FedU(epochs=1)), owners)
    plan = toy_plan(algorithm=Scaffold(epochs=1))
    check_plan(plan, owners)
    counts = dict(zip(plan.initial, plan.first_server(owners).owners.tolist(), strict=True))
    for name, count in counts.items():
        expected = (
            60_000 if name.startswith("trunk.") else sum(name.split(".")[1] in tasks for tasks in owners.values())
        )
        assert count == expected

"""What both sides derive alike."""

from typing import Any

import pytest
import torch

from fedmtl.algorithms import FedAvg, FedPer, Local, Pooled
from fedmtl.codecs import FP16, Int8
from fedmtl.data import Federation
from fedmtl.models import MLP
from fedmtl.tasks.regression import Regression
from tests.federation.toy import DATA, toy_plan

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

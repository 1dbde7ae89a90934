"""The share map: parameters that are shared, private or frozen, whatever the algorithm does with the others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedmtl import ShareMap
from fedmtl.algorithms import MRMTL, Ditto, FedAdam, FedAvg, FedBN, FedEM, FedPer, LGFedAvg, Local, Scaffold
from fedmtl.core.buffers import is_buffer
from fedmtl.core.context import context_of, training_step
from fedmtl.core.types import Params
from fedmtl.data.batches import make_batches
from fedmtl.models import MLP
from fedmtl.models.split import build, initial_params, loss_fn
from tests.models.stateful import StatefulMLP
from tests.models.stateful_runs import DRAW, TASKS, experiment, finished, furthest, normed, plan_of

MAPPED: dict[str, tuple[Any, Any, Any]] = {
    "FedAvg with private norms is FedBN": (
        FedAvg(epochs=1),
        {"trunk.4.*": "private", "head.*.0.*": "private"},
        FedBN(epochs=1),
    ),
    "FedPer with shared heads is FedAvg": (FedPer(epochs=1), {"head.*": "shared"}, FedAvg(epochs=1)),
    "FedAvg with private heads is FedPer": (FedAvg(epochs=1), {"head.*": "private"}, FedPer(epochs=1)),
    "Local with a shared trunk is FedPer": (Local(epochs=1), {"trunk.*": "shared"}, FedPer(epochs=1)),
    "FedAvg with a private trunk is LGFedAvg": (FedAvg(epochs=1), {"trunk.*": "private"}, LGFedAvg(epochs=1)),
    "the default is no map": (FedPer(epochs=1), {"trunk.*": "shared", "head.*": "private"}, FedPer(epochs=1)),
}


PLAIN: dict[Any, Any] = {}


def without_map(algorithm: Any, folder: str) -> Any:
    """The run of an algorithm on the same model, once for all maps that make it."""
    if algorithm not in PLAIN:
        PLAIN[algorithm] = finished(Path(folder), experiment(algorithm, rounds=2))
    return PLAIN[algorithm]


@pytest.mark.parametrize("case", MAPPED)
def test_a_map_makes_one_algorithm_another(case: str, tmp_path: Path) -> None:
    """To the bit: the same descent, and the same means."""
    algorithm, share, other = MAPPED[case]
    mapped, models = finished(tmp_path / "map", experiment(algorithm, ShareMap(StatefulMLP(), share), rounds=2))
    plain, expected = without_map(other, str(tmp_path / "plain"))
    assert furthest(models, expected) == 0
    sizes = [sorted(row["packet_bytes"] for row in result.ledger) for result in (mapped, plain)]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize(
    "algorithm", [Ditto(), Scaffold(), MRMTL(), FedAdam(), FedEM()], ids=lambda a: type(a).__name__
)
def test_private_parameters_stay_private(algorithm: Any) -> None:
    """Whatever the algorithm does with the others: no record of either direction has them."""
    plan = plan_of(algorithm, ShareMap(StatefulMLP(), {"trunk.4.*": "private"}))
    for spec in (plan.down_spec(1, ("kind",)), plan.up_spec(1, ("kind",))):
        assert spec and not any("trunk.4." in entry.name for entry in spec)


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "no parameter": (
        lambda: {"encoder.*": "shared"},
        r"'encoder.\*' matches no parameter; those of the model are trunk.1",
    ),
    "a name that is nearly one": (
        lambda: {"trunk.1.wieght": "private"},
        r"'trunk.1.wieght' matches no parameter.*Did you mean trunk.1.weight\?",
    ),
    "a glob of nearly a part": (lambda: {"trunks.*": "private"}, r"matches no parameter.*Did you mean trunk.\*"),
    "a buffer that the model lacks": (lambda: {"*.running_mean": "private"}, "running_mean' matches no parameter"),
    "two that disagree": (
        lambda: {"trunk.*": "shared", "*.weight": "private"},
        "is shared by .* and private by .*neither glob is narrower",
    ),
    "another word": (
        lambda: {"trunk.*": "sharde"},
        "is shared, private, frozen or of a group, got 'sharde'.*Did you mean shared",
    ),
    "nothing": (dict, "takes globs and words"),
    "all private": (lambda: {"*": "private"}, "leaves nothing to share; take Local"),
    "all frozen": (lambda: {"*": "frozen"}, "no parameter to learn"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_map_that_cannot_be(case: str) -> None:
    share, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        chosen = experiment(FedAvg(), ShareMap(MLP((3,)), share()))
        chosen.make_plan(chosen.load().schema)


def test_a_glob_of_parameters_that_the_recipe_freezes() -> None:
    """Nothing would be shared; a glob that matches others, too, is of these."""
    with pytest.raises(ValueError, match=r"'trunk.1.\*' is shared, but all .* frozen by the model itself.*leave"):
        build(ShareMap(StatefulMLP(), {"trunk.1.*": "shared"}), (6,), TASKS, 0, False)
    module = build(ShareMap(StatefulMLP(), {"trunk.*": "shared"}), (6,), TASKS, 0, False)
    assert "trunk.3.weight" in module.roles and "trunk.1.weight" not in module.roles


def test_the_narrower_glob_decides() -> None:
    share = {"trunk.*": "shared", "trunk.4.running_*": "private", "trunk.1.*": "frozen"}
    module = build(ShareMap(StatefulMLP(), share), (6,), TASKS, 0, False)
    expected = {name: "private" if is_buffer(name) else "shared" for name in ("trunk.4.running_mean", "trunk.4.weight")}
    assert expected.items() <= dict(module.roles).items() and "trunk.1.weight" not in module.roles


def test_frozen_statistics_normalise_in_training() -> None:
    """By the map: BatchNorm then uses its first statistics, mean 0 and variance 1, as in evaluation mode."""
    model, shape, _ = normed(False)
    module = build(ShareMap(model, {"trunk.1.running_*": "frozen"}), shape, TASKS, 0, False)
    params: Params = initial_params(module)
    assert not any(map(is_buffer, params))
    loss = loss_fn(module, TASKS, ("a",))
    batch = make_batches(DRAW.standard_normal((4, 6)).astype(np.float32), {"a": np.zeros(4, np.float32)}, None, None)[0]
    measured = loss(params, batch)
    with training_step(context_of()):
        assert torch.equal(loss(params, batch), measured)

"""The share map's groups: parameters that the clients of a group share, and no other client sees."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedmtl import ShareMap, run
from fedmtl.algorithms import Ditto, FedAvg, FedPer, GraphStructured, Local
from fedmtl.core.types import ClientId, Upload
from fedmtl.core.uploads import Stack, Uploads, mean_upload, of_clients
from fedmtl.data.arrays import from_arrays
from fedmtl.data.base import Federation
from fedmtl.models import MLP
from fedmtl.protocol.plan_check import check_plan
from tests.conftest import UNLIKE, tiny
from tests.models.stateful_runs import experiment, finished, furthest

GROUPS = {"0": "a", "1": "a", "*": "b"}
"""Clients 0 and 1, of equal tasks, and 4 and 9, of unlike ones."""
GROUPED = ShareMap(MLP((3,)), {"trunk.*": "group"}, GROUPS)


@dataclass(frozen=True)
class Some:
    """The tiny federation, or the part of some of its clients; ``shift`` is added to the labels of one of them."""

    clients: tuple[ClientId, ...] = (0, 1, 4, 9)
    shift: int = 0

    def load(self, seed: int) -> Federation:
        whole = tiny(UNLIKE, seed)
        clients = {client: data for client, data in whole.clients.items() if client in self.clients}
        if self.shift:
            train = clients[0].train
            clients[0] = clients[0]._replace(train=train._replace(x=train.x + self.shift))
        return replace(whole, clients=clients)


def models(folder: Path, algorithm: Any, model: Any, data: Any = Some(), **changes: Any) -> Any:  # noqa: B008  frozen
    return finished(folder, experiment(algorithm, model, data, **changes))


def test_two_groups_are_two_federations(tmp_path: Path) -> None:
    """Bit-identical to FedPer on the clients of each group alone, and to groups of GraphStructured; the same bytes."""
    result, found = models(tmp_path / "groups", Local(epochs=2), GROUPED)
    for number, members in enumerate(((0, 1), (4, 9))):
        _, alone = models(tmp_path / f"{number}", FedPer(epochs=2), MLP((3,)), Some(members))
        assert furthest({client: found[client] for client in members}, alone) == 0
    other, graph = models(tmp_path / "graph", GraphStructured(epochs=2, groups=("0 1", "4 9")), MLP((3,)))
    assert furthest(found, graph) == 0
    assert [row["packet_bytes"] for row in result.ledger] == [row["packet_bytes"] for row in other.ledger]
    _, one = models(tmp_path / "one", FedPer(epochs=2), MLP((3,)))
    assert furthest(found, one) > 1e-3


def test_groups_never_mix(tmp_path: Path) -> None:
    """Other inputs of client 0 change its group's models, and no bit of the other group's, also beside shared heads."""
    model = ShareMap(MLP((3,)), {"trunk.*": "group"}, GROUPS)
    plain, moved = (
        models(tmp_path / f"{shift}", Ditto(epochs=1, personal_epochs=1), model, Some(shift=shift))[1]
        for shift in (0, 1)
    )
    for client, group in ((1, "a"), (4, "b"), (9, "b")):
        trunk = [{client: {n: w for n, w in run[client].items() if "trunk" in n}} for run in (plain, moved)]
        assert (furthest(*trunk) > 1e-4) == (group == "a")


def test_engines_and_a_cohort_of_one_group(tmp_path: Path) -> None:
    """Loop and vmap agree; a group without a client in the round keeps its parameters."""
    _, loop = models(tmp_path / "loop", FedAvg(epochs=2), GROUPED)
    _, vmap = models(tmp_path / "vmap", FedAvg(epochs=2), GROUPED, engine="VMap")
    assert furthest(loop, vmap) < 1e-5
    result = run(experiment(FedAvg(epochs=2), GROUPED, Some(), cohort=1, rounds=1))
    (client,) = {row["client"] for row in result.ledger if row["purpose"] == "train"}
    own, others = ("0", "1") if client in (0, 1) else ("1", "0")
    first = experiment(FedAvg(), GROUPED, Some()).make_plan(Some().load(0)).initial
    for place, same in ((own, False), (others, True)):
        assert torch.equal(result.state.grouped[place]["trunk.1.weight"], first["trunk.1.weight"]) == same


def test_uploads_of_some_clients_have_their_mean() -> None:
    """By hand: of clients 2 and 5, with 1 and 3 examples and 0 and 4, it is 3; stacked or one by one."""
    w = torch.tensor([[0.0], [100.0], [4.0]])
    stack = Stack(np.array([2, 3, 5]), {"r": {"w": w}}, np.array([1.0, 9.0, 3.0]))
    single = [(client, Upload({"r": {"w": w[k]}}, n)) for k, (client, n) in enumerate([(2, 1.0), (3, 9.0), (5, 3.0)])]
    for uploads in (Uploads([stack]), single):
        assert mean_upload(of_clients(uploads, [2, 5]), "r")["w"].item() == 3


def test_groups_by_names_and_their_globs(tmp_path: Path) -> None:
    """The first line that matches decides; a group has its members' names, whatever their numbers."""
    draw = np.random.default_rng(0)
    sites = ("ward 2", "Graz", "ward 1", "Linz")
    data = from_arrays({site: (draw.standard_normal((8, 4)), {"sick": draw.integers(0, 2, 8)}) for site in sites})
    model = ShareMap(MLP((3,)), {"trunk.*": "group"}, {"ward *": "wards", "*": "towns"})
    chosen = experiment(Local(), model, data)
    schema = chosen.load().schema
    groups = chosen.make_plan(schema).groups
    assert groups is not None and groups.names == ("towns", "wards")
    assert {schema.client_names[client]: group for client, group in groups.of.items()} == {
        "Graz": "towns", "Linz": "towns", "ward 1": "wards", "ward 2": "wards",
    }  # fmt: skip
    assert ShareMap(MLP((3,)), ("trunk.*=group",), ["ward *=wards", "*=towns"]) == model


@pytest.mark.parametrize(
    ("share", "groups", "message"),
    [
        ({"trunk.*": "group"}, {}, r"'trunk.\*' is of a group, got groups=\(\); .* go together"),
        ({"trunk.*": "private"}, {"*": "a"}, r"no parameter is of a group, got groups=\('\*=a',\)"),
        ({"trunk.*": "group"}, {"0": ""}, r"takes globs and words, .* got groups=\{'0': ''\}"),
        ({"trunk.*": "group"}, {"0": "a", "1": "a", "4": "b"}, r"client 9 is in no group, .* by \"\*\""),
        ({"trunk.*": "group"}, {"0": "a", "*": "b", "nine": "a"}, "'nine' is no client, or a line before it"),
        ({"*": "group"}, {"*": "a"}, r"FedAvg\(.*\) would send is of a group by the model's map.*take Local"),
    ],
)
def test_groups_that_cannot_be(share: dict[str, str], groups: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        chosen = experiment(FedAvg(), ShareMap(MLP((3,)), share, groups), Some())
        schema = chosen.load().schema
        check_plan(chosen.make_plan(schema), schema.owners)

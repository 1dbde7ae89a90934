"""New clients whose model differs by client: of a width, of a group, or with the stems of their tasks alone."""

from typing import Any

import numpy as np
import pytest
import torch

from fedmtl import MLP, FedPer, HeteroFL, Result, ShareMap, Stems, Without, from_arrays, onboard, run
from fedmtl.algorithms import FedAvg
from fedmtl.tasks import Regression
from tests.models import test_stems as stems
from tests.onboarding.test_onboard import FEW, Held, clinics, experiment, hold_out_data

HEADER = 32


def arrays(*names: str, task: str = "kind") -> dict[str, Any]:
    x = np.random.default_rng(1).standard_normal((12, 4))
    return {name: (x, {task: np.array(["one", "two", "three"] * 4)}) for name in names}


def sent(found: Any, client: int | str) -> set[int]:
    number = next(number for number, name in found.names.items() if name == client)
    return {one.bytes_down for one in found.scores if one.client == number and one.way == "head"}


def trunk(found: Any, client: int | str) -> dict[str, Any]:
    return {k: w for k, w in found.model(client, way="head").state_dict().items() if k.startswith("trunk.")}


@pytest.mark.parametrize("inner", [FedPer(epochs=1), FedAvg(epochs=1)], ids=["FedPer", "FedAvg"])
def test_a_new_client_of_a_width_has_the_leading_block(inner: Any) -> None:
    """Of 4 hidden units on 4 features, "a-2" of width ½ downloads ⌈4/2⌉ = 2 units: 2·4 + 2 numbers, and with a head of
    three classes on them 3·2 + 3 more, the first of each of the server's; "z" all of them. Both predict."""
    model = {"algorithm": HeteroFL(inner, {"a*": 0.5, "*": 1}), "model": MLP((4,))}
    result = run(experiment(Held(), **model))
    found = onboard(result, arrays("a-2", "z"), labels=2, fine_tune=1, **FEW)
    heads = isinstance(inner, FedAvg)
    assert sent(found, "a-2") == {HEADER + 4 * (2 * 4 + 2 + heads * (3 * 2 + 3))}
    assert sent(found, "z") == {HEADER + 4 * (4 * 4 + 4 + heads * (3 * 4 + 3))}
    for client, units in (("a-2", 2), ("z", 4)):
        own = trunk(found, client)
        assert torch.equal(own["trunk.1.weight"], result.state["trunk.1.weight"][:units])
        assert torch.equal(own["trunk.1.bias"], result.state["trunk.1.bias"][:units])
        assert len(found.predict(client, np.zeros((3, 4)))["kind"].values) == 3


def test_known_clients_of_unlike_widths_take_a_new_task_in() -> None:
    """Each with the trunk that it has, of its width."""
    wide = clinics(wide=lambda z: z[:, 1] > 0)
    algorithm = HeteroFL(FedPer(epochs=1), {"a": 0.5, "*": 1})
    result = run(experiment(hold_out_data(wide), algorithm=algorithm, model=MLP((4,))))
    clients = {
        name: (wide.clients[k].train.x, {"wide": wide.clients[k].train.y["wide"]}) for k, name in ((0, "a"), (1, "b"))
    }
    found = onboard(result, clients, labels=3, known=True, **FEW)
    for client, units in (("a", 2), ("b", 4)):
        own: Any = result.model(client)
        assert trunk(found, client)["trunk.1.weight"].shape == (units, 4)
        assert torch.equal(trunk(found, client)["trunk.1.weight"], own.trunk[1].weight)


def test_a_new_client_of_a_group_has_its_parameters() -> None:
    """By the globs of the share map; one that none of them matches has the mean over the run's clients."""
    model = ShareMap(MLP((3,)), {"trunk.*": "group"}, {"a*": "one", "b*": "two"})
    result = run(experiment(Held(), algorithm=FedAvg(epochs=1), model=model))
    found = onboard(result, arrays("a-2", "b-2", "z"), labels=2, **FEW)
    grouped = result.state.grouped
    for client, place in (("a-2", "0"), ("b-2", "1")):
        assert all(torch.equal(trunk(found, client)[name], w) for name, w in grouped[place].items())
    for name, w in trunk(found, "z").items():
        torch.testing.assert_close(w, (grouped["0"][name] + grouped["1"][name]) / 2)
    assert not torch.equal(grouped["0"]["trunk.1.weight"], grouped["1"]["trunk.1.weight"])


@pytest.fixture(scope="module")
def ran() -> Result:
    return run(stems.experiment())


def test_new_clients_have_the_stems_of_their_tasks(ran: Result) -> None:
    """Inputs with names or without: an image stem is 2 filters of 3·3, and 5 units on what is left of 4·4; a table's 5
    units on 3 numbers; the body 4 units on 5. The frozen parts are the server's."""
    found = onboard(
        ran,
        {"picture": {"image": stems.images(9, 5)}, "both": {"image": stems.images(9, 6), "age": stems.table(8, 7)}},
        labels=1,
        **FEW,
    )
    state = ran.state
    own = {part: sum(w.numel() for k, w in state.items() if k.startswith(f"trunk.{part}.")) for part in PARTS}
    assert own["stem.age"] == 5 * 3 + 5 and own["body"] == 4 * 5 + 4
    assert sent(found, "picture") == {HEADER + 4 * (own["stem.image"] + own["body"])}
    assert sent(found, "both") == {HEADER + 4 * sum(own.values())}
    for client in ("picture", "both"):
        assert all(torch.equal(w, state[name]) for name, w in trunk(found, client).items())
    x = stems.images(4, 8)[0]
    assert len(found.predict("picture", {"image": x})["digit"].values) == 4
    (x, y) = stems.table(8, 7)
    plain, named = (onboard(ran, {"t": one}, labels=2, **FEW) for one in ((x, {"age": y}), {"age": (x, y)}))
    assert sent(plain, "t") == {HEADER + 4 * (own["stem.age"] + own["body"])} and plain.scores == named.scores


PARTS = ("stem.age", "stem.image", "body")


def test_a_new_task_on_an_input_of_the_run_or_on_a_new_one() -> None:
    """On the run's table by its stem; on an input that the run does not have, or whose tasks are all held out, by a new
    stem, trained with the head and not downloaded."""
    open_stems = Stems({"age": MLP((5,)), "*": MLP((5,))}, body=MLP((4,)))
    result = run(stems.experiment(model=open_stems))
    body = sum(w.numel() for k, w in result.state.items() if k.startswith("trunk.body."))
    x, y = stems.table(8, 7)
    found = onboard(result, {"new": {"age": (x, {"height": y})}}, labels=2, tasks={"height": Regression()}, **FEW)
    assert sent(found, "new") == {HEADER + 4 * (5 * 3 + 5 + body)}
    wave = np.random.default_rng(2).standard_normal((8, 7))
    found = onboard(
        result, {"new": {"wave": (wave, {"beat": wave[:, 0]})}}, labels=2, tasks={"beat": Regression()}, **FEW
    )
    assert sent(found, "new") == {HEADER + 4 * body}
    first = found.plan.initial
    for name, w in trunk(found, "new").items():
        frozen = name.startswith("trunk.body.")
        assert torch.equal(w, result.state[name] if frozen else first[name]) == frozen
    assert len(found.predict("new", {"wave": wave[:2]})["beat"].values) == 2

    data = Without(from_arrays(stems.clients(), stems.TASKS), tasks=("age",))
    found = onboard(run(stems.experiment(data)), labels=2, **FEW)
    assert {one.bytes_down for one in found.scores if one.way == "head" and one.client == 2} == {
        HEADER + 4 * (4 * 5 + 4)
    }
    name = "trunk.stem.age.1.weight"
    assert not torch.equal(trunk(found, 2)[name], found.plan.initial[name])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"age": (np.zeros((6, 5)), np.arange(6.0))},
            "has shape (5,), and of the run's (18,)|of the input 'age' has shape",
        ),
        ({"picture": stems.images(6)}, "Task 'digit' has the input 'image' in the run, and 'picture' of the new"),
        ((np.zeros((6, 3)), {"fresh": np.arange(6.0)}), "have no names, and the run's are age, image"),
    ],
)
def test_named_inputs_that_do_not_fit(ran: Result, data: Any, message: str) -> None:
    with pytest.raises(ValueError) as found:
        onboard(ran, {"new": data}, labels=1, tasks={"fresh": Regression()} if "fresh" in repr(data) else None, **FEW)
    assert any(one in str(found.value) for one in message.split("|")), found.value

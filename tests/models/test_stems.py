"""Inputs of unlike shape: an image for one task, a table or a text for another, each by its stem."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fedmtl import CNN, MLP, BagOfEmbeddings, Experiment, FedPer, ShareMap, Stems, from_arrays, load_result, run
from fedmtl.algorithms import FedAvg, MaTFL
from fedmtl.core.input_forms import InputForm, to_rows
from fedmtl.core.trees import sha256
from fedmtl.export.write_model import write_model
from fedmtl.models.split import build, initial_params, outputs_fn
from fedmtl.registry.components import describe, make
from fedmtl.tasks import Binary, MultiClass, Regression, Task
from tests.export.tiny_data import Tiny

DRAW = np.random.default_rng(0)
TASKS: dict[str, Task] = {"age": Regression(), "digit": MultiClass(3), "odd": Binary()}
STEMS = Stems({"age": MLP((5,)), "image": CNN((2,), hidden=5)}, body=MLP((4,)))
FORMS = {"age": InputForm((3,), False, ("age",)), "image": InputForm((1, 4, 4), False, ("digit", "odd"))}


def images(n: int, seed: int = 0) -> tuple[Any, dict[str, Any]]:
    draw = np.random.default_rng(seed)
    digit = draw.integers(0, 3, n)
    x = draw.standard_normal((n, 1, 4, 4)) + digit[:, None, None, None]
    return x.astype(np.float32), {"digit": digit, "odd": digit % 2}


def table(n: int, seed: int = 0) -> tuple[Any, Any]:
    x = np.random.default_rng(seed).standard_normal((n, 3)).astype(np.float32)
    return x, x[:, 0] * 2 + 1.5


def clients() -> dict[int, Any]:
    """Client 0 has both inputs, 1 the images alone, 2 the table alone, each of another number of examples."""
    return {
        0: {"image": images(8, 1), "age": table(6, 2)},
        1: {"image": images(10, 3)},
        2: {"age": table(7, 4)},
    }


def experiment(data: Any = None, **changes: Any) -> Experiment:
    given = {
        "data": from_arrays(clients(), TASKS) if data is None else data,
        "model": STEMS,
        "algorithm": FedPer(lr=0.1, epochs=1),
        "rounds": 2,
        "batch_size": 4,
        "runtime": "InProcess",
        "engine": "Loop",
        **changes,
    }
    return Experiment(**given)


def test_an_output_is_that_of_stem_body_and_head() -> None:
    """By torch's own functions on the parameters: max-pooled convolution, or one layer, then the body and the head; a
    row of the other input has nothing of this one's in it."""
    module = build(STEMS, (17,), TASKS, 0, False, FORMS)
    p = initial_params(module)
    assert {name.split(".")[1] for name in p if name.startswith("trunk.")} == {"stem", "body"}
    x, t = torch.from_numpy(images(2)[0]), torch.from_numpy(table(3)[0])
    rows = torch.cat([torch.from_numpy(to_rows(FORMS, name, v.numpy())) for name, v in (("image", x), ("age", t))])
    found = outputs_fn(module, tuple(TASKS))(p, {"x": rows, "mask": torch.ones(5)})
    image = "trunk.stem.image"
    z = torch.conv2d(x, p[f"{image}.0.weight"], p[f"{image}.0.bias"], padding=1)
    z = torch.max_pool2d(z.relu(), 2).flatten(1) @ p[f"{image}.4.weight"].T + p[f"{image}.4.bias"]
    a = t @ p["trunk.stem.age.1.weight"].T + p["trunk.stem.age.1.bias"]
    body = (torch.cat([z, a]).relu() @ p["trunk.body.1.weight"].T + p["trunk.body.1.bias"]).relu()
    for task in TASKS:
        own = body @ p[f"head.{task}.weight"].T + p[f"head.{task}.bias"]
        torch.testing.assert_close(found[task], own)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("stems") / "run"
    return run(experiment(), folder), folder


@pytest.mark.parametrize(("engine", "runtime"), [("VMap", "InProcess"), ("VMap", "Ray(workers=2)")])
def test_engines_and_runtimes_agree(finished: Any, engine: str, runtime: str) -> None:
    loop, other = finished[0], run(experiment(engine=engine, runtime=runtime))
    assert loop.ledger == other.ledger
    assert loop.state.keys() == other.state.keys()
    assert all(torch.allclose(loop.state[name], other.state[name], atol=1e-5) for name in loop.state)


def test_a_client_sends_the_stems_of_its_own_tasks(finished: Any) -> None:
    """A float32 has 4 bytes, and packets differ by the stems alone. Of the image: 2·(1·9 + 1), and (2·2·2 + 1)·5 = 65;
    of the table: (3 + 1)·5 = 20."""
    sent = {
        r["client"]: r["packet_bytes"] for r in finished[0].ledger if r["purpose"] == "train" and r["direction"] == "up"
    }
    assert sent[0] - sent[1] == 4 * 20 and sent[0] - sent[2] == 4 * (20 + 45)


def test_stems_are_averaged_over_clients_with_the_task() -> None:
    """In the first round a client's update depends on nothing of others: a stem that one client has ends where it ends
    alone, in FedAvg and in FedPer, and stays where no client of the round has it."""
    for algorithm in (FedPer(lr=0.1, epochs=1), FedAvg(lr=0.1, epochs=1)):
        given = {key: clients()[key] for key in (1, 2)}
        both = run(
            experiment(
                from_arrays(given, TASKS), rounds=1, algorithm=algorithm, model=Stems({"*": MLP((5,))}, MLP((4,)))
            )
        )
        alone = [
            run(
                experiment(
                    from_arrays({key: given[key]}, {name: TASKS[name] for name in tasks}), rounds=1,
                    algorithm=algorithm, model=Stems({"*": MLP((5,))}, MLP((4,))),
                )
            )
            for key, tasks in ((1, ("digit", "odd")), (2, ("age",)))
        ]  # fmt: skip
        for name, value in both.state.items():
            if name.startswith("trunk.stem."):
                one = alone[0 if ".image." in name else 1].state[name]
                torch.testing.assert_close(value, one, rtol=0, atol=0)
        few = run(experiment(rounds=1, algorithm=algorithm, cohort=1, seed=3))
        trained = {row["client"] for row in few.ledger if row["purpose"] == "train"}
        first = initial_params(build(STEMS, (17,), TASKS, 3, False, FORMS))
        absent = {1: "trunk.stem.age", 2: "trunk.stem.image"}.get(trained.pop(), "-")
        for name, value in few.state.items():
            assert not name.startswith(absent) or torch.equal(value, first[name])


def test_new_examples_are_predicted_by_name(finished: Any) -> None:
    """A live result and its folder; an input gives all of its tasks that the client has, a task itself alone."""
    result, folder = finished
    x, t = images(3)[0], table(2)[0]
    found = result.predict(0, {"image": x, "age": t})
    assert {task: len(found[task].values) for task in found} == {"digit": 3, "odd": 3, "age": 2}
    read = load_result(folder).predict(0, {"digit": x})
    assert list(read) == ["digit"]
    np.testing.assert_array_equal(read["digit"].outputs, found["digit"].outputs)
    module = result.model(1)
    assert not any("stem.age" in name for name, _ in module.named_parameters())
    for given, message in (
        (x, "the run's inputs have names, and the client's are digit, image, odd"),
        ({"age": t}, "the client has no input or task 'age'"),
        ({"image": x[:, :, :2]}, r"x\['image'\]: examples are \[N, 1, 4, 4\]"),
    ):
        with pytest.raises(ValueError, match=message):
            result.predict(1, given)


def test_a_model_is_a_program_of_torch_export(finished: Any, tmp_path: Path) -> None:
    """It is compared with the module on random rows of its inputs in turn before it is written."""
    assert write_model(finished[1], "0", "torch", tmp_path / "model.pt2") > 0
    program, rows = (
        torch.export.load(tmp_path / "model.pt2").module(),
        torch.from_numpy(to_rows(FORMS, "age", table(4)[0])),
    )
    found = dict(zip(("age", "digit", "odd"), program(rows), strict=True))["age"]
    torch.testing.assert_close(found.detach(), finished[0].model(0)(rows)["age"].detach(), rtol=1e-5, atol=1e-5)


def test_texts_beside_images_in_a_preset() -> None:
    """Tokens are whole numbers for the stem of texts, and arrive exactly: from a table of a preset, as from objects."""
    tokens = DRAW.integers(0, 9, (12, 6))
    data = from_arrays(
        {c: {"digit": (images(8, c)[0], images(8, c)[1]["digit"]), "mood": (tokens, tokens[:, 0] % 2)} for c in (0, 1)}
    )
    made = Stems({"digit": "CNN(channels=[2], hidden=4)", "mood": "BagOfEmbeddings(vocabulary=9, width=4)"}, "MLP([3])")
    chosen = experiment(data, model=made)
    assert chosen.model.stem("mood") == BagOfEmbeddings(9, 4) and chosen.model.body == MLP((3,))
    assert make("model", describe("model", chosen.model)) == chosen.model
    loop, stacked = run(chosen), run(experiment(data, model=made, engine="VMap"))
    assert all(torch.allclose(loop.state[name], stacked.state[name], atol=1e-5) for name in loop.state)
    assert any(name.startswith("trunk.stem.mood.") for name in loop.state)
    values = loop.predict(0, {"mood": tokens})["mood"].values
    np.testing.assert_array_equal(values, stacked.predict(0, {"mood": tokens})["mood"].values)


def test_statistics_of_a_stem_are_over_its_own_rows() -> None:
    """After one step with momentum 1 the running mean is that of the table's own training rows, whatever is beside."""
    stem = nn.Sequential(nn.BatchNorm1d(3, momentum=1.0), nn.Linear(3, 4))
    data = from_arrays({0: {"image": images(8, 1), "age": table(6, 2)}}, TASKS)
    model = Stems({"age": stem, "image": MLP((4,))}, body=MLP((4,)))
    result = run(experiment(data, model=model, rounds=1, batch_size=0, engine="VMap"))
    own = [row for row in data.load(0).clients[0].train.x if row[0] == 0]
    np.testing.assert_allclose(
        result.state["trunk.stem.age.0.running_mean"], np.mean(own, 0)[1:4], rtol=1e-5, atol=1e-6
    )


def test_of_one_shape_each_task_has_its_own_stem_and_a_map_may_keep_it() -> None:
    stems: Any = Stems({"*": MLP((4,))})
    model = ShareMap(stems, {"trunk.stem.*": "private"})
    result = run(experiment(Tiny(), model=model))
    assert all(name.startswith("trunk.body.") for name in result.state.inner)
    stems = {name.split(".")[2] for name, _ in result.model(9).named_parameters() if name.startswith("trunk.stem.")}
    assert stems == {"flag", "marks"}  # the tasks of this client
    assert make("model", describe("model", model)) == model


def test_inputs_by_name_beside_labels_by_name_are_the_same() -> None:
    x, y = images(4)[0], images(4)[1]["digit"]
    t, age = table(5)
    forms: list[Any] = [({"d": x, "a": t}, {"d": y, "a": age}), {"d": (x, y), "a": (t, age)}]
    both = [from_arrays({0: given}).load(0).clients[0] for given in forms]
    for one, other in zip(*both, strict=True):
        np.testing.assert_array_equal(one.x, other.x)
    unlike: Any = ({"d": x, "a": t}, {"d": y, "b": age})
    with pytest.raises(ValueError, match="Inputs d, a and labels d, b have other names"):
        from_arrays({0: unlike})


def test_runs_of_one_seed_have_the_same_bits(finished: Any) -> None:
    assert sha256(dict(run(experiment()).state)) == sha256(dict(finished[0].state))


REFUSED: dict[str, tuple[Any, Any, str]] = {
    "no stem": (None, Stems({"age": MLP((5,))}), r"no stem for the input 'image' of task 'digit', 'odd'"),
    "no input": (None, Stems({"*": MLP((5,)), "agee": MLP((5,))}), "a stem for 'agee', which is no input.*'age'"),
    "shape": (None, Stems({"*": CNN()}), r"the stem of 'age' takes inputs of shape \(3,\)"),
    "width": (None, Stems({"age": MLP((5,)), "image": MLP((6,))}), "one width to the body, got 'age' 5, 'image' 6"),
    "no stems": (None, MLP(), "takes inputs of one shape, and those of the data have names, age .*image"),
    "two inputs": ({0: {"a": (table(4)[0], {"age": table(4)[1]}), "b": (images(4)[0], {"age": table(4)[1]})}}, STEMS,
                   "task 'age' is labelled on the input 'b', and on 'a'"),
    "no name": ({**clients(), 3: (images(4)[0], {"digit": [0, 1, 2, 0], "age": [1.0, 2, 3, 4]})}, STEMS,
                "other clients' inputs have names, and its tasks have the inputs age, image"),
    "another shape": ({**clients(), 3: {"age": (images(4)[0], [1.5, 2, 3, 4])}}, STEMS, "all clients' have one shape"),
    "large": ({0: {"age": table(4), "odd": (np.full((4, 2), 2**25), [0, 1, 0, 1])}}, STEMS, "are at most 16777216"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_one_error(case: str) -> None:
    given, model, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        run(experiment(from_arrays(clients() if given is None else given, TASKS), model=model))


def test_a_method_that_sets_trunks_against_each_other_is_refused() -> None:
    with pytest.raises(ValueError, match="sets clients' trunks against each other"):
        run(experiment(algorithm=MaTFL()))

"""Any module of torch as a model: it gives the user's numbers, trains as plain torch does, and comes back."""

import copy
import pickle
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fedmtl import Experiment, FedAvg, FedPer, FromModule, Local, ShareMap, load_experiment, run
from fedmtl.core.fingerprint import parts
from fedmtl.core.threads import one_thread
from fedmtl.engines.loop import Loop
from fedmtl.engines.trace import waits
from fedmtl.engines.trace.stages import Stage
from fedmtl.engines.vmap import VMap
from fedmtl.models.split import build, initial_params, outputs_fn
from fedmtl.registry.allowed import Allowed
from fedmtl.registry.components import describe, make
from fedmtl.runs.experiment import from_dict
from fedmtl.tasks import MultiClass, Task
from simulations.benchmarks.own_network import ResNet18
from tests.models.double import BothInDouble
from tests.models.stateful_runs import finished, furthest
from tests.models.user_modules import OneHead, Parts, Pictures, Tied, TwoHeads

TASKS: dict[str, Task] = {"kind": MultiClass(3), "side": MultiClass(2)}
X = torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(1))


def torch_made(make_module: Any, *args: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return make_module(*args)


def outputs(model: Any, x: Tensor = X, owned: tuple[str, ...] = ("kind", "side")) -> dict[str, Tensor]:
    """Outputs of the model with its first parameters, of the client's own heads alone."""
    module = build(model, tuple(x.shape[1:]), TASKS, 0, False)
    own = tuple(f"head.{task}." for task in owned)
    params = {n: v for n, v in initial_params(module).items() if not n.startswith("head.") or n.startswith(own)}
    return outputs_fn(module, owned)(params, {"x": x, "mask": torch.ones(len(x))})


def names(model: Any, input_shape: tuple[int, ...] = (2, 4)) -> set[str]:
    return {name.rpartition(".")[0] for name in initial_params(build(model, input_shape, TASKS, 0, False))}


# ---- names and outputs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "heads", [(), {"kind": "fc1", "side": ["fc2", "norm"]}, {"kind": "fc1*", "side": ["fc2.*", "norm"]}]
)
def test_a_module_that_gives_outputs_by_task(heads: Any) -> None:
    """A head is what its task alone uses: the norm before ``fc2``, too; its statistics go with it."""
    net = torch_made(TwoHeads)
    model = FromModule(net, heads=heads)
    heads_alone = {"head.kind.fc1", "head.side.fc2", "head.side.norm"}
    assert names(model) == {"trunk.backbone.1", "trunk.backbone.2", *heads_alone}
    net.eval()
    for task, expected in net(X).items():
        torch.testing.assert_close(outputs(model)[task], expected)
        torch.testing.assert_close(outputs(model, owned=(task,))[task], expected)
        assert outputs(model, owned=(task,)).keys() == {task}


def test_a_trunk_and_heads_that_are_submodules() -> None:
    net = torch_made(Parts)
    model = FromModule(net, trunk="backbone", heads={"kind": "heads.a", "side": "heads.b"})
    assert names(model) == {"trunk.backbone.1", "head.kind.heads.a", "head.side.heads.b.0", "head.side.heads.b.2"}
    expected = {"kind": net.heads["a"](net.backbone(X)), "side": net.heads["b"](net.backbone(X))}
    for task in TASKS:
        torch.testing.assert_close(outputs(model)[task], expected[task])
        torch.testing.assert_close(outputs(model, owned=(task,))[task], expected[task])


@pytest.mark.parametrize("given", [{"heads": "fc"}, {"trunk": "body"}])
def test_new_heads_in_place_of_the_last_layer(given: dict[str, str]) -> None:
    """They are drawn as those of other models: the same layer, from the same seed and task."""
    net = torch_made(OneHead)
    module = build(FromModule(net, **given), (2, 4), TASKS, 0, False)
    params = initial_params(module)
    assert {name: tuple(value.shape) for name, value in params.items()} == {
        "trunk.body.1.weight": (6, 8),
        "trunk.body.1.bias": (6,),
        "head.kind.weight": (3, 6),
        "head.kind.bias": (3,),
        "head.side.weight": (2, 6),
        "head.side.bias": (2,),
    }
    found = outputs(FromModule(net, **given))
    for task in TASKS:
        expected = net.body(X) @ params[f"head.{task}.weight"].T + params[f"head.{task}.bias"]
        torch.testing.assert_close(found[task], expected)
    assert torch.equal(params["trunk.body.1.weight"], net.body[1].weight)


def test_features_of_the_module_itself() -> None:
    assert names(FromModule(torch_made(OneHead), trunk=".")) == {"trunk.body.1", "trunk.fc", "head.kind", "head.side"}


def test_a_plain_module_is_a_model() -> None:
    """As ``model=``, inside a share map, and in the table of components."""
    net = torch_made(TwoHeads)
    experiment = Experiment(data=Pictures(), model=net)
    assert experiment.model == FromModule(net) and make("model", net) == FromModule(net)
    shared = ShareMap(net, {"trunk.backbone.2.*": "private"})
    assert build(shared, (2, 4), TASKS, 0, False).roles.keys() == {
        f"trunk.backbone.2.{name}" for name in ("weight", "bias", "running_mean", "running_var")
    }
    frozen = build(ShareMap(net, {"trunk.backbone.1.*": "frozen"}), (2, 4), TASKS, 0, False)
    assert not any(name.startswith("trunk.backbone.1.") for name in initial_params(frozen))


def test_tied_weights_stay_tied() -> None:
    """They are one parameter, under the first of its names."""
    net = torch_made(Tied)
    params = initial_params(build(FromModule(net), (2, 4), TASKS, 0, False))
    assert {n for n in params if "weight" in n} == {"trunk.up.weight", "head.kind.fc1.weight", "head.side.fc2.weight"}
    expected = net(X)
    for task in TASKS:
        torch.testing.assert_close(outputs(FromModule(net))[task], expected[task])
    state = FromModule(net).state_dict({**params, "trunk.up.weight": torch.ones(8, 8)})
    assert torch.equal(state["up.weight"], torch.ones(8, 8)) and torch.equal(state["down.weight"], torch.ones(8, 8))


def test_a_lazy_module_and_one_that_is_partly_frozen() -> None:
    class Lazy(TwoHeads):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.LazyLinear(3)
            self.backbone[1].requires_grad_(False)

    params = initial_params(build(FromModule(Lazy), (2, 4), TASKS, 0, False))
    assert params["head.kind.fc1.weight"].shape == (3, 6) and "trunk.backbone.1.weight" not in params


# ---- objects and classes --------------------------------------------------------------------------------------------


def test_an_object_has_its_weights_and_a_class_those_of_the_seed() -> None:
    net = torch_made(TwoHeads)
    kept = copy.deepcopy(net.state_dict())
    name = "trunk.backbone.1.weight"
    for seed in (0, 1):
        assert torch.equal(initial_params(build(FromModule(net), (2, 4), TASKS, seed, False))[name], kept[name[6:]])
    made = [initial_params(build(FromModule(TwoHeads), (2, 4), TASKS, seed, False))[name] for seed in (0, 0, 1)]
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])
    wide = FromModule(TwoHeads, args={"width": 9})
    assert initial_params(build(wide, (2, 4), TASKS, 0, False))[name].shape == (9, 8)
    run(Experiment(data=Pictures(), model=net, rounds=1, runtime="InProcess", engine="Loop"))
    assert all(torch.equal(value, kept[name]) for name, value in net.state_dict().items()), "the user's is not changed"


def test_it_prints_and_travels() -> None:
    named = FromModule("tests.models.user_modules:TwoHeads", heads={"kind": "fc1", "side": "fc2"}, args={"width": 4})
    assert repr(named) == (
        "FromModule('tests.models.user_modules:TwoHeads', heads=('kind=fc1', 'side=fc2'), args=('width=4',))"
    )
    assert eval(repr(named)) == named == pickle.loads(pickle.dumps(named)) and hash(named) == hash(eval(repr(named)))
    assert describe("model", named) == {
        "name": "FromModule",
        "module": "tests.models.user_modules:TwoHeads",
        "trunk": "",
        "heads": ["kind=fc1", "side=fc2"],
        "args": ["width=4"],
    }
    assert repr(FromModule(torch_made(OneHead), heads="fc")) == "FromModule(OneHead(…), heads='fc')"
    own = cloudpickle.loads(cloudpickle.dumps(FromModule(torch_made(Lambda))))
    torch.testing.assert_close(outputs(own)["side"], torch_made(Lambda)(X)["side"])


class Lambda(TwoHeads):
    """Holds functions that plain pickle refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone[2] = self.norm = nn.Identity()
        self.act = lambda x: torch.tanh(x)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.act(x.flatten(1)[:, :6] + self.backbone[1](x.flatten(1)))
        return {"kind": self.fc1(features), "side": self.fc2(features)}


def test_its_fingerprint_is_of_weights_and_code() -> None:
    one, other = torch_made(TwoHeads), torch_made(TwoHeads)
    assert parts(FromModule(one)) == parts(FromModule(other))
    with torch.no_grad():
        other.fc1.weight[0, 0] += 1
    assert parts(FromModule(one)) != parts(FromModule(other))
    named = FromModule("tests.models.user_modules:TwoHeads")
    assert parts(named) == parts(FromModule("tests.models.user_modules:TwoHeads"))
    assert parts(named) != parts(FromModule("tests.models.user_modules:OneHead"))


# ---- presets --------------------------------------------------------------------------------------------------------

OWN = """
from torch import nn

class Net(nn.Module):
    def __init__(self, width: int = 5) -> None:
        super().__init__()
        self.body, self.fc = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU()), nn.Linear(width, 10)

    def forward(self, x):
        return self.fc(self.body(x))
"""


def test_a_preset_names_a_class_beside_it(tmp_path: Path) -> None:
    """As a call and as a table; the run's folder makes it again, so that it resumes."""
    (tmp_path / "preset_net.py").write_text(OWN)
    head = 'data = "digits"\nrounds = 1\ncohort = 2\nruntime = "InProcess"\nengine = "Loop"\n'
    call = """model = "FromModule(module='preset_net:Net', heads='fc', args={'width': 3})"\n"""
    table = 'model = { name = "FromModule", module = "preset_net:Net", heads = "fc", args = { width = 3 } }\n'
    found = []
    for number, line in enumerate((call, table)):
        preset = tmp_path / f"{number}.toml"
        preset.write_text(head + line)
        found.append(load_experiment(str(preset)))
    assert found[0].model == found[1].model == FromModule("preset_net:Net", heads="fc", args={"width": 3})
    first = run(found[0], tmp_path / "run")
    again = from_dict(found[0].to_dict(), allowed=Allowed(tmp_path))
    assert again.model == found[0].model
    resumed = run(again, tmp_path / "run", resume=True)
    assert resumed.summary["tasks"] == first.summary["tasks"]


def test_a_preset_imports_no_module_that_is_not_allowed(tmp_path: Path) -> None:
    (tmp_path / "hostile.toml").write_text("model = \"FromModule(module='antigravity:Net')\"\n")
    with pytest.raises(ValueError, match=r"no module 'antigravity' may be imported"):
        load_experiment(str(tmp_path / "hostile.toml"))
    (tmp_path / "plain_net.py").write_text(OWN)
    (tmp_path / "plain.toml").write_text('model = "plain_net:Net"\n')
    with pytest.raises(ValueError, match=r"without trunk, head; .*FromModule\(module='plain_net:Net'\)"):
        load_experiment(str(tmp_path / "plain.toml"))


# ---- training -------------------------------------------------------------------------------------------------------


def test_it_trains_as_plain_torch_does(tmp_path: Path) -> None:
    """FedAvg of two clients in plain torch: both train copies of the user's module on all of their examples at once,

        loss = (CE_kind + CE_side) / 2,   two steps of SGD at 0.1 a round,   state = Σ n_k state_k / Σ n_k

    BatchNorm trains in train mode; its running statistics are averaged as the weights are. The result is loaded into
    the user's module by its own names, all of them.
    """
    net = torch_made(TwoHeads)
    data = Pictures(clients=2, both=True)
    chosen = Experiment(
        data=data,
        model=net,
        algorithm=FedAvg(lr=0.1, epochs=2),
        rounds=3,
        batch_size=0,
        runtime="InProcess",
        engine="Loop",
    )
    _, models = finished(tmp_path / "run", chosen)
    expected, sides = copy.deepcopy(net), [client.train for client in chosen.load().clients.values()]
    for _ in range(3):
        states = []
        for side in sides:
            own = copy.deepcopy(expected).train()
            optimizer = torch.optim.SGD(own.parameters(), 0.1)
            for _ in range(2):
                optimizer.zero_grad()
                found = own(torch.tensor(side.x))
                losses = [nn.functional.cross_entropy(found[t], torch.tensor(side.y[t]).long()) for t in TASKS]
                (sum(losses, torch.zeros(())) / 2).backward()
                optimizer.step()
            states.append(own.state_dict())
        share = np.array([len(side.x) for side in sides]) / sum(len(side.x) for side in sides)
        mean = {name: sum(w * state[name] for w, state in zip(share, states, strict=True)) for name in states[0]}
        expected.load_state_dict(mean)
    mine = TwoHeads()
    mine.load_state_dict(chosen.model.state_dict(models[0]))
    wanted = expected.state_dict()
    for name, value in mine.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(value, wanted[name], rtol=1e-4, atol=1e-5)


MODELS: dict[str, Any] = {
    "outputs by task": lambda: torch_made(TwoHeads, 6, 0.3),
    "last layer": lambda: FromModule(torch_made(OneHead), heads="fc"),
    "tied": lambda: torch_made(Tied),
}


@pytest.mark.parametrize("model", MODELS)
def test_engines_and_runtimes_agree(model: str, tmp_path: Path) -> None:
    """Clients of both tasks and of one: FedPer's heads, which only their owners train, and FedAvg's whole models."""
    for number, algorithm in enumerate((FedPer(lr=0.1, epochs=2), FedAvg(lr=0.1, epochs=2))):
        found = []
        places = [("Loop", "InProcess"), ("VMap", "InProcess")]
        if (model, number) == ("outputs by task", 0):
            places.append(("VMap", "Ray(workers=1)"))
        for engine, runtime in places:
            chosen = Experiment(
                data=Pictures(least=8), model=MODELS[model](), algorithm=algorithm, rounds=3, batch_size=0,
                runtime=runtime, engine=engine,
            )  # fmt: skip
            found.append(finished(tmp_path / f"{number}-{engine}-{runtime[0]}", chosen)[1])
        assert all(furthest(found[0], other) < 1e-4 for other in found[1:])


def resnet_run(engine: Any, rounds: int, seed: int) -> dict[str, Tensor]:
    chosen = Experiment(
        data=Pictures(clients=3, shape=(3, 32, 32), least=12, both=True),
        model=FromModule(torch_made(ResNet18, 4, 10, 0.2), heads="fc"), rounds=rounds, seed=seed,
        algorithm=FedPer(lr=0.05, epochs=1), runtime="InProcess", engine=engine, batch_size=0, evaluate_every=100,
    )  # fmt: skip
    with one_thread():  # also where the model is examined: its products are small
        return dict(run(chosen).state)


def test_resnet18() -> None:
    """Torchvision's layers with BatchNorm and dropout, clients with two tasks: the loop's numbers, lifted.

    Of at least 10 examples a step: with 4, whose last feature maps are one pixel, BatchNorm is so steep that a change
    of the inputs by 1e-7 of them alone changes weights by 1e-2 in three steps. Seed 0 is left to the test below.
    """
    net = torch_made(ResNet18, 4, 10, 0.2)
    model = FromModule(net, heads="fc")
    found = [{0: resnet_run(engine, 3, 1)} for engine in ("Loop", "VMap(chunk=3)")]
    assert furthest(*found) < 1e-4
    state = model.state_dict(found[1][0])
    ResNet18(4, 10).load_state_dict(state)
    assert state.keys() == net.state_dict().keys() and torch.equal(state["fc.weight"], net.fc.weight)
    assert not torch.equal(state["layer4.1.bn2.running_var"], net.state_dict()["layer4.1.bn2.running_var"])


@pytest.mark.parametrize("seed", [0, 1])
def test_resnet18_in_float64(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engines differ by rounding alone: from one state, each round's results are equal in float64, also those of
    the third round, which is replayed.

    In float32 whole runs are 1e-6 apart after three rounds, but 0.012 with seed 0, where a ReLU flips. After the first
    round the states are 2e-7 apart. In the second, of client 0, the input of ``layer3.0.relu`` at [1, 2, 1, 1] is
    +5.7e-7 from the one state and -4.4e-7 from the other, whichever of the engines runs: the gradient passes there or
    does not, which moves weights by 1.8e-3. No other ReLU, maximum or dropout of that step differs; with this one
    number raised by 1e-6 in both, 2e-6 is left of the 1.8e-3. The third step multiplies it, with flips all over.
    """
    monkeypatch.setattr(waits, "WAIT_SMALL", 0)
    stacked = VMap(chunk=3)
    both = BothInDouble(Loop(), stacked)
    resnet_run(both, 3, seed)
    assert all(difference < 1e-9 for difference in both.apart)
    stages = {state.stage for function in stacked._functions.values() for state in function._states.values()}
    assert Stage.REPLAYED in stages


def test_private_heads_of_clients_with_fewer_tasks_do_not_move(tmp_path: Path) -> None:
    """A client has the heads of its own tasks alone, with their statistics."""
    chosen = Experiment(
        data=Pictures(),
        model=torch_made(TwoHeads),
        algorithm=Local(lr=0.1),
        rounds=1,
        runtime="InProcess",
        engine="Loop",
    )
    _, models = finished(tmp_path / "run", chosen)
    assert {name.split(".")[1] for name in models[1] if name.startswith("head.")} == {"kind"}
    assert {name for name in models[2] if name.startswith("head.")} == {
        *(f"head.side.fc2.{name}" for name in ("weight", "bias")),
        *(f"head.side.norm.{name}" for name in ("weight", "bias", "running_mean", "running_var")),
    }

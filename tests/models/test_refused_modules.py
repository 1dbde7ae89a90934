"""Modules that cannot be models: refused before a run, in one line with the way out."""

import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedmtl import FromModule
from fedmtl.models.split import build
from fedmtl.tasks import MultiClass, Task
from tests.models.user_modules import OneHead, Parts, Tied, TwoHeads

NUMBER: Any = 3
TASKS: dict[str, Task] = {"kind": MultiClass(3), "side": MultiClass(2)}


class Giving(TwoHeads):
    """Gives something else."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(super().forward(x))


class Unused(TwoHeads):
    def __init__(self) -> None:
        super().__init__()
        self.extra = nn.Linear(3, 3)


class More(Parts):
    """Does more than its parts."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = 2 * self.backbone(x)
        return self.heads["a"](features), self.heads["b"](features)


class Inplace(Parts):
    def __init__(self) -> None:
        super().__init__()
        self.heads["a"] = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 3))


class TiedHeads(TwoHeads):
    def __init__(self) -> None:
        super().__init__()
        self.fc1.bias = nn.Parameter(torch.zeros(3))
        self.shift = self.fc1.bias


class Sum(TwoHeads):
    """One task's output is made of another's."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        found = super().forward(x)
        return {"kind": found["kind"], "side": found["side"] + found["kind"][:, :2]}


def hooked(what: str) -> nn.Module:
    net = TwoHeads()
    if what == "module":
        net.fc1.register_full_backward_hook(lambda *_: None)
    else:
        net.fc1.weight.register_hook(lambda slope: 2 * slope)
    return net


def locked() -> nn.Module:
    net = TwoHeads()
    net.lock = threading.Lock()  # type: ignore[assignment]
    return net


BOTH = {"kind": "heads.a", "side": "heads.b"}
REFUSED: dict[str, tuple[Any, str]] = {
    "a tensor": (
        lambda: FromModule(OneHead()),
        r"forward gives a tensor \(2, 4\) for B=2, and not \{task: output\}; name the last layer, heads='fc'",
    ),
    "a tuple": (lambda: FromModule(Giving(lambda found: tuple(found.values()))), "forward gives a tuple for B=2"),
    "a task without an output": (
        lambda: FromModule(Giving(lambda found: {"kind": found["kind"], "sides": found["side"]})),
        r"forward gives outputs for kind, sides, and none for task 'side'; give one for each task\. Did you mean sides",
    ),
    "an output of another shape": (
        lambda: FromModule(Giving(lambda found: {**found, "side": found["kind"]})),
        r"the output of task 'side' is shape \(2, 3\) for B=2, but MultiClass\(.*\) needs \(2, 2\)",
    ),
    "an output of another type": (
        lambda: FromModule(Giving(lambda found: {**found, "side": found["side"].double()})),
        "the output of task 'side' is torch.float64, but outputs are float32",
    ),
    "no forward": (lambda: FromModule(Parts()), r"forward fails on inputs of shape \(2, 2, 4\)"),
    "another width": (
        lambda: FromModule(nn.Linear(5, 4), heads="fc"),
        "heads: the module has no submodule 'fc'",
    ),
    "a head that is not there": (
        lambda: FromModule(Parts(), trunk="backbone", heads={"kind": "heads.a", "side": "head.b"}),
        r"heads: side: the module has no submodule 'head\.b'; it has backbone, heads\. Did you mean heads\.b",
    ),
    "a glob of nothing": (
        lambda: FromModule(TwoHeads(), heads={"kind": "fc1", "side": "fc3"}),
        r"heads: 'fc3', of task 'side', is no submodule with parameters .* Did you mean fc",
    ),
    "a trunk that is not there": (
        lambda: FromModule(Parts(), trunk="backbon", heads=BOTH),
        r"trunk: the module has no submodule 'backbon'; it has backbone, heads\. Did you mean backbone",
    ),
    "a task without a head": (
        lambda: FromModule(TwoHeads(), heads={"kind": "fc1"}),
        "heads has none for task 'side'; name its submodule, or leave heads out",
    ),
    "a head of no task": (
        lambda: FromModule(TwoHeads(), heads={"kind": "fc1", "side": "fc2", "kinds": "norm"}),
        r"heads has one for 'kinds', but the tasks are kind, side\. Did you mean kind\?",
    ),
    "a head that does not fit": (
        lambda: FromModule(Parts(), trunk="backbone", heads={"kind": "heads.b", "side": "heads.a"}),
        r"the output of task 'kind' is shape \(2, 2\) for B=2, but MultiClass\(.*\) needs \(2, 3\); give its head 3",
    ),
    "a parameter without a use": (
        lambda: FromModule(Unused()),
        "no output .* uses extra.weight, extra.bias, so training",
    ),
    "parameters between trunk and heads": (
        lambda: FromModule(TwoHeads(), trunk="backbone", heads={"kind": "fc1", "side": "fc2"}),
        "norm.weight is neither in the trunk nor in a head; name a trunk that has it",
    ),
    "a head that another task uses": (
        lambda: FromModule(Sum(), heads={"kind": "fc1", "side": "fc2"}),
        "the output of task 'side' uses fc1.weight, which is in the head of 'kind'",
    ),
    "a forward that does more": (
        lambda: FromModule(More(), trunk="backbone", heads=BOTH),
        r"forward gives other numbers than head\(trunk\(x\)\), so it does more than they",
    ),
    "a head that writes into features": (
        lambda: FromModule(Inplace(), trunk="backbone", heads=BOTH),
        "leave out inplace=True in the first layers of heads",
    ),
    "features that are not flat": (
        lambda: FromModule(nn.Sequential(nn.Conv1d(2, 3, 1), nn.ReLU()), trunk="."),
        r"linear heads take features \[B, features\], but the trunk gives shape \(2, 3, 4\)",
    ),
    "weights tied between parts": (
        lambda: FromModule(Tied(), heads={"kind": ["fc1", "down"], "side": "fc2"}),
        "up.weight is tied between head.kind and trunk",
    ),
    "another type": (
        lambda: FromModule(TwoHeads().double()),
        "parameters are float32, but backbone.1.weight is torch.float64",
    ),
    "another device": (
        lambda: FromModule(TwoHeads().to("meta")),
        "backbone.1.weight is on meta; build models on the CPU",
    ),
    "compiled": (lambda: FromModule(torch.compile(TwoHeads())), "runs another module in its own way; give the module"),
    "of many devices": (
        lambda: FromModule(nn.DataParallel(TwoHeads())),
        "runs another module in its own way; give its",
    ),
    "a hook on gradients": (lambda: FromModule(hooked("module")), r"fc1 \(Linear\) has a hook on its gradients"),
    "a hook on a gradient": (lambda: FromModule(hooked("tensor")), "fc1.weight has a hook on its gradient"),
    "a lock": (lambda: FromModule(locked()), "a TwoHeads cannot be copied .*so it cannot go to other processes"),
    "a noisy forward": (
        lambda: FromModule(Giving(lambda f: {t: v + torch.randn(()) for t, v in f.items()})),
        "draws random",
    ),
    "means over a batch": (
        lambda: FromModule(Giving(lambda f: {t: v - v.mean(0) for t, v in f.items()})),
        "other numbers",
    ),
    "something else": (lambda: FromModule(3), "takes an nn.Module, a class or function that makes one"),
    "no path": (lambda: FromModule("TwoHeads"), "an import path is written 'package.module:Name'"),
    "no module": (lambda: FromModule("no_such_module:Net"), "cannot be imported"),
    "no class": (lambda: FromModule("torch.nn:Nets"), "module torch.nn has no 'Nets'"),
    "a function of something else": (lambda: FromModule(lambda: 3), "it makes 3, and not an nn.Module"),
    "arguments that do not fit": (lambda: FromModule(TwoHeads, args={"wide": 3}), "unexpected keyword argument 'wide'"),
    "arguments that are not plain": (lambda: FromModule(TwoHeads, args={"width": nn}), "args are plain values by name"),
    "arguments of an object": (lambda: FromModule(TwoHeads(), args={"width": 3}), "is an object already"),
    "heads that are no names": (lambda: FromModule(TwoHeads(), heads={"kind": 3}), "heads name the submodule of each"),
    "a trunk that is no name": (lambda: FromModule(TwoHeads(), trunk=NUMBER), "trunk is the name of a submodule"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    make, message = REFUSED[case]
    state = torch.get_rng_state()
    with torch.random.fork_rng(), pytest.raises(ValueError, match=message) as error:
        build(make(), (2, 4), TASKS, 0, False)
    assert "\n" not in str(error.value) and str(error.value).startswith("FromModule")
    assert torch.equal(torch.get_rng_state(), state)


def test_one_task_does_not_separate_a_head() -> None:
    class One(TwoHeads):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"kind": self.fc1(self.norm(self.fc2(self.backbone(x)) @ torch.ones(2, 6)))}

    with pytest.raises(ValueError, match=r"of one task, 'kind', the outputs do not separate .*heads=\{'kind': 'fc2'\}"):
        build(FromModule(One()), (2, 4), {"kind": MultiClass(3)}, 0, False)

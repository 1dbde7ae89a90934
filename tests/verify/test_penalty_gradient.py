"""A penalty without a gradient, and one of another strength, are caught."""

import inspect

import pytest
from torch import Tensor

import fedmtl.core.trees
from fedmtl.algorithms.common import proximal
from fedmtl.core.types import Params
from fedmtl.registry.components import REGISTRY
from fedmtl.verify.lookup import class_of
from fedmtl.verify.penalty_gradient import penalty_of, the_penalty_has_the_gradient_of_its_equation

PENALTY = [name for name in REGISTRY["algorithm"] if "pulled" in vars(inspect.getmodule(class_of(name)))]
GRAPH = [
    name
    for name in REGISTRY["algorithm"]
    if {"pull", "parse_edges", "simplex"} & set(vars(inspect.getmodule(class_of(name))))
]


def test_every_penalty_is_checked() -> None:
    assert len(PENALTY) >= 5 and len(GRAPH) >= 4
    assert {*PENALTY, *GRAPH, "SoftSharing"} == {name for name in REGISTRY["algorithm"] if penalty_of(name)}


@pytest.mark.parametrize("name", PENALTY)
@pytest.mark.parametrize("strength", [0.0, 0.5, -1.0])
def test_another_gradient_is_caught(name: str, strength: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strength 0 has the penalty's value without its gradient: detached."""
    cls = class_of(name)
    assert the_penalty_has_the_gradient_of_its_equation(cls).passed

    def other(a: Params, b: Params) -> Tensor:
        value = fedmtl.core.trees.sq_distance(a, b)
        return value.detach() + strength * (value - value.detach())

    monkeypatch.setattr(proximal, "sq_distance", other)
    assert not the_penalty_has_the_gradient_of_its_equation(cls).passed

"""A user's own ResNet-18, an object with BatchNorm, ReLU in place and dropout: stacked over Ray, the loop's numbers."""

import pytest

from fedmtl import Loop, VMap
from fedmtl.engines.batching import large
from simulations.benchmarks.own_network import APART, Timed, apart, measure

SIZE = {"width": 2, "clients": 6, "examples": 10, "side": 32}


@pytest.fixture(scope="module")
def stacked() -> Timed:
    return measure(VMap(chunk=3), **SIZE, workers=1)  # no chunk is measured: the outcome is the same on every machine


def test_every_function_is_stacked_over_ray(stacked: Timed) -> None:
    """The worker's own engine says so: training and its shapes, none of them client by client."""
    assert stacked.report and all(": stacked: " in line for line in stacked.report), stacked.report
    assert any("replayed" in line or "verified" in line or "traced" in line for line in stacked.report)


@pytest.fixture(scope="module")
def loop() -> Timed:
    return measure(Loop(), **SIZE, workers=0)


def test_it_has_the_numbers_of_the_loop_after_three_rounds(stacked: Timed, loop: Timed) -> None:
    """Weights and running statistics of the trunk; of 6 clients, each with both tasks."""
    assert loop.report == [] and loop.state.keys() == stacked.state.keys()
    assert apart(loop.state, stacked.state) < APART
    moved = loop.state["trunk.layer4.1.bn2.running_var"]
    assert float((moved - 1).abs().max()) > 0.01  # three rounds of statistics have moved it from its first value, 1


def test_large_clients_have_the_bits_of_the_loop(loop: Timed, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the network is at its width of 64, whose convolutions are large: stacked, layers one by one."""
    monkeypatch.setattr(large, "LARGE", 0)
    found = measure(VMap(), **SIZE, workers=0)
    assert any("stacked: plain (3 calls, layers one by one)" in line for line in found.report), found.report
    assert not any("client by client" in line for line in found.report)
    assert apart(loop.state, found.state) == 0

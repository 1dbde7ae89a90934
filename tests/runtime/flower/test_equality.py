"""Real Flower processes have the results of one process: equal ledgers, and trunks that differ by rounding at most."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fedmtl.run_experiment import run
from fedmtl.runs.presets import load_experiment
from fedmtl.runs.result import Result
from simulations.benchmarks.wire import Relay
from tests.runtime.flower_runs import deployment, flower_counter, flwr_run, superlink
from tests.runtime.test_equality import cohorts, difference


def saved(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model.safetensors")


LAYERS, KINDS = (Path(__file__).parents[1] / name for name in ("layers.toml", "kinds.toml"))
"""Chains, noise, memories and codecs by layer each way; and tasks of all further kinds, on
``TextEncoder``'s pre-trained trunk. Flower starts a process for each message, so that there is no third."""

SHORT = "rounds=2 evaluate_every=2"
"""The second round begins with what the first has left; all are measured at both ends."""


def assert_equal(preset: Path, summary: dict[str, Any], out: Path) -> Result:
    """A run is that of one process, to rounding, with the same ledger; return that one."""
    reference = run(load_experiment(preset, SHORT.split()))
    assert summary["digests"]["ledger"] == reference.summary["digests"]["ledger"], preset.stem
    assert difference(saved(out), reference.state) <= (1e-5 if preset == LAYERS else 1e-6), preset.stem
    return reference


def assert_carried(transport: dict[str, Any], relay: Relay, counter: dict[str, int]) -> None:
    """Modelled bytes are those of a relay at the nodes' sockets, and of Flower's own counter, of one run.

    Questions for messages are left out at the sockets, since a node that waits asks too: in the model each message has
    one, of 853 bytes, and about 540 back.
    """
    of_messages = ("push-messages", "push-object", "pull-object", "confirm-message-received")
    questions = {"down": 540, "up": 853}
    for way, each in questions.items():
        seen = sum(relay.bytes[way, f"/v1/fleet/{path}"] for path in of_messages)
        seen += each * transport["messages"]["down"]
        assert transport["wire_bytes"]["messages"][way] == pytest.approx(seen, rel=0.02), way
        assert transport["flower_counter"][way] == pytest.approx(counter[way], rel=0.02), way
        bundles = relay.bytes[way, "/v1/fleet/get-fab"] + relay.bytes[way, "/v1/fleet/get-run"]
        assert transport["wire_bytes"]["control"][way] == pytest.approx(bundles, rel=0.02), way
    assert transport["nodes"] == 2


@pytest.mark.slow
def test_flowers_own_simulation(tmp_path: Path) -> None:
    """``flwr run`` with a SuperLink that simulates two nodes; private state is in Flower's contexts."""
    with superlink(tmp_path / "home", simulation=True):
        found = [flwr_run(tmp_path / "home", preset, SHORT, tmp_path / preset.stem) for preset in (LAYERS, KINDS)]
    for preset, summary in zip((LAYERS, KINDS), found, strict=True):
        assert_equal(preset, summary, tmp_path / preset.stem)


@pytest.mark.slow
def test_a_real_superlink_with_two_supernodes(tmp_path: Path) -> None:
    """Bytes in Flower's messages are the ledger's, to the byte; one node keeps private state on disk, one in memory."""
    configs = ["partition-id=0 num-partitions=2", f'clients="1,3,5" state-dir="{tmp_path / "state"}"']
    relays: list[Relay] = []

    def through(port: int) -> int:
        relays.append(Relay(port))
        return relays[0].port

    with deployment(tmp_path / "home", configs, through):
        kinds = flwr_run(tmp_path / "home", KINDS, SHORT, tmp_path / "kinds")
        assert_carried(kinds["transport"], relays[0], flower_counter(tmp_path / "home"))
        stored = {path.parent.name for path in (tmp_path / "state").glob("*/*/*.state")}
        layers = flwr_run(tmp_path / "home", LAYERS, SHORT, tmp_path / "layers")
    assert_equal(LAYERS, layers, tmp_path / "layers")
    reference = assert_equal(KINDS, kinds, tmp_path / "kinds")
    assert kinds["bytes"]["messages"] == {key: kinds["bytes"][key] for key in ("down", "up")}
    assert kinds["bytes"]["total"] == sum(row["packet_bytes"] for row in reference.ledger)
    assert stored == {"1", "3", "5"} & {f"{c}" for cohort in cohorts(reference).values() for c in cohort}

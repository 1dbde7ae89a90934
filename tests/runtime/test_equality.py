"""One experiment, every runtime and engine: equal cohorts and ledgers, equal trunks.

The reference is the in-process node that trains its clients one by one. Between engines the trunk may differ
by float rounding (1e-6 a round allowed, 1e-5 after five), between runtimes and numbers of workers not at all.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fedmtl.data import from_arrays
from fedmtl.run_experiment import run
from fedmtl.runs.presets import load_experiment
from fedmtl.runs.result import Result
from simulations.benchmarks.wire import Relay
from tests.runtime.flower_runs import deployment, flower_counter, flwr_run, superlink

TINY = Path(__file__).with_name("tiny.toml")
SHORT = "rounds=2"
"""The second round begins with the states and memories of the first. Flower starts a process for each message."""


@pytest.fixture(scope="module")
def runs() -> Callable[..., Result]:
    """Runs of the tiny experiment by settings, each made once."""
    made: dict[tuple[str, ...], Result] = {}

    def get(*settings: str) -> Result:
        if settings not in made:
            made[settings] = run(load_experiment(TINY, settings))
        return made[settings]

    return get


def cohorts(result: Result) -> dict[int, list[int]]:
    """Round -> who trained, from the ledger."""
    found: dict[int, list[int]] = {}
    for row in result.ledger:
        if row["purpose"] == "train" and row["direction"] == "up":
            found.setdefault(row["round"], []).append(row["client"])
    return found


def difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def test_two_runs_have_the_same_bits(runs: Callable[..., Result]) -> None:
    assert run(load_experiment(TINY)).summary["digests"] == runs().summary["digests"]


def test_another_seed_has_other_bits(runs: Callable[..., Result]) -> None:
    other = runs("seed=1").summary["digests"]
    assert all(other[key] != value for key, value in runs().summary["digests"].items())


@pytest.mark.parametrize("engine", ["loop", "vmap"])
@pytest.mark.parametrize("workers", [1, 3])
def test_ray_has_the_bits_of_the_local_grid_with_loop(runs: Callable[..., Result], engine: str, workers: int) -> None:
    reference = runs()
    result = runs(f"runtime=Ray(workers={workers})", f"engine={engine}")
    assert result.ledger == reference.ledger
    assert cohorts(result) == cohorts(reference)
    assert all(len(cohort) == 4 for cohort in cohorts(result).values())
    if engine == "loop":
        assert result.summary["digests"] == reference.summary["digests"]
    assert difference(result.state, reference.state) <= 1e-6


def test_inputs_on_disk_have_the_same_bits_on_ray(tmp_path: Path) -> None:
    """Workers read the file; the federation holds places in it, as arrays in memory and on disk are trained alike."""
    x = np.random.default_rng(0).standard_normal((90, 6)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    mapped, y = np.load(tmp_path / "x.npy", mmap_mode="r"), x[:, 0] > 0
    results = []
    for inputs, in_process in ((mapped, False), (mapped, True), (x, True)):
        data = from_arrays({k: (inputs[30 * k : 30 * k + 30], {"t": y[30 * k : 30 * k + 30]}) for k in range(3)})
        one = load_experiment(TINY, [SHORT, "engine=Loop", "runtime=Ray(workers=2)", "cohort=1.0"])
        results.append(run(replace(one, data=data, model="MLP((3,))"), in_process=in_process).summary["digests"])
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("algorithm", ["Local", "Pooled", "FedAvg", "FedPer", "FedRep"])
def test_vmap_equals_loop_for_every_algorithm(runs: Callable[..., Result], algorithm: str) -> None:
    loop, vmap = (runs(f"algorithm={algorithm}", f"engine={engine}") for engine in ("loop", "vmap"))
    assert loop.ledger == vmap.ledger
    if algorithm != "Local":
        assert difference(loop.state, vmap.state) <= 5e-6
    for a, b in zip(loop.rows, vmap.rows, strict=True):
        assert {k: a[k] for k in ("round", "client", "task", "examples")} == {
            k: b[k] for k in ("round", "client", "task", "examples")
        }


CHAIN = "['ClipNorm(0.5)', 'GaussianNoise(0.01)', 'ErrorFeedback(TopK(0.2))']"
LAYERS = "PerLayer({'*weight': ErrorFeedback(TopK(0.2)), '*bias': 'Int8(8)'})"


CODED = [Path(__file__).with_name(name) for name in ("chain.toml", "layers.toml", "kinds.toml")]
"""Presets with a chain of three, with codecs by layer each way, and with tasks of all further kinds."""


@pytest.mark.parametrize("preset", CODED, ids=lambda path: path.stem)
def test_presets_of_codecs_and_kinds_are_equal_in_process_stacked_and_on_ray(preset: Path) -> None:
    """Loop, VMap and Ray: equal ledgers and rows of clients; Ray with three workers has the bits of one process."""
    loop, vmap, ray = (
        run(load_experiment(preset, settings)) for settings in ([], ["engine=VMap"], ["runtime=Ray(workers=3)"])
    )
    assert loop.ledger == vmap.ledger == ray.ledger
    assert ray.summary["digests"] == loop.summary["digests"]
    assert difference(loop.state, vmap.state) <= 1e-5
    assert any(float(value.abs().max()) > 0.01 for value in loop.state.values())


@pytest.mark.parametrize("up", ["FP16", "Int8", "ErrorFeedback", CHAIN, LAYERS])
def test_codecs_have_the_same_bits_on_ray(runs: Callable[..., Result], up: str) -> None:
    """Codec states live with the clients and randomness is keyed by client, so workers change nothing."""
    settings = (f"up_codec={up}", "down_codec=FP16")
    assert runs(*settings, "runtime=Ray(workers=3)").summary["digests"] == runs(*settings).summary["digests"]


def test_groups_have_the_same_bits_on_ray(runs: Callable[..., Result]) -> None:
    """A trunk of each of two groups, whose members are on several nodes."""
    share = (
        """model=ShareMap(model="MLP(hidden=(8,))", share={"trunk.*": "group"}, groups={"[02]": "even", "*": "b"})"""
    )
    settings = (share, "algorithm=Local(epochs=1)")
    assert runs(*settings, "runtime=Ray(workers=3)").summary["digests"] == runs(*settings).summary["digests"]


def saved(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model.safetensors")


def assert_coded(found: list[tuple[Path, dict[str, Any]]], folder: Path) -> None:
    """Runs of presets with chains and layers, in ``folder``, are those of one process."""
    for preset, summary in found:
        reference = run(load_experiment(preset, [SHORT]))
        assert summary["digests"]["ledger"] == reference.summary["digests"]["ledger"], preset.stem
        assert difference(saved(folder / preset.stem), reference.state) <= 1e-5, preset.stem


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
def test_flowers_own_simulation(runs: Callable[..., Result], tmp_path: Path) -> None:
    """``flwr run`` with a SuperLink that simulates two nodes; private state is in Flower's contexts."""
    with superlink(tmp_path / "home", simulation=True):
        summary = flwr_run(tmp_path / "home", TINY, SHORT, tmp_path / "out")
        coded = [(preset, flwr_run(tmp_path / "home", preset, SHORT, tmp_path / preset.stem)) for preset in CODED]
    reference = runs(SHORT)
    assert summary["digests"]["ledger"] == reference.summary["digests"]["ledger"]
    assert difference(saved(tmp_path / "out"), reference.state) <= 1e-6
    assert_coded(coded, tmp_path)


@pytest.mark.slow
def test_a_real_superlink_with_two_supernodes(runs: Callable[..., Result], tmp_path: Path) -> None:
    """Bytes in Flower's messages are the ledger's, to the byte; one node keeps private state on disk, one in memory."""
    configs = ["partition-id=0 num-partitions=2", f'clients="1,3,5" state-dir="{tmp_path / "state"}"']
    relays: list[Relay] = []

    def through(port: int) -> int:
        relays.append(Relay(port))
        return relays[0].port

    with deployment(tmp_path / "home", configs, through):
        summary = flwr_run(tmp_path / "home", TINY, SHORT, tmp_path / "out")
        assert_carried(summary["transport"], relays[0], flower_counter(tmp_path / "home"))
        coded = [(preset, flwr_run(tmp_path / "home", preset, SHORT, tmp_path / preset.stem)) for preset in CODED]
    reference = runs(SHORT)
    assert_coded(coded, tmp_path)
    assert summary["digests"]["ledger"] == reference.summary["digests"]["ledger"]
    assert difference(saved(tmp_path / "out"), reference.state) <= 1e-6
    assert summary["bytes"]["messages"] == {key: summary["bytes"][key] for key in ("down", "up")}
    assert summary["bytes"]["total"] == sum(row["packet_bytes"] for row in reference.ledger)
    stored = {path.parent.name for path in (tmp_path / "state").glob("*/*/*.state")}
    assert stored == {"1", "3", "5"} & {f"{c}" for cohort in cohorts(reference).values() for c in cohort}

"""One experiment, every runtime and engine: equal cohorts and ledgers, equal trunks.

The reference is the in-process node that trains its clients one by one. Between engines the trunk may differ
by float rounding (1e-6 a round allowed, 1e-5 after five), between runtimes and numbers of workers not at all.
Another share of a processor needs other workers, so tests are in the order of two, one and three of them.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fedmtl.data import from_arrays
from fedmtl.run_experiment import run
from fedmtl.runs.presets import load_experiment
from fedmtl.runs.result import Result

TINY = Path(__file__).with_name("tiny.toml")
SHORT = "rounds=2"
"""The second round begins with the states and memories of the first."""


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


@pytest.mark.parametrize("algorithm", ["Local", "Pooled", "FedAvg", "FedPer", "FedRep"])
def test_vmap_equals_loop_for_every_algorithm(runs: Callable[..., Result], algorithm: str) -> None:
    loop, vmap = (runs(SHORT, f"algorithm={algorithm}", f"engine={engine}") for engine in ("loop", "vmap"))
    assert loop.ledger == vmap.ledger
    if algorithm != "Local":
        assert difference(loop.state, vmap.state) <= 2e-6
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
    assert loop.ledger == vmap.ledger == ray.ledger and "ideal_bits" in ray.ledger[0]
    assert ray.summary["digests"] == loop.summary["digests"]
    assert difference(loop.state, vmap.state) <= 1e-5
    assert any(float(value.abs().max()) > 0.01 for value in loop.state.values())


@pytest.mark.parametrize("up", ["FP16", "Int8", "ErrorFeedback", "EF21(TopK(0.2))", CHAIN, LAYERS])
def test_codecs_have_the_same_bits_on_ray(runs: Callable[..., Result], up: str) -> None:
    """Codec states live with the clients and randomness is keyed by client, so workers change nothing."""
    settings = ("rounds=3", f"up_codec={up}", "down_codec=FP16")
    assert runs(*settings, "runtime=Ray(workers=3)").summary["digests"] == runs(*settings).summary["digests"]


def test_groups_have_the_same_bits_on_ray(runs: Callable[..., Result]) -> None:
    """A trunk of each of two groups, whose members are on several nodes."""
    share = (
        """model=ShareMap(model="MLP(hidden=(8,))", share={"trunk.*": "group"}, groups={"[02]": "even", "*": "b"})"""
    )
    settings = (share, "algorithm=Local(epochs=1)")
    assert runs(*settings, "runtime=Ray(workers=3)").summary["digests"] == runs(*settings).summary["digests"]

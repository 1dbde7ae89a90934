"""The server's part of a chain: noise on the mean of a round, wherever uploads are added up; and codecs by name."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fedmtl.algorithms import FedAMP, FedAvg, FedPer, Local, Pooled
from fedmtl.codecs import Chain, Dense
from fedmtl.codecs.transforms import ClipNorm, ServerGaussianNoise
from fedmtl.core.random import SERVER, rng
from fedmtl.run_experiment import run
from fedmtl.runs.result import Result
from tests.runtime.every import experiment
from tests.server.toy import make_toy

CLIP = Chain(ClipNorm(0.5), Dense())
NOISY = Chain(ClipNorm(0.5), ServerGaussianNoise(0.25))


def played(algorithm: Any, codec: Any, **settings: Any) -> Result:
    return run(experiment(algorithm, 12, cohort=8, up_codec=codec, **{"rounds": 1, **settings}))


def difference(one: Result, other: Result) -> float:
    return max(float((one.state[name] - other.state[name]).abs().max()) for name in one.state)


@pytest.mark.parametrize("engine", ["loop", "vmap"])
def test_the_mean_gets_the_noise_of_seed_and_round_on_each_array(engine: str) -> None:
    """By hand: normal numbers from (seed, round 1, server, "up"), array after array by name, 0.25 each. Uploads come
    one by one from ``loop`` and added up from ``vmap``; clients of four kinds of task share the trunk."""
    plain, noisy = (played(FedPer(epochs=1), codec, engine=engine) for codec in (CLIP, NOISY))
    draw = rng(0, 1, SERVER, "up")
    for name in sorted(plain.state):
        z = draw.standard_normal(tuple(plain.state[name].shape))
        expected = plain.state[name].double() + 0.25 * torch.from_numpy(np.asarray(z))
        assert torch.allclose(noisy.state[name].double(), expected, atol=1e-6)


@pytest.mark.parametrize("algorithm", [FedAvg(epochs=1), FedPer(epochs=1)], ids=repr)
def test_it_is_the_same_noise_where_nodes_add_up_and_where_they_do_not(algorithm: Any) -> None:
    """Heads of four tasks too, which not all clients send, and on a Ray worker each a part of the clients."""
    one, other, ray = (
        played(algorithm, NOISY, rounds=2, **settings)
        for settings in ({"engine": "loop"}, {"engine": "vmap"}, {"runtime": "Ray(workers=2)", "engine": "vmap"})
    )
    assert one.ledger == other.ledger == ray.ledger
    assert difference(one, other) < 1e-5 and difference(one, ray) < 1e-5
    assert difference(one, played(algorithm, CLIP, rounds=2)) > 0.1


def test_packets_are_those_without_it() -> None:
    plain, noisy = (played(FedPer(epochs=1), codec) for codec in (CLIP, NOISY))
    assert plain.ledger == noisy.ledger


def test_a_server_that_does_not_trust_its_nodes_adds_it_too() -> None:
    toy, plain = (make_toy(algorithm=FedPer(epochs=1), up_codec=codec) for codec in (NOISY, CLIP))
    for each in (toy, plain):
        each.play(1)
    gap = torch.cat([(toy.server.state[name] - value).flatten() for name, value in plain.server.state.items()])
    assert 0.1 < float(gap.std()) < 0.4


def test_an_algorithm_that_reads_single_uploads_is_refused_before_the_run() -> None:
    with pytest.raises(ValueError, match="sees the mean of the uploads alone, but the server of FedAMP.*use one that"):
        played(FedAMP(epochs=1), NOISY)


@pytest.mark.parametrize("algorithm", [Local(epochs=1), Pooled(epochs=1)], ids=repr)
def test_where_no_upload_is_sent_there_is_nothing_to_add(algorithm: Any) -> None:
    assert played(algorithm, NOISY).summary["digests"] == played(algorithm, CLIP).summary["digests"]


def test_globs_are_checked_against_the_packets_of_all_clients() -> None:
    """``head.binary_1.*`` is sent by some clients of FedAvg, and by none of FedPer."""
    chosen = experiment(
        FedAvg(epochs=1), 12, cohort=8, up_codec="PerLayer({'head.binary_1.*': Int8(), '*bias': FP16()})"
    )
    with pytest.raises(ValueError, match=r"head.binary_1.bias' is matched by 'head.binary_1.\*', .* and by '\*bias'"):
        run(chosen)
    chosen = replace(chosen, up_codec="PerLayer({'head.binary_1.*': Int8()})")
    assert run(chosen).summary["rounds"] == 2
    with pytest.raises(
        ValueError, match=r"up_codec: PerLayer: 'head.binary_1.\*' matches no parameter of a packet of FedPer.*trunk"
    ):
        run(replace(chosen, algorithm=FedPer(epochs=1)))
    with pytest.raises(
        ValueError, match=r"down_codec: PerLayer: 'conv\*' matches no parameter .*; mend the glob, or leave it out"
    ):
        run(replace(chosen, down_codec="PerLayer({'conv*': 'Int8()'})"))

"""Every algorithm with every codec: the pair learns what it learns uncoded, or is refused where it is read."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmtl.algorithms import Algorithm, FedAvg, Mocha, Scaffold
from fedmtl.algorithms.traits import Traits
from fedmtl.codecs import FP16, Chain, Codec, Dense, ErrorFeedback, Int8, PerLayer, TopK
from fedmtl.codecs.transforms import ClipNorm
from fedmtl.core.context import Context
from fedmtl.core.types import Payload, Upload
from fedmtl.registry.components import REGISTRY, make
from fedmtl.runs.experiment import Experiment, check_lossless
from fedmtl.verify import mocha
from fedmtl.verify.beats_local import MARGIN, Claim, alone, gain_of, learn
from fedmtl.verify.lookup import class_of
from fedmtl.verify.quadratic import clients, play
from tests.conftest import ALL_ALGORITHMS, tiny_model

FED_BACK = ErrorFeedback(TopK(0.3))
FOR_GOOD = [FP16(), Int8(), TopK(0.3)]
"""What these lose never arrives."""
LOSING: list[Codec[Any]] = [*FOR_GOOD, Chain(ClipNorm(1.0), FED_BACK.codec), PerLayer({"*": Int8()})]
"""Such codecs, with those that have a part of that kind."""
CODECS: list[Codec[Any]] = [
    Dense(),
    FED_BACK,
    ErrorFeedback(FP16()),
    Chain(FED_BACK),
    PerLayer({"*": FED_BACK}),
    *LOSING,
]

OTHERS: list[Codec[Any]] = [
    make("codec", name) for name in REGISTRY["codec"] if name not in {type(codec).__name__ for codec in CODECS}
]
"""The rest, which are read by their traits as those above."""
LOSING += [codec for codec in OTHERS if not (codec.traits.lossless or codec.traits.error_compensated)]
PAIRS = [(algorithm, codec) for codec in CODECS for algorithm in ALL_ALGORITHMS]
PAIRS += [
    (algorithm, codec) for codec in OTHERS for algorithm in ALL_ALGORITHMS if type(algorithm) in (Mocha, Scaffold)
]

Coded = Callable[[int, Payload, Payload], Payload]


def through(codec: Codec[Any]) -> Coded:
    """Uploads as the wire makes them: one float32 vector, the difference to the broadcast where that has its like."""
    states: dict[int, tuple[Any, np.random.Generator]] = {}

    def coded(client: int, up: Payload, down: Payload) -> Payload:
        flat: list[Tensor] = []
        for record, params in sorted(up.items()):
            flat += [(w - _reference(down, record, name, w)).flatten() for name, w in sorted(params.items())]
        x = torch.cat(flat).to(torch.float32).numpy()
        state, chance = states.get(client) or (codec.init(x.size), np.random.default_rng(client))
        data, state = codec.encode(x, state, chance)
        states[client] = (state, chance)
        pieces = iter(torch.from_numpy(codec.decode(data, x.size)).double().split([w.numel() for w in flat]))
        return {
            record: {
                name: _reference(down, record, name, w) + next(pieces).reshape(w.shape)
                for name, w in sorted(params.items())
            }
            for record, params in sorted(up.items())
        }

    return coded


def _reference(down: Payload, record: str, name: str, like: Tensor) -> Tensor:
    told = down.get(record, {}).get(name)
    return told if told is not None and told.shape == like.shape else torch.zeros_like(like)


class Lossy:
    """An algorithm whose server hears what the codec leaves; its codec is asked of nobody."""

    def __init__(self, algorithm: Algorithm[Any, Any], codec: Codec[Any]) -> None:
        self.inner, self.coded = algorithm, through(codec)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def aggregate(self, server: Any, uploads: Any, ctx: Context) -> Any:
        heard = [
            (k, self.coded(k, up.payload, self.inner.broadcast(server, k, ctx)), up.num_examples) for k, up in uploads
        ]
        return self.inner.aggregate(server, [(k, Upload(payload, n)) for k, payload, n in heard], ctx)


def refused(algorithm: Any, codec: Codec[Any]) -> bool:
    try:
        check_lossless(algorithm, codec)
    except ValueError:
        return True
    return False


@pytest.mark.parametrize(("algorithm", "codec"), PAIRS, ids=repr)
def test_a_pair_is_read_or_refused_with_both_names_the_reason_and_the_way_out(
    algorithm: Algorithm[Any, Any], codec: Codec[Any]
) -> None:
    if isinstance(algorithm, (Mocha, Scaffold)) and codec in LOSING:
        with pytest.raises(ValueError) as error:
            Experiment(algorithm=algorithm, up_codec=codec, model=tiny_model(algorithm))
        told = str(error.value)
        assert (
            repr(algorithm) in told
            and repr(codec) in told
            and algorithm.traits.needs_every_upload in told
            and "use Dense()" in told
        )
    else:
        assert Experiment(algorithm=algorithm, up_codec=codec, model=tiny_model(algorithm)).up_codec == codec


CLAIMS = {name: gain for name in REGISTRY["algorithm"] if isinstance(gain := gain_of(name), Claim)}


@pytest.mark.parametrize("codec", [Int8(), FED_BACK], ids=repr)
@pytest.mark.parametrize("name", CLAIMS)
def test_what_is_planted_is_learnt_through_the_codec(name: str, codec: Codec[Any]) -> None:
    """As without it: below 0.8 of the least that Local comes to (see verify/beats_local.py); bare TopK is slower."""
    claim = CLAIMS[name]
    algorithm = claim.make(class_of(name))
    if refused(algorithm, codec):
        return
    assert learn(algorithm, claim.problem(), claim.rounds, coded=through(codec))[-1] < MARGIN * alone(claim.problem)


def gap_and_parting(codec: Codec[Any]) -> tuple[float, float]:
    """MOCHA's P − D after 40 rounds with Σ = I/T, and how far the server's B is from that of the clients' α."""
    tasks, lam = mocha.planted(), 0.3
    made: Any = Lossy(Mocha(lam=lam, epochs=5, sigma_every=mocha.FIXED), codec)
    solved = mocha.solve(made, tasks, 40)
    primal, dual = mocha.bounds(tasks, solved, lam)
    heard = np.stack([solved.server.b[str(t)][mocha.HEAD].numpy()[0] for t in range(len(tasks))])
    return primal - dual, float(np.abs(heard - mocha.means(tasks, solved.alpha)).max())


def test_mocha_needs_all_of_its_uploads() -> None:
    """The gap closes with error feedback, to the float32 of the wire; without, B stays apart from α, and the gap open:
    by TopK's 0.7 of each change, and by as much as Int8 and FP16 round."""
    for codec in (Dense(), FED_BACK, ErrorFeedback(FP16())):
        gap, apart = gap_and_parting(codec)
        assert gap < 1e-7 and apart < 1e-5
    for codec, least in zip(FOR_GOOD, (1e-5, 1e-4, 1e-2), strict=True):
        gap, apart = gap_and_parting(codec)
        assert gap > 1e-9 and apart > least
    assert gap > 0.1


def test_scaffold_needs_all_of_its_uploads() -> None:
    """Off the optimum of 1/K Σ f_k, after 60 rounds of 5 steps: nothing with error feedback; else what c lost: with
    TopK more than FedAvg, which has no control variates."""
    federation, start = clients(), np.array([0.4, -0.3, 0.8, 0.1, -0.6])
    optimum = np.linalg.solve(sum(c.hessian for c in federation), sum(c.hessian @ c.star for c in federation))

    def off(algorithm: Any) -> float:
        return float(np.abs(play(algorithm, federation, start, 60).personal - optimum).max())

    scaffold = Scaffold(lr=0.1, epochs=5)
    assert off(Lossy(scaffold, Dense())) < 1e-6 and off(Lossy(scaffold, FED_BACK)) < 1e-3
    assert off(Lossy(scaffold, FP16())) > 1e-5 and off(Lossy(scaffold, Int8())) > 1e-4
    assert off(Lossy(scaffold, TopK(0.3))) > off(FedAvg(lr=0.1, epochs=5))


def test_all_codecs_are_paired() -> None:
    assert {type(codec).__name__ for _, codec in PAIRS} == REGISTRY["codec"].keys()


def test_a_wrapper_is_asked_for_what_it_wraps() -> None:
    class Around:
        traits = Traits()
        algorithm = Scaffold()

    for codec in (*CODECS, *OTHERS):
        assert refused(Around(), codec) is (codec in LOSING)

"""A user's own algorithm, codec and data in one file of sixty lines, run from a preset by import path.

The file is written from the public protocols alone and knows nothing of engines, packets or stores.
"""

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedmtl.algorithms import FedPer
from fedmtl.core.trees import sha256
from fedmtl.registry.allowed import beside
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import from_dict
from fedmtl.runs.presets import load_experiment
from fedmtl.runs.result import Result

USERS_FILE = '''
from dataclasses import dataclass

import numpy as np

from fedmtl import CodecTraits, LocalResult, Traits, TransformTraits, Upload, from_arrays
from fedmtl.codecs.base import check_vector
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.core.trees import select, sq_distance, weighted_mean


@dataclass(frozen=True)
class PersonalProx:
    """FedPer with a proximal term on the trunk: f_k + prox/2 |theta_k - theta|^2."""

    traits = Traits()

    prox: float = 0.1
    lr: float = 0.05
    epochs: int = 1

    def init_server(self, params, ctx):
        return select(params, "trunk.")

    def init_client(self, params, num_examples):
        return select(params, "head.")

    def broadcast(self, server, client, ctx):
        return {"trunk": server}

    def local_update(self, loss, down, private, batches, ctx):
        def objective(w, batch):
            return loss(w, batch) + self.prox / 2 * sq_distance(select(w, "trunk."), down["trunk"])

        w = sgd(objective, {**down["trunk"], **private}, batches, self.lr, self.epochs, ctx=ctx)
        return LocalResult(select(w, "head."), Upload({"trunk": select(w, "trunk.")}, num_examples(batches)))

    def aggregate(self, server, uploads, ctx):
        return weighted_mean((upload.payload["trunk"], upload.num_examples) for _, upload in uploads)

    def personal_params(self, down, private):
        return {**down["trunk"], **private}


@dataclass(frozen=True)
class Sign:
    """One bit a number and one scale, the mean magnitude."""

    traits = CodecTraits(delta_only=True)

    def init(self, size):
        return None

    def encode(self, x, state, rng):
        check_vector(self, x)
        return np.float32(np.abs(x).mean()).tobytes() + np.packbits(x >= 0).tobytes(), None

    def decode(self, data, size):
        bits = np.unpackbits(np.frombuffer(data, np.uint8, offset=4), count=size)
        return np.frombuffer(data, "<f4", 1) * np.where(bits, np.float32(1), np.float32(-1))


@dataclass(frozen=True)
class Half:
    """Half of each number on the way, doubled again."""

    traits = TransformTraits(lossless=True, unbiased=True)

    def apply(self, x, rng_for):
        return x / np.float32(2)

    def undo(self, x):
        return x * np.float32(2)


@dataclass(frozen=True)
class Wards:
    """Hospitals that measure two things, not all of them both."""

    hospitals: int = 6
    patients: int = 10

    def load(self, seed):
        draw = np.random.default_rng([seed, 77])
        clients = {}
        for hospital in range(self.hospitals):
            x = draw.normal(size=(self.patients, 4))
            labels = {"age": 50 + 10 * x[:, 0], "sick": (x[:, 1] > 0).astype(int)}
            labels["sick"][:2] = 0, 1
            clients[hospital] = x, labels if hospital % 2 else {"age": labels["age"]}
        return from_arrays(clients).load(seed)
'''

PRESET = """
name = "wards"
rounds = 4
cohort = 0.5
batch_size = 4
runtime = "InProcess"
algorithm = "users_wards:PersonalProx(prox=0.5)"
up_codec = { name = "ErrorFeedback", codec = "users_wards:Sign" }

[data]
name = "users_wards:Wards"
hospitals = 6

[model]
name = "MLP"
hidden = [5]
"""

NUMBERS = 4 * 5 + 5
"""Of the trunk: a layer from 4 inputs to 5 features."""


@pytest.fixture
def preset(tmp_path: Path) -> Iterator[Path]:
    """The user's folder: a preset, and a module beside it."""
    (tmp_path / "users_wards.py").write_text(USERS_FILE)
    path = tmp_path / "wards.toml"
    path.write_text(PRESET)
    before = list(sys.path)
    yield path
    sys.path[:] = before
    sys.modules.pop("users_wards", None)


def play(preset: Path, *settings: str, out: Path | None = None, resume: bool = False) -> Result:
    return run(load_experiment(preset, settings), out, resume=resume)


def test_a_preset_of_a_users_own_parts_runs_resumes_and_repeats(preset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = play(preset, out=out)
    assert set(result.summary["tasks"]) == {"age", "sick"}
    assert result.summary["tasks"]["age"]["clients"] == 6 and result.summary["tasks"]["sick"]["clients"] == 3
    assert result.summary["algorithm"] == "PersonalProx(prox=0.5, lr=0.05, epochs=1)"
    assert result.summary["up_codec"] == "ErrorFeedback(codec=Sign())"
    assert play(preset, out=out, resume=True).summary == result.summary
    assert play(preset).summary["digests"] == result.summary["digests"]


def test_its_experiment_is_written_down_and_read_back(preset: Path, tmp_path: Path) -> None:
    experiment = load_experiment(preset)
    assert from_dict(experiment.to_dict(), allowed=beside(preset)) == experiment
    play(preset, out=tmp_path / "out")
    written = tmp_path / "out" / "experiment.toml"
    assert load_experiment(written, allow=["users_wards"]) == experiment
    with pytest.raises(ValueError, match="no module 'users_wards' may be imported: .* allowed by --allow users_wards"):
        load_experiment(written)


def test_its_codec_sends_one_bit_a_number(preset: Path) -> None:
    """32 of header, 4 of scale, an eighth of 25 numbers."""
    up = {row["packet_bytes"] for row in play(preset).ledger if (row["direction"], row["purpose"]) == ("up", "train")}
    assert up == {32 + 4 + math.ceil(NUMBERS / 8)}


def test_its_codec_gives_the_sign_and_the_mean_magnitude(preset: Path) -> None:
    codec: Any = load_experiment(preset).up_codec.codec
    data, _ = codec.encode(np.array([1.0, -3.0, 0.0, 8.0], np.float32), None, np.random.default_rng(0))
    assert codec.decode(data, 4).tolist() == [3.0, -3.0, 3.0, 3.0]


def test_its_transform_and_codec_are_in_a_chain_and_by_layer(preset: Path, tmp_path: Path) -> None:
    """Half and double keep every bit of these numbers, so that the chain is the codec alone."""
    plain = play(preset, "up_codec=Dense")
    for chained in ("['users_wards:Half', 'Dense']", "users_wards:Half"):
        assert play(preset, f"up_codec={chained}").summary["digests"] == plain.summary["digests"]
    sign = play(preset, "up_codec={name='ErrorFeedback', codec='users_wards:Sign'}")
    inner = "{name='ErrorFeedback', codec=['users_wards:Half', 'users_wards:Sign']}"
    assert play(preset, f"up_codec={{name='PerLayer', layers={{'*'={inner}}}}}").ledger == sign.ledger
    with pytest.raises(ValueError, match="no module 'elsewhere' may be imported"):
        play(preset, "up_codec=['elsewhere:Half', 'Dense']", out=tmp_path / "out")


def test_its_algorithm_is_fedper_where_the_proximal_term_is_nothing(preset: Path) -> None:
    dense = ("up_codec=Dense", "engine=loop")  # whose bits do not depend on who is stacked with whom
    plain = play(preset, *dense, f"algorithm={FedPer(lr=0.05, epochs=1)!r}")
    nothing = play(preset, *dense, "algorithm={name='users_wards:PersonalProx', prox=0.0}")
    assert sha256(nothing.state) == sha256(plain.state)
    some = play(preset, *dense, "algorithm={name='users_wards:PersonalProx', prox=0.5, epochs=3}")
    more = play(preset, *dense, "algorithm={name='users_wards:PersonalProx', prox=5.0, epochs=3}")
    assert sha256(some.state) != sha256(more.state)


def test_its_parts_may_be_changed_one_by_one(preset: Path) -> None:
    for settings in (
        ["up_codec=users_wards:Sign"],
        ["up_codec=topk(keep=0.5)"],
        ["algorithm=FedRep"],
        ["algorithm=Pooled(epochs=1)"],
        ["data.hospitals=3", "cohort=2"],
        ["data=synthetic", "data.clients=4"],
    ):
        assert math.isfinite(play(preset, *settings, "rounds=1").summary["mean_score"])


def assert_engines_agree(one: Result, other: Result) -> None:
    assert one.summary["digests"]["ledger"] == other.summary["digests"]["ledger"]
    for name, value in one.state.items():
        assert torch.allclose(value, other.state[name], atol=1e-5), f"{name}: {(value - other.state[name]).abs().max()}"


def test_both_engines_run_it_alike(preset: Path) -> None:
    """Hospitals that own one task or both are in one cohort."""
    settings = ("up_codec=Dense", "cohort=1.0")
    assert_engines_agree(play(preset, *settings, "engine=loop"), play(preset, *settings, "engine=vmap"))


CLIPPED = '''

import torch
from torch.func import grad


@dataclass(frozen=True)
class Clipped(PersonalProx):
    """One step with weight decay on the whole model, its gradient cut to a norm: reads every parameter at once."""

    def local_update(self, loss, down, private, batches, ctx):
        def objective(w, batch):
            return loss(w, batch) + 0.5 * sum((value**2).sum() for value in w.values())

        w = {**down["trunk"], **private}
        g = grad(objective)(w, batches[0])
        norm = torch.sqrt(sum((value**2).sum() for value in g.values()))
        scale = 0.1 / torch.clamp(norm, min=0.1)
        w = {name: value - scale * g[name] for name, value in w.items()}
        return LocalResult(select(w, "head."), Upload({"trunk": select(w, "trunk.")}, num_examples(batches)))
'''


AVERAGED = '''

import torch


@dataclass(frozen=True)
class Averaged(PersonalProx):
    """The step is as long as the client's private numbers are large on average: counts them."""

    def local_update(self, loss, down, private, batches, ctx):
        size = torch.cat([value.abs().flatten() for value in private.values()]).mean()
        head, (payload, n), _ = PersonalProx.local_update(self, loss, down, private, batches, ctx)
        old = down["trunk"]
        trunk = {name: old[name] + size * (value - old[name]) for name, value in payload["trunk"].items()}
        return LocalResult(head, Upload({"trunk": trunk}, n))
'''


@pytest.mark.parametrize(("name", "text"), [("Clipped", CLIPPED), ("Averaged", AVERAGED)])
def test_an_algorithm_that_reads_all_its_heads_sees_its_own_with_either_engine(
    name: str, text: str, preset: Path
) -> None:
    """A norm or a mean over a client's parameters is over its own, whoever is in the cohort beside it."""
    with open(preset.parent / "users_wards.py", "a") as file:
        file.write(text)
    settings = ("up_codec=Dense", "cohort=1.0", f"algorithm=users_wards:{name}")
    assert_engines_agree(play(preset, *settings, "engine=loop"), play(preset, *settings, "engine=vmap"))


BROKEN = {
    "a method is missing": (
        "    def aggregate(self, server, uploads, ctx):",
        "    def aggregat(self, server, uploads):",
        "is without aggregate; a component of this kind",
    ),
    "a field is unknown": (
        "    prox: float = 0.1",
        "    proxy: float = 0.1",
        "has no field 'prox'; its fields are proxy",
    ),
    "an import is missing": ("import numpy as np", "import numpyy as np", "no module 'numpyy'"),
    "the class is not there": ("class PersonalProx", "class Prox", "module users_wards has no 'PersonalProx'"),
}
"""What is wrong with the user's file -> what stands there, what stands there instead, what is said."""


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_with_a_users_file_is_said(case: str, preset: Path, tmp_path: Path) -> None:
    right, wrong, message = BROKEN[case]
    assert right in USERS_FILE
    (tmp_path / "users_wards.py").write_text(USERS_FILE.replace(right, wrong))
    with pytest.raises(ValueError, match=message) as error:
        play(preset, out=tmp_path / "out")
    assert str(preset) in str(error.value) and not (tmp_path / "out").exists()

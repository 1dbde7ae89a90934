"""HeteroFL in whole runs: bytes, sizes of models, private heads, resume, runtimes, and its refusals."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedmtl.algorithms import FedAvg, FedPer, HeteroFL, LayerSchedule, MaTFL
from fedmtl.codecs import EF21, Dense, ErrorFeedback, TopK
from fedmtl.core.trees import sha256
from fedmtl.models import CNN, GRU, MLP, BagOfEmbeddings, LoRA, ResNet, ShareMap, TransformerEncoder
from fedmtl.models.narrow import narrowed
from fedmtl.models.split import build
from fedmtl.protocol.plan_check import check_plan
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.progress import Progress
from fedmtl.runs.result import Result
from fedmtl.tasks import MultiClass
from tests import toys
from tests.cases import case
from tests.server.caught import leaked_values, play, private_pairs
from tests.toys import mixed

DATA = mixed(examples=8, test_examples=4, features=6, classes=3, ragged=True)
"""Five clients of four kinds of task."""

WIDTHS = {"0": 1, "[12]": 0.5, "*": 0.25}
SIZE = {
    client: 4 * 7 + 3 * 5 if client == 0 else 2 * 7 + 2 * 3 if client in (1, 2) else 1 * 7 + 1 * 2
    for client in range(5)
}
"""Numbers of the trunk of MLP((4, 3)) on 6 features, 6 → 4 → 3, 6 → 2 → 2 and 6 → 1 → 1, each with biases."""


DEVICES = "DeviceClasses([9, 3, 1], [1, 1, 1], [1, 1, 1], ['fast', 'mid', 'slow'])"


def by_class(slow: str) -> HeteroFL:
    return HeteroFL(FedPer(epochs=1), {"4": 1, f"device:{slow}": 0.25, "device:m*": 0.5, "*": 1})


def experiment(**changes: Any) -> Experiment:
    values: dict[str, Any] = {
        "data": DATA,
        "model": MLP((4, 3)),
        "algorithm": HeteroFL(FedPer(lr=0.05, epochs=1), WIDTHS),
        "cohort": 4,
        "engine": "loop",
    }
    return toys.experiment(**{**values, **changes})


@pytest.fixture(scope="module")
def local() -> Result:
    return run(experiment())


def test_bytes_are_those_of_the_slices(local: Result) -> None:
    """32 of header and 4 a number, both ways, in training and where the last model is measured."""
    seen = set()
    for row in local.ledger:
        if (row["direction"], row["purpose"]) != ("up", "evaluate"):
            assert row["packet_bytes"] == 32 + 4 * SIZE[row["client"]], row
            seen.add(row["client"])
    assert seen == set(range(5))


def test_runtimes_and_engines_agree(local: Result) -> None:
    """Stacked, clients of one width and equal tasks are together."""
    ray = run(experiment(runtime="Ray(workers=2)"))
    assert ray.summary["digests"] == local.summary["digests"] and ray.ledger == local.ledger
    stacked = run(experiment(engine="vmap"))
    assert stacked.ledger == local.ledger
    assert max(float((stacked.state[name] - w).abs().max()) for name, w in local.state.items()) < 1e-6


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("up_codec", [ErrorFeedback(TopK(0.25)), EF21(TopK(0.25))], ids=repr)
def test_a_killed_run_goes_on_with_the_same_bits(tmp_path: Path, up_codec: Any) -> None:
    """With memories of the sizes of the slices, and broadcasts that are changes of a model of each width."""
    coded = {"up_codec": up_codec, "down_codec": TopK(0.25)}

    def kill(progress: Progress) -> None:
        if progress.round == 2:
            raise Killed

    with pytest.raises(Killed):
        run(experiment(**coded), tmp_path / "run", on_round=kill)
    again, whole = run(experiment(**coded), tmp_path / "run", resume=True), run(experiment(**coded))
    assert again.summary["digests"] == whole.summary["digests"] and again.ledger == whole.ledger
    shapes = {name: tuple(w.shape) for name, w in again.model(3).named_parameters()}
    assert shapes["trunk.1.weight"][0] == 1


def test_clients_have_small_models_and_what_none_has_stays(local: Result) -> None:
    for client, widths in ((0, (4, 3)), (1, (2, 2)), (3, (1, 1))):
        shapes = {name: tuple(w.shape) for name, w in local.model(client).named_parameters()}
        assert [shapes[f"trunk.{layer}.weight"][0] for layer in (1, 3)] == list(widths)
        heads = [shape for name, shape in shapes.items() if name.startswith("head.") and name.endswith("weight")]
        assert {shape[1] for shape in heads} == {widths[1]}
    halves = experiment(algorithm=HeteroFL(FedAvg(lr=0.05, epochs=1), {"*": 0.5}))
    first, ended = halves.make_plan(halves.load()).initial, run(halves).state
    for name, size in (("trunk.1.weight", (2, 6)), ("trunk.3.weight", (2, 2)), ("trunk.3.bias", (2,))):
        moved = ended[name] != first[name]
        held = torch.zeros_like(moved)
        held[tuple(map(slice, size))] = True
        assert moved[held].any() and not moved[~held].any(), name


def test_widths_of_1_are_the_wrapped_algorithm() -> None:
    """By one line for all, and by a line for each client, where means are taken number by number."""
    plain = run(experiment(algorithm=FedAvg(lr=0.05, epochs=1)))
    for widths in ({"*": 1}, {"0": "1", "*": "1.0"}):
        found = run(experiment(algorithm=HeteroFL(FedAvg(lr=0.05, epochs=1), widths)))
        assert sha256(dict(found.state)) == sha256(dict(plain.state)) and found.ledger == plain.ledger


def test_private_heads_stay_private() -> None:
    """No two numbers of a head, before or after a round, are in any packet."""
    caught = play(HeteroFL(FedPer(epochs=1), WIDTHS), (Dense(), Dense()), engine="loop")
    private = private_pairs(caught)
    assert len(private) > 30 and leaked_values(caught, private) == 0


@pytest.mark.parametrize(
    ("model", "shape", "integer"),
    [(MLP((5, 3)), (4,), False), (CNN((3, 5), hidden=7), (1, 8, 8), False), (BagOfEmbeddings(20, 6), (5,), True)],
    ids=repr,
)
def test_a_narrow_model_is_the_whole_one_without_the_rest(model: Any, shape: tuple[int, ...], integer: bool) -> None:
    """With ReLU, units whose weights into the next layer are 0 change no output."""
    module = build(model, shape, {"t": MultiClass(3)}, 0, integer)
    draw = torch.Generator().manual_seed(1)
    x = torch.randint(1, 20, (2, *shape), generator=draw) if integer else torch.randn(2, *shape, generator=draw)
    small = narrowed(module, Fraction("0.4"), ("trunk.*",), x[:1])
    blocks = dict(small.named_parameters())
    assert sum(w.numel() for w in blocks.values()) < sum(w.numel() for w in module.parameters())
    with torch.no_grad():
        found = small(x)["t"]
        for name, w in module.named_parameters():
            block = torch.zeros_like(w)
            block[tuple(map(slice, blocks[name].shape))] = blocks[name]
            w.copy_(block)
        assert torch.allclose(module(x)["t"], found, atol=1e-6)


def test_networks_with_norms_and_chosen_layers() -> None:
    """ResNet-8 of 16, 32 and 64 channels, halved; of an MLP the first layer; of a transformer 3 of 6 units inside."""
    x = torch.rand(1, 3, 8, 8)
    for norm in ("group", "batch"):
        module = build(ResNet(norm=norm), (3, 8, 8), {"t": MultiClass(3)}, 0, False)
        small: Any = narrowed(module, Fraction(1, 2), ("trunk.*",), x)
        assert small.head["t"].weight.shape == (3, 32) and small(x)["t"].shape == (1, 3)
    module = build(MLP((5, 3)), (4,), {"t": MultiClass(3)}, 0, False)
    small = narrowed(module, Fraction(1, 2), ("trunk.1.*",), torch.rand(1, 4))
    assert [tuple(w.shape) for w in small.parameters()] == [(3, 4), (3,), (3, 3), (3,), (3, 3), (3,)]
    module = build(TransformerEncoder(20, width=8, heads=2, layers=1, hidden=6), (5,), {"t": MultiClass(3)}, 0, True)
    small = narrowed(module, Fraction(1, 2), ("*.up.weight",), torch.ones(1, 5, dtype=torch.int64))
    assert sum(w.numel() for w in module.parameters()) - sum(w.numel() for w in small.parameters()) == 3 * (8 + 1 + 8)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"algorithm": HeteroFL(FedPer(), {"0": 0.5})}, "no glob of widths matches client 1"),
        ({"algorithm": HeteroFL(FedPer(), {"*": 0.5, "0": 1})}, "widths: '0' is no client, or a line before it"),
        ({"algorithm": by_class("slow")}, r"'device:slow' is of a class of devices, .* set devices = DeviceClasses\("),
        ({"algorithm": by_class("slwo"), "devices": DEVICES}, "no class of devices, .* Did you mean device:slow"),
        (
            {"algorithm": HeteroFL(FedPer(), {"*": 0.5, "device:slow": 1}), "devices": DEVICES},
            "widths: 'device:slow' is no client, or a line before it",
        ),
        ({"algorithm": HeteroFL(FedPer(), {"*": 0.5}, ("trunk.2.*",))}, "units='trunk.2.*' matches no weight"),
        ({"algorithm": HeteroFL(FedPer(), {"*": 0.5}, ("*",))}, "cuts outputs of tasks"),
        ({"model": ShareMap(MLP((4, 3)), {"head.*": "shared"})}, "leave out that glob"),
        ({"policy": "FedBuff(buffer=2)", "link": "Constant(1, 1)"}, "differences from one model"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_before_the_run(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        run(experiment(**changes))


def test_models_and_algorithms_that_do_not_fit() -> None:
    for model, shape, width, words in (
        (TransformerEncoder(20, width=8, heads=2, layers=1), (5,), "1/2", "does not fit together: .* let units name"),
        (GRU(hidden=4), (2, 6), "1/2", "narrows linear layers, .* is a GRU"),
        (LoRA(MLP((6,)), rank=2), (4,), "1/2", "trunk and heads"),
        (ResNet(), (3, 8, 8), "0.3", "no multiple of"),
    ):
        with case(model):
            integer = len(shape) == 1 and isinstance(model, TransformerEncoder)
            module = build(model, shape, {"t": MultiClass(3)}, 0, integer)
            x = torch.ones(1, *shape, dtype=torch.int64 if integer else torch.float32)
            with pytest.raises(ValueError, match=words):
                narrowed(module, Fraction(width), ("trunk.*",), x)
    for widths in ({"*": 1.5}, {"*": "x"}, {"*": "1/0"}):
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            HeteroFL(FedPer(), widths)
    with pytest.raises(ValueError, match="send a trunk, heads or a model to all clients"):
        HeteroFL(MaTFL())
    with pytest.raises(ValueError, match="HeteroFL goes outside, and so does LayerSchedule; take one"):
        LayerSchedule(HeteroFL(FedPer(), {"*": 0.5}), {"trunk.1.*": 2})
    with pytest.raises(ValueError, match="LayerSchedule goes outside, and so does HeteroFL; take one"):
        HeteroFL(LayerSchedule(FedPer(), {"trunk.1.*": 2}))


def test_widths_by_class_of_devices() -> None:
    """The class is that of the clock, by the seed; of two lines that match, the first decides; both sides know them."""
    digests = set()
    for seed in range(3):
        chosen = experiment(algorithm=by_class("slow"), devices=DEVICES, seed=seed)
        plan = chosen.make_plan(chosen.load())
        classes = chosen.devices.classes(seed, np.arange(5)).tolist()
        assert len(set(classes)) > 1 and plan.widths is not None
        found = [plan.widths.of[client] for client in range(5)]
        assert found[:4] == [("1", "0.5", "0.25")[k] for k in classes[:4]] and found[4] == "1"
        check_plan(plan, plan.owners)
        digests.add(plan.digest)
        other = experiment(algorithm=by_class("1"), devices=DEVICES.replace(", ['fast', 'mid', 'slow']", ""), seed=seed)
        with pytest.raises(ValueError, match="'device:m.' matches no class of devices, which are device:0, device:1"):
            other.make_plan(other.load())
    moved = experiment(algorithm=by_class("slow"), devices=DEVICES.replace("[1, 1, 1], [", "[1, 2, 1], ["), seed=0)
    assert len(digests) == 3 and moved.make_plan(moved.load()).digest not in digests


def test_models_of_other_shapes_are_drawn_alike() -> None:
    """A client's first head is the leading block of the one that it would have."""
    chosen = experiment()
    plan = chosen.make_plan(chosen.load())
    small = plan.of(3).initial
    for name, w in plan.initial.items():
        assert torch.equal(small[name], w[tuple(map(slice, small[name].shape))])
    assert np.all([plan.of(client) is plan.of(4) for client in (3, 4)]) and plan.of(1).digest == plan.digest

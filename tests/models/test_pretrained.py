"""Trunks that start from a file of weights: the numbers of the file, in every process, and refusals of others."""

import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fedmtl import BagOfEmbeddings, Experiment, FedAvg, FedPer, FromModule, Local, Pretrained, ShareMap, run
from fedmtl.core.fingerprint import fingerprint
from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.models.split import build, initial_params
from fedmtl.models.weights_file import read_weights
from fedmtl.registry.components import describe, make
from fedmtl.runs.experiment import from_dict
from fedmtl.tasks import MultiClass, Task
from tests.models.user_modules import OneHead, TwoHeads

TASKS: dict[str, Task] = {"kind": MultiClass(3), "side": MultiClass(2)}
BAG = BagOfEmbeddings(9, width=4, hidden=5)
LENGTH = 6


@dataclass(frozen=True)
class Words:
    """Four clients with texts of nine tokens."""

    def load(self, seed: int) -> Federation:
        clients = {}
        for k in range(4):
            draw = np.random.default_rng([seed, k])
            parts = []
            for rows in (7 + k, 4):
                x = draw.integers(1, 9, (rows, LENGTH))
                parts.append(Split(x, {"kind": draw.integers(0, 3, rows).astype(np.float32)}))
            clients[k] = ClientData(*parts)
        return Federation({"kind": MultiClass(3)}, (LENGTH,), clients)


def numbers(module: nn.Module, seed: int = 1) -> dict[str, Tensor]:
    """A state-dict of the module, drawn anew; counts are 3."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(value.shape, generator=generator) if value.is_floating_point() else torch.full_like(value, 3)
        for name, value in module.state_dict().items()
    }


WEIGHTS = numbers(BAG.trunk((LENGTH,)))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    save_file(WEIGHTS, folder / "bag.safetensors")
    torch.save(WEIGHTS, folder / "bag.pt")
    torch.save({"epoch": 3, "state_dict": WEIGHTS, "optimizer": {"state": {}}}, folder / "checkpoint.pt")
    whole = {f"encoder.{n}": v for n, v in WEIGHTS.items()} | {"fc.bias": torch.ones(2)}
    save_file(whole, folder / "whole.safetensors")
    run_names = {f"trunk.{n}": v for n, v in WEIGHTS.items()} | {"head.kind.bias": torch.ones(3)}
    save_file(run_names, folder / "model.safetensors")
    save_file({n: v for n, v in WEIGHTS.items() if n.startswith("embed")}, folder / "words.safetensors")
    save_file({"embed.weight": WEIGHTS["embed.weight"].half()}, folder / "half.safetensors")
    save_file(numbers(BagOfEmbeddings(8, width=4, hidden=5).trunk((LENGTH,))), folder / "smaller.safetensors")
    return folder


def trunk_of(model: Any, input_shape: tuple[int, ...] = (LENGTH,), integer: bool = True) -> dict[str, Tensor]:
    """All numbers of a model's trunk, frozen ones too."""
    module = build(model, input_shape, TASKS, 0, integer)
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name.removeprefix("trunk."): value for name, value in state.items() if name.startswith("trunk.")}


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


# ---- numbers of the file --------------------------------------------------------------------------------------------

FITTING: dict[str, dict[str, Any]] = {
    "bag.safetensors": {},
    "bag.pt": {},
    "checkpoint.pt": {},
    "whole.safetensors": {"rename": {"encoder.": ""}, "skip": ("fc.*",)},
    "model.safetensors": {},
}


@pytest.mark.parametrize("name", FITTING)
def test_the_trunk_has_the_numbers_of_the_file(files: Path, name: str) -> None:
    model = Pretrained(BAG, str(files / name), **FITTING[name])
    assert_equal(trunk_of(model), WEIGHTS)
    assert_equal(trunk_of(ShareMap(model, {"trunk.embed.*": "private"})), WEIGHTS)
    heads = {n: v for n, v in initial_params(build(BAG, (LENGTH,), TASKS, 0, True)).items() if n.startswith("head.")}
    found = initial_params(build(model, (LENGTH,), TASKS, 0, True))
    assert all(torch.equal(found[name], value) for name, value in heads.items())


def test_what_the_file_lacks_is_drawn_as_without_it(files: Path) -> None:
    found = trunk_of(Pretrained(BAG, str(files / "words.safetensors"), fresh=("hidden.*",)))
    drawn = trunk_of(BAG)
    assert_equal(found, {**drawn, "embed.weight": WEIGHTS["embed.weight"]})
    found = trunk_of(Pretrained(BAG, str(files / "half.safetensors"), fresh=("hidden.*",)))
    assert torch.equal(found["embed.weight"], WEIGHTS["embed.weight"].half().float())


def test_frozen_parameters_are_in_no_packet(files: Path) -> None:
    """9 · 4 numbers of embeddings are frozen; 4 · 5 + 5 of the hidden layer and 5 · 3 + 3 of the head are sent."""
    sizes = {}
    for freeze in ((), ("embed.*",)):
        model = Pretrained(BAG, str(files / "bag.pt"), freeze=freeze)
        plan = Experiment(data=Words(), model=model, algorithm=FedAvg()).make_plan(Words().load(0))
        sizes[freeze] = sum(value.numel() for value in plan.initial.values())
        assert_equal({n: v for n, v in trunk_of(model).items()}, WEIGHTS)
    assert sizes == {(): 36 + 25 + 18, ("embed.*",): 25 + 18}


def test_rows_of_int8_are_multiples_of_their_scale(tmp_path: Path) -> None:
    codes = torch.tensor([[127, -5], [1, 0]], dtype=torch.int8)
    scale = torch.tensor([0.5, 2.0], dtype=torch.float16)
    save_file({"a.weight": codes, "a.weight.scale": scale, "b.scale": torch.ones(1)}, tmp_path / "a.safetensors")
    found = read_weights(str(tmp_path / "a.safetensors"))
    assert_equal(found, {"a.weight": torch.tensor([[63.5, -2.5], [2.0, 0.0]]), "b.scale": torch.ones(1)})


@pytest.mark.parametrize(
    ("make_module", "given", "more"),
    [
        (OneHead, {"heads": "fc"}, {}),  # the last layer is replaced, and its numbers in the file are left out
        (OneHead, {"trunk": "body"}, {"rename": {"body.": ""}, "skip": ("fc.*",)}),
        (TwoHeads, {}, {}),  # heads are in the module, and begin with the file's numbers
    ],
    ids=["last layer", "submodule", "outputs by task"],
)
def test_a_users_module_starts_from_its_state_dict(
    make_module: Any, given: dict[str, Any], more: dict[str, Any], tmp_path: Path
) -> None:
    weights = numbers(make_module())
    torch.save(weights, tmp_path / "net.pt")
    recipe: Any = FromModule(make_module(), **given)
    model = Pretrained(recipe, str(tmp_path / "net.pt"), freeze=("*1.weight",), **more)
    module = build(model, (2, 4), TASKS, 0, False)
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    found = {name: value for name, value in state.items() if name.startswith(("trunk.body.", "trunk.backbone."))}
    for name, value in found.items():
        assert torch.equal(value, weights[name.removeprefix("trunk.")]), name
    assert len(found) >= 2 and any(name.endswith("1.weight") for name in dict(module.named_buffers()))
    if make_module is TwoHeads:
        assert torch.equal(state["head.kind.fc1.weight"], weights["fc1.weight"])
        assert torch.equal(found["trunk.backbone.2.running_var"], weights["backbone.2.running_var"])


# ---- as a component -------------------------------------------------------------------------------------------------


def test_texts_tables_and_objects_make_the_same_model(files: Path) -> None:
    path = str(files / "whole.safetensors")
    model = Pretrained(BAG, path, rename={"encoder.": ""}, skip=["fc.*"], freeze=["embed.*"])  # type: ignore[arg-type]
    assert make("model", describe("model", model)) == model and pickle.loads(pickle.dumps(model)) == model
    call = f"Pretrained(BagOfEmbeddings(9, width=4, hidden=5), {path!r}, rename=['encoder.='], skip=['fc.*'], "
    assert make("model", call + "freeze=['embed.*'])") == model
    text: Any = "BagOfEmbeddings(9, width=4, hidden=5)"
    assert make("model", replace(model, model=text)) == model
    whole: Any = ShareMap(replace(model, model=text), {"trunk.*": "shared"})
    assert make("model", whole) == ShareMap(model, {"trunk.*": "shared"})
    experiment = Experiment(model=whole)
    assert from_dict(experiment.to_dict()) == experiment


def test_a_plan_and_a_fingerprint_go_by_the_bytes(files: Path, tmp_path: Path) -> None:
    """Weights that are not frozen, too: a node whose private trunks would start elsewhere runs another experiment."""
    (tmp_path / "moved.bin").write_bytes((files / "bag.pt").read_bytes())
    models = [Pretrained(BAG, str(path)) for path in (files / "bag.pt", tmp_path / "moved.bin")]
    save_file(numbers(BAG.trunk((LENGTH,)), seed=2), tmp_path / "other.safetensors")
    models.append(Pretrained(BAG, str(tmp_path / "other.safetensors")))
    plans = [Experiment(data=Words(), model=model).make_plan(Words().load(0)) for model in models]
    same, moved, other = [(plan.digest, fingerprint(model)) for plan, model in zip(plans, models, strict=True)]
    assert same == moved and same[0] != other[0] and same[1] != other[1]


def test_a_run_starts_from_the_file_and_ends_alike_on_ray(files: Path) -> None:
    model = Pretrained(BAG, str(files / "bag.safetensors"), freeze=("embed.*",))
    given: dict[str, Any] = {"data": Words(), "model": model, "algorithm": FedPer(lr=0.1), "rounds": 2}
    here = run(Experiment(**given, runtime="InProcess", engine="Loop"))
    ray = run(Experiment(**given, runtime="Ray(workers=2)", engine="Loop"), in_process=True)
    assert here.summary["digests"] == ray.summary["digests"]
    client = here.model(2)
    assert torch.equal(client.get_buffer("trunk.embed.weight"), WEIGHTS["embed.weight"])


# ---- what does not fit ----------------------------------------------------------------------------------------------


class Marker:
    """A pickle of it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    for name, content in {"a": {"embed.weight": Marker(tmp_path / "ran")}, "b": OneHead()}.items():
        torch.save(content, tmp_path / name)
        (tmp_path / f"{name}.pickle").write_bytes(pickle.dumps(content))
        for file in (tmp_path / name, tmp_path / f"{name}.pickle"):
            with pytest.raises(ValueError, match="objects of other classes are not unpickled.*save it again"):
                Pretrained(BAG, str(file)).trunk((LENGTH,))
    assert not (tmp_path / "ran").exists()


BAD_WEIGHTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "another width": (
        lambda f: Pretrained(replace(BAG, vocabulary=9), str(f / "smaller.safetensors")),
        r"weights of another model: other shapes have embed.weight \(\(8, 4\) in the file, \(9, 4\) in the model\). "
        "Take the model that the file is of",
    ),
    "another model": (
        lambda f: Pretrained(BagOfEmbeddings(9, width=4), str(f / "bag.pt")),
        r"the model has no hidden.0.weight, hidden.0.bias. .*skip=\[",
    ),
    "a prefix": (
        lambda f: Pretrained(BAG, str(f / "whole.safetensors")),
        r'lacks embed.weight, hidden.0.weight, hidden.0.bias; .*give rename=\{"encoder.": ""\}, and skip=\["fc.\*"\]',
    ),
    "layers that it lacks": (
        lambda f: Pretrained(BAG, str(f / "words.safetensors")),
        r"the file lacks hidden.0.weight, hidden.0.bias. .*fresh=\[",
    ),
    "a prefix that it lacks": (
        lambda f: Pretrained(BAG, str(f / "whole.safetensors"), rename={"encodr.": ""}),
        "no name in the file begins with 'encodr.'; .*Did you mean encoder.",
    ),
    "a glob in vain": (
        lambda f: Pretrained(BAG, str(f / "bag.pt"), freeze=("embd.*",)),
        r"freeze: 'embd.\*' matches no name in the trunk, which has embed.weight",
    ),
    "other bytes": (
        lambda f: Pretrained(BAG, str(f / "bag.pt"), sha256="0123456789abcdef"),
        "bag.pt' are others: their SHA-256 is .*and sha256 says 0123456789ab…",
    ),
    "a folder": (lambda f: Pretrained(BAG, str(f)), "weights are a file, safetensors or a state-dict"),
    "no path": (lambda f: Pretrained(BAG), "takes the path of a file"),
    "no mapping": (lambda f: Pretrained(BAG, "x", rename="encoder."), "rename maps beginnings of names"),
    "no globs": (lambda f: Pretrained(BAG, "x", freeze="embed.*"), "freeze is a list of globs"),  # type: ignore
    "two maps": (
        lambda f: ShareMap(Pretrained(ShareMap(BAG), str(f / "bag.pt")), {"trunk.*": "shared"}),
        "two share maps",
    ),
}


@pytest.mark.parametrize("case", BAD_WEIGHTS)
def test_weights_that_do_not_fit(files: Path, case: str) -> None:
    make_model, message = BAD_WEIGHTS[case]
    with pytest.raises(ValueError, match=message) as caught:
        build(make_model(files), (LENGTH,), TASKS, 0, True)
    assert "\n" not in str(caught.value)


DAMAGED: dict[str, tuple[bytes | dict[Any, Any], str]] = {
    "nothing": (b"", "neither safetensors nor a state-dict"),
    "noise": (bytes(range(256)) * 8, "neither safetensors nor a state-dict"),
    "half a safetensors": (b"\x10\0\0\0\0\0\0\0{", "no whole safetensors file"),
    "no names": ({1: torch.ones(2)}, "1 is a int, and no tensor|1 is a Tensor, and no tensor with a name"),
    "plain values": ({"a": 3.0, "b": torch.ones(2)}, "'a' is a float, and no tensor with a name"),
    "no tensors": ({}, "hold dict, and no state-dict"),
    "not finite": ({"embed.weight": torch.tensor([1.0, torch.nan])}, "embed.weight holds NaN or infinity"),
    "complex": ({"embed.weight": torch.ones(2, dtype=torch.complex64)}, "embed.weight is no plain tensor of numbers"),
    "sparse": ({"embed.weight": torch.eye(2).to_sparse()}, "embed.weight is no plain tensor of numbers"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_files_that_are_no_weights(tmp_path: Path, case: str) -> None:
    content, message = DAMAGED[case]
    if isinstance(content, bytes):
        (tmp_path / "a.pt").write_bytes(content)
    else:
        torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=message) as caught:
        read_weights(str(tmp_path / "a.pt"))
    assert "a.pt" in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no file of weights .*each node reads it from its own disk"):
        Pretrained(BAG, str(tmp_path / "none.pt")).trunk((LENGTH,))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="weights are a file"):
        read_weights(str(tmp_path / "pipe"))


def test_lazy_layers_have_no_shape(files: Path) -> None:
    @dataclass(frozen=True)
    class Lazy:
        def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
            return nn.Sequential(nn.Flatten(), nn.LazyLinear(3))

        def head(self, features: int, outputs: int) -> nn.Module:
            return nn.Linear(features, outputs)

    with pytest.raises(ValueError, match="1.weight has no shape before the first call; give the layer its size"):
        build(Pretrained(Lazy(), str(files / "bag.pt")), (LENGTH,), TASKS, 0, False)


def test_private_trunks_start_from_the_file_too(files: Path) -> None:
    model = Pretrained(BAG, str(files / "bag.pt"))
    plan = Experiment(data=Words(), model=model, algorithm=Local()).make_plan(Words().load(0))
    private = plan.init_client(("kind",), 7)
    found = {name: value for name, value in private.items() if name.startswith("trunk.")}
    assert_equal({name.removeprefix("trunk."): value for name, value in found.items()}, WEIGHTS)

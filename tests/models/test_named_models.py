"""Models of timm and transformers by name: what those packages compute, from folders, without a hub."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fedmtl import Experiment, FedAvg, Pretrained, Timm, Transformers, run
from fedmtl.core.fingerprint import fingerprint
from fedmtl.models.split import build, initial_params
from fedmtl.registry.components import describe, make
from fedmtl.tasks import MultiClass, Task
from tests.models.test_pretrained import LENGTH, Words

TASKS: dict[str, Task] = {"kind": MultiClass(3)}


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The folder of a small encoder with weights, as ``save_pretrained`` writes it, and the encoder."""
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.BertConfig(vocab_size=9, max_position_embeddings=LENGTH, **sizes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = transformers.BertModel(config).eval()
    folder = tmp_path_factory.mktemp("bert")
    encoder.save_pretrained(folder)
    return folder, encoder


def texts() -> Tensor:
    x = torch.randint(1, 9, (3, LENGTH), generator=torch.Generator().manual_seed(1))
    x[1, 2:] = 0
    return x


def test_features_are_the_mean_of_hidden_states(bert: tuple[Path, Any]) -> None:
    """Of the tokens without padding, which transformers itself is told by a mask of two dimensions."""
    folder, encoder = bert
    x = texts()
    mask = (x != 0).long()
    with torch.no_grad():
        hidden = encoder(input_ids=x, attention_mask=mask).last_hidden_state
        found = Transformers(str(folder)).trunk((LENGTH,)).eval()(x)
        of_tokens = Transformers(str(folder), per_token=True).trunk((LENGTH,)).eval()(x)
    torch.testing.assert_close(
        found, torch.stack([row[real > 0].mean(0) for row, real in zip(hidden, mask, strict=True)])
    )
    torch.testing.assert_close(of_tokens, (hidden * mask[..., None]).transpose(1, 2))


def test_a_run_is_equal_in_both_engines(bert: tuple[Path, Any]) -> None:
    """With dropout of 0.1, which an encoder has by default; a pooler has no share in features, and is never sent."""
    model = Transformers(str(bert[0]))
    given: dict[str, Any] = {"data": Words(), "model": model, "algorithm": FedAvg(lr=0.1, epochs=1), "rounds": 1}
    loop, stacked = (run(Experiment(**given, runtime="InProcess", engine=engine)) for engine in ("Loop", "VMap"))
    assert loop.state.keys() == stacked.state.keys() and not [name for name in loop.state if "pooler" in name]
    first = initial_params(build(model, (LENGTH,), TASKS, 0, True))
    name = "trunk.encoder.encoder.layer.0.intermediate.dense.weight"
    assert not torch.equal(loop.state[name], first[name])
    for name, value in loop.state.items():
        torch.testing.assert_close(stacked.state[name], value, rtol=1e-4, atol=1e-5)


def test_a_configuration_alone_is_drawn_by_the_seed(bert: tuple[Path, Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((bert[0] / "config.json").read_bytes())
    model = Transformers(str(tmp_path), pretrained=False)
    draws = [initial_params(build(model, (LENGTH,), TASKS, seed, True)) for seed in (0, 0, 1)]
    name = "trunk.encoder.embeddings.word_embeddings.weight"
    assert torch.equal(draws[0][name], draws[1][name]) and not torch.equal(draws[0][name], draws[2][name])
    assert fingerprint(model) == fingerprint(Transformers(str(bert[0]), pretrained=False))
    assert fingerprint(model) != fingerprint(Transformers(str(bert[0])))
    assert make("model", describe("model", model)) == model


def test_folders_and_texts_that_do_not_fit(bert: tuple[Path, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no encoder can be made of it .*; give a folder that save_pretrained wrote"):
        Transformers(str(tmp_path)).trunk((LENGTH,))
    (tmp_path / "config.json").write_bytes((bert[0] / "config.json").read_bytes())
    torch.save(bert[1].state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="no encoder can be made of it .*with safetensors"):
        Transformers(str(tmp_path)).trunk((LENGTH,))
    with pytest.raises(ValueError, match=f"takes texts of at most {LENGTH} tokens, got {LENGTH + 1}; cut the texts"):
        Transformers(str(bert[0])).trunk((LENGTH + 1,))


@pytest.mark.parametrize(("model", "shape"), [(Transformers("x"), (4,)), (Timm(), (1, 8, 8))], ids=["hf", "timm"])
def test_without_the_extra(model: Any, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    extra = type(model).__name__.lower()
    monkeypatch.setitem(sys.modules, extra, None)
    with pytest.raises(ImportError, match=rf"{type(model).__name__} needs {extra}: pip install 'fedmtl\[{extra}\]'"):
        build(model, shape, TASKS, 0, len(shape) == 1)


def test_timm_makes_a_trunk_without_a_last_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """timm itself needs a torchvision that fits torch; here, what is asked of it."""
    asked: list[tuple[str, dict[str, Any]]] = []

    def create_model(name: str, **given: Any) -> nn.Module:
        asked.append((name, given))
        if name != "tiny":
            raise RuntimeError(f"Unknown model ({name})")
        return nn.Sequential(nn.Conv2d(given["in_chans"], 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=create_model))
    module = build(Timm("tiny"), (2, 5, 5), TASKS, 0, False)
    assert asked == [("tiny", {"pretrained": False, "in_chans": 2, "num_classes": 0})]
    assert {name: tuple(v.shape) for name, v in module.named_parameters() if name.endswith("weight")} == {
        "trunk.0.weight": (4, 2, 3, 3),
        "head.kind.weight": (3, 4),
    }
    weights = {"0.weight": torch.ones(4, 2, 3, 3), "0.bias": torch.zeros(4), "fc.weight": torch.ones(10, 4)}
    save_file(weights, tmp_path / "tiny.safetensors")
    model = Pretrained(make("model", "Timm('tiny')"), str(tmp_path / "tiny.safetensors"), skip=("fc.*",))
    assert torch.equal(build(model, (2, 5, 5), TASKS, 0, False).get_parameter("trunk.0.weight"), weights["0.weight"])
    with pytest.raises(ValueError, match=r"Unknown model \(other\)"):
        build(Timm("other"), (2, 5, 5), TASKS, 0, False)
    with pytest.raises(ValueError, match="Timm takes images of shape"):
        Timm().trunk((9,))


@pytest.mark.parametrize("make_model", [Transformers, lambda: Timm("")])
def test_no_name(make_model: Any) -> None:
    with pytest.raises(ValueError, match="takes (a folder|the name of a model)"):
        make_model()

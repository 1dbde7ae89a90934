"""Models as programs of torch.export and ONNX: they give what the module gives, for batches of any size."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from fedmtl import MLP, Experiment, FedEM, FedPer, from_arrays, load_result, run
from fedmtl.cli import app
from fedmtl.export import programs
from fedmtl.export.programs import to_onnx, to_torch


def finished(folder: Path, algorithm: Any) -> Path:
    """A run of one client with a class and a number, of three numbers."""
    x = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
    data = from_arrays({"site7": (x, {"kind": x.argmax(1), "value": 5 + x[:, 1]})})
    run(Experiment(data=data, model=MLP(hidden=(4,)), rounds=2, runtime="InProcess", algorithm=algorithm), folder)
    return folder


@pytest.fixture(scope="module", params=[FedPer(lr=0.1), FedEM(lr=0.1)], ids=repr)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run whose client has one model, and of one whose client has a mixture of several."""
    return finished(tmp_path_factory.mktemp("finished") / "run", request.param)


def export(*arguments: str | Path) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["export", *map(str, arguments)])
    return found.exit_code, found.output


def test_a_program_of_torch_gives_the_models_outputs(folder: Path, tmp_path: Path) -> None:
    """The file alone is enough: torch.export.load, no fedmtl."""
    code, output = export(folder, "--format", "torch", "--client", "site7", "--out", tmp_path / "model.pt2")
    assert code == 0 and f"{(tmp_path / 'model.pt2').stat().st_size} bytes" in output, output
    program = torch.export.load(tmp_path / "model.pt2").module()
    model = load_result(folder).model("site7")
    for size in (1, 5, 300):
        x = torch.randn(size, 3)
        kind, value = program(x)
        assert torch.allclose(kind, model(x)["kind"], atol=1e-5) and torch.allclose(value, model(x)["value"], atol=1e-5)


def test_an_onnx_file_gives_the_models_outputs(folder: Path, tmp_path: Path) -> None:
    """Input x, outputs under the tasks' names."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    code, output = export(folder, "--format", "onnx", "--client", "site7", "--out", tmp_path / "model.onnx")
    assert code == 0, output
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == ["x"]
    assert [one.name for one in session.get_outputs()] == ["kind", "value"]
    model = load_result(folder).model("site7")
    for size in (1, 5, 300):
        x = torch.randn(size, 3)
        kind, value = session.run(None, {"x": x.numpy()})
        assert np.allclose(kind, model(x)["kind"].detach(), atol=1e-5)
        assert np.allclose(value, model(x)["value"].detach(), atol=1e-5)


class Bends(nn.Module):
    """Another function once it is exported."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"y": x + 1e-3 if torch.compiler.is_exporting() else x}


class Branches(nn.Module):
    """Control flow that depends on the numbers."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"y": x if float(x.sum()) > 0 else -x}


@pytest.mark.parametrize("make", [to_torch, to_onnx])
def test_a_program_that_gives_other_numbers_is_not_kept(make: Any) -> None:
    """They differ by 1e-3, and 1e-5 is allowed."""
    if make is to_onnx:
        pytest.importorskip("onnxruntime")
    with pytest.raises(ValueError, match=r"other numbers than the model, task 'y': they differ by 0\.001"):
        make(Bends(), ["y"], torch.randn(2, 3))
    with pytest.raises(ValueError, match="torch.export cannot export this model"):
        make(Branches(), ["y"], torch.randn(2, 3))


def test_tokens_stay_within_the_embeddings() -> None:
    """An embedding of five rows: the random inputs of the check are 0 to 4."""
    module = nn.Sequential(nn.Embedding(5, 2))
    found = torch.cat([x for x in programs._random(module, (7,), True, (40,))])
    assert found.dtype == torch.int64 and found.min() == 0 and found.max() == 4
    loaded = torch.export.load(io.BytesIO(to_torch(Named(module), ["y"], programs.example_of(module, (7,), True))))
    assert torch.equal(loaded.module()(found)[0], module(found))


class Named(nn.Module):
    """A module whose output has a name."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"y": self.inner(x)}


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(programs.importlib, "import_module", missing)
    with pytest.raises(ImportError, match=r"No module named 'onnx'.*pip install 'fedmtl\[onnx\]'"):
        to_onnx(Bends(), ["y"], torch.randn(2, 3))


def test_words_that_do_not_go_together(folder: Path, tmp_path: Path) -> None:
    code, output = export(folder, "--format", "torch", "--out", tmp_path / "m")
    assert code == 2 and "add --client NAME and --out FILE" in output
    code, output = export(folder, "--client", "site7")
    assert code == 2 and "is for a model, --format torch or onnx" in output
    code, output = export(folder, "--format", "torch", "--client", "site8", "--out", tmp_path / "m")
    assert code == 2 and "no client 'site8'" in output and not (tmp_path / "m").exists()

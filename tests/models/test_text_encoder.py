"""The text encoder that comes with fedmtl: its file, its card, and texts that it cannot take."""

import hashlib
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmtl import Experiment, FedAvg, TextEncoder
from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.data.frame import from_frame
from fedmtl.data.tokens import hashed_tokens
from fedmtl.models import text_encoder
from fedmtl.models.split import build, initial_params
from fedmtl.models.weights_file import read_weights
from fedmtl.run_experiment import load_checked
from fedmtl.tasks import Binary, MultiClass, Task

ROOT = Path(__file__).parents[2]
FILE = ROOT / "fedmtl" / "models" / text_encoder.FILE
TASKS: dict[str, Task] = {"kind": MultiClass(3)}
WIDTH, VOCABULARY = text_encoder.SHAPE.width, text_encoder.SHAPE.vocabulary


def features(texts: list[str], length: int = 12, **fields: Any) -> Tensor:
    trunk = TextEncoder(**fields).trunk((length,)).eval()
    with torch.no_grad():
        return trunk(torch.from_numpy(hashed_tokens(texts, VOCABULARY, length)))


def test_the_file_is_the_one_of_the_card_and_in_the_wheel() -> None:
    data = FILE.read_bytes()
    card = FILE.with_suffix(".md").read_text()
    assert hashlib.sha256(data).hexdigest() == text_encoder.SHA256 and text_encoder.SHA256 in card
    assert len(data) <= 2_000_000 and f"{len(data):,} bytes" in card
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "fedmtl" in wheel["only-include"] and not {"exclude", "artifacts", "include"} & wheel.keys()


def test_a_trunk_has_the_numbers_of_the_file() -> None:
    """16384 · 64 of words, T · 64 of positions, and for each of two layers 4 · 64² + 2 · 64 · 128 of weights."""
    weights = read_weights(str(FILE))
    params = initial_params(build(TextEncoder(), (9,), TASKS, 0, True))
    trunk = {name.removeprefix("trunk."): value for name, value in params.items() if name.startswith("trunk.")}
    weights["positions.weight"] = weights["positions.weight"][:9]
    assert trunk.keys() == weights.keys() and all(torch.equal(trunk[name], weights[name]) for name in weights)
    matrices = 16384 * 64 + 9 * 64 + 2 * (4 * 64**2 + 2 * 64 * 128)
    assert sum(value.numel() for value in trunk.values() if value.ndim > 1) == matrices


def test_frozen_parts_are_in_no_packet() -> None:
    names = {
        freeze: {name for name in initial_params(build(TextEncoder(freeze=freeze), (9,), TASKS, 0, True))}
        for freeze in [("*",), ("embed.*", "positions.*")]
    }
    assert names[("*",)] == {"head.kind.weight", "head.kind.bias"}
    others = names[("embed.*", "positions.*")]
    assert "trunk.layers.0.qkv.weight" in others and not [name for name in others if "embed" in name]


def test_texts_alike_have_features_alike() -> None:
    """Praise is closer to praise in other words than to blame; what it says of films, it says of things."""
    praise, other, blame = torch.nn.functional.normalize(
        features(["a wonderful and brilliant thing", "excellent , perfect and great", "a stupid boring awful mess"])
        - features(["the", "the", "the"]),
        dim=1,
    )
    assert praise @ other > praise @ blame
    assert features(["great", "bad"], per_token=True).shape == (2, WIDTH, 12)


def test_the_file_is_found_in_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle of a Flower app carries source alone."""
    monkeypatch.setattr(text_encoder, "__file__", str(tmp_path / "text_encoder.py"))
    monkeypatch.setattr("sys.path", [str(tmp_path), str(ROOT)])
    assert text_encoder.weights_path.__wrapped__() == FILE
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with pytest.raises(FileNotFoundError, match="not beside .* nor in an installed fedmtl: install the wheel"):
        text_encoder.weights_path.__wrapped__()


def data_of(vocabulary: int, tokens: int) -> Any:
    draw = np.random.default_rng(0)

    def split(rows: int) -> Split:
        return Split(draw.integers(1, vocabulary, (rows, 5)), {"kind": draw.integers(0, 3, rows).astype(np.float32)})

    clients = {k: ClientData(split(6), split(3)) for k in range(2)}
    return Federation(TASKS, (5,), clients, tokens=tokens)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TextEncoder(vocabulary=4096), r"hash over 16384 tokens, got vocabulary=4096; make the data with"),
        (lambda: TextEncoder(freeze="embed.*"), r"freeze is a list of globs over names"),  # type: ignore[arg-type]
        (lambda: TextEncoder(dropout=1.0), r"dropout is a probability"),
        (lambda: TextEncoder().trunk((257,)), r"at most 256 tokens, got 257; make the data with length=256"),
        (lambda: TextEncoder().trunk((3, 8)), r"TextEncoder takes texts of shape \(tokens,\)"),
        (lambda: TextEncoder(freeze=("embd",)).trunk((4,)), r"freeze: 'embd' matches no name in the trunk"),
    ],
)
def test_what_it_cannot_be(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_words_that_are_numbered_otherwise_are_refused() -> None:
    """They would be other words: no number is out of range, and every feature would be wrong."""
    experiment = Experiment(model=TextEncoder(freeze=("embed.*",)), algorithm=FedAvg(), runtime="InProcess")
    with pytest.raises(
        ValueError, match=r"a hash over 16384 tokens, but the data's tokens are 4096; make the data with v"
    ):
        load_checked(experiment, data_of(4096, 4096))
    for tokens in (VOCABULARY, 0):
        load_checked(experiment, data_of(VOCABULARY, tokens))


def test_a_tables_own_vocabulary_is_refused() -> None:
    pandas = pytest.importorskip("pandas")
    rows = [{"site": f"s{k}", "text": f"good {word}", "y": k % 2} for k in range(2) for word in "abcdefgh"]
    table = from_frame(pandas.DataFrame(rows), "site", {"y": Binary()}, text="text", min_count=1)
    experiment = Experiment(data=table, model=TextEncoder(freeze=("embed.*",)), algorithm=FedAvg())
    with pytest.raises(ValueError, match="'text' are numbered by the table's own vocabulary; give from_arrays hashed"):
        load_checked(experiment)

"""The scripts of the text encoder, in two steps: a file of the form of the one that ships, and the table of scores."""

import re
from pathlib import Path

import pytest
from safetensors.torch import load_file

from fedmtl.data import MovieReviews, ProductReviews
from fedmtl.models.text_encoder import weights_path
from tests.data.homes import needs
from tests.simulations.test_scripts import checkout, documented, script

__all__ = ["checkout"]


@needs(MovieReviews.source)
def test_two_steps(checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command = documented("train_text_encoder.py")
    assert command[2:4] == ["--out", "fedmtl/models/text_encoder.safetensors"]
    output = script([*command[:3], "own.safetensors", "--steps", "2", "--reviews", "20"], monkeypatch, capsys)
    first, last, size = output.splitlines()
    assert first.startswith("step 0: words ") and last.startswith("step 1: ") and size.startswith("own.safetensors: ")
    found, shipped = load_file("own.safetensors"), load_file(weights_path())
    form = {name: (value.dtype, tuple(value.shape)) for name, value in shipped.items()}
    assert {name: (value.dtype, tuple(value.shape)) for name, value in found.items()} == form


@needs(ProductReviews.source)
def test_transfer_in_two_steps(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line for each trunk, frozen and trained: the mean over seeds, and a picture."""
    command = [*documented("text_transfer.py")[:2], "--seeds", "1", "--labels", "30", "--steps", "2", "--tested", "60"]
    *_, a, b, c, d = script(command, monkeypatch, capsys).splitlines()
    assert [line.split("  ")[0] for line in (a, b, c, d)] == [
        "pre-trained, frozen",
        "pre-trained, trained",
        "random, frozen",
        "random, trained",
    ]
    assert all(re.fullmatch(r".* 30: 0\.\d{3} ± 0\.000", line) for line in (a, b, c, d))
    assert Path("text_transfer.png").stat().st_size > 1000

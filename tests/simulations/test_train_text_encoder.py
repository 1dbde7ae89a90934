"""The script that trains the text encoder, in two steps on twenty reviews: a file of the form of the one that ships."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from fedmtl.data import MovieReviews
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

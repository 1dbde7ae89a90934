"""The study of LoRA in its two-round form: on random words in place of reviews, so that no data home is needed."""

from pathlib import Path

import numpy as np
import pytest

from fedmtl import ProductReviews
from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.data.productreviews import TASKS
from tests.simulations.test_scripts import checkout as checkout
from tests.simulations.test_scripts import documented, script

LENGTH = 8
LAYER = 64 * 192 + 192 + 64 * 64 + 64 + 64 * 128 + 128 + 128 * 64 + 64 + 4 * 64
TRUNK = 16384 * 64 + LENGTH * 64 + 2 * LAYER + 2 * 64
"""Words, positions, two layers with two norms each, and the last norm."""
FACTORS = 2 * 4 * (64 + 192 + 64 + 64 + 64 + 128 + 128 + 64)
"""Numbers of factors of rank 4 of qkv, out, up and down, in two layers."""


def words(self: ProductReviews, seed: int) -> Federation:
    """Two clients with four sentences and four reviews."""
    draw = np.random.default_rng(seed)
    none = np.full(4, np.nan)

    def split() -> Split:
        x = draw.integers(1, self.vocabulary, (8, self.length))
        y = {"polarity": [0, 1, 2, 0, *none], "topic": [*none, 0, 1, 2, 3]}
        return Split(x, {task: np.array(values, np.float32) for task, values in y.items()})

    clients = {client: ClientData(split(), split()) for client in range(2)}
    return Federation(dict(TASKS), (self.length,), clients, tokens=self.vocabulary)


def test_lora_text(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], no_pictures: None
) -> None:
    """A header of 32 bytes and 4 a number, both ways, by the shapes of the encoder: full fine-tuning sends its trunk,
    LoRA A and B, below 3 % of that."""
    monkeypatch.setattr(ProductReviews, "load", words)
    command = [*documented("lora_text.py"), "--seeds", "1", "--rounds", "2", "--length", str(LENGTH), "--lr", "0.01"]
    output = script([*command, "--methods", "full LoRA"], monkeypatch, capsys)
    cells = [line.split(" | ") for line in output.splitlines() if line.startswith("| ")][2:]
    sizes = {row[0].strip("| "): int(row[-2].replace(",", "")) for row in cells}
    numbers = {"full": TRUNK, "LoRA": FACTORS}
    assert sizes == {name: 2 * (32 + 4 * count) for name, count in numbers.items()}
    assert sizes["LoRA"] < 0.03 * sizes["full"] and (checkout / "runs" / "lora" / "lora_text.png").exists()

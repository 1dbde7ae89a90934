"""The text encoder that comes with fedmtl, trained anew: 2,000 reviews of films in, a file of 1.1 MB out.

    python simulations/train_text_encoder.py --out fedmtl/models/text_encoder.safetensors

Words get their first embedding from the words around them (positive pointwise mutual information, and its singular
vectors); then a small transformer learns, on windows of the reviews, to fill in words that are left out, to say whether
the review is for or against its film, and which two windows are of one review. Embeddings are kept as int8 with a scale
for each word, all else as float16. ``fedmtl/models/text_encoder.md`` is the encoder's card.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from safetensors.torch import save_file
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.linalg import svds
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from fedmtl import run_script
from fedmtl.data.moviereviews import Review, read
from fedmtl.data.tokens import hashed_tokens
from fedmtl.data.words import UNKNOWN
from fedmtl.models.text_encoder import LONGEST, SHAPE
from fedmtl.models.tokens import masked_mean
from fedmtl.models.transformer_encoder import TransformerEncoder


def embeddings(texts: list[np.ndarray], width: int, window: int = 4) -> Tensor:
    """Singular vectors of max(0, log P(word, word beside it) / P(word) P(word)^0.75), [V, width]."""
    first, second = [], []
    for text in texts:
        for step in range(1, window + 1):
            first += [text[step:], text[:-step]]
            second += [text[:-step], text[step:]]
    pairs = np.concatenate(first), np.concatenate(second)
    counts = csr_matrix(coo_matrix((np.ones(len(pairs[0])), pairs), shape=(SHAPE.vocabulary,) * 2))
    counts.sum_duplicates()
    words = np.asarray(counts.sum(1)).ravel()
    beside = words**0.75 / (words**0.75).sum()
    row, column = counts.nonzero()
    information = np.log(np.asarray(counts[row, column]).ravel() / (words[row] * beside[column]))
    positive = csr_matrix((np.maximum(information, 0), (row, column)), shape=counts.shape)
    left, sizes, _ = svds(positive, k=width, rng=np.random.default_rng(0))
    found = torch.from_numpy((left * np.sqrt(sizes)).astype(np.float32))
    return found * SHAPE.width**-0.5 / found[torch.from_numpy(words > 0)].std()


def windows(texts: list[np.ndarray], rows: np.ndarray, length: int, draw: np.random.Generator) -> Tensor:
    """A stretch of each of some texts, [rows, length], 0 after the end of a shorter text."""
    found = np.zeros((len(rows), length), np.int64)
    for place, row in enumerate(rows):
        start = draw.integers(max(1, len(texts[row]) - length + 1))
        part = texts[row][start : start + length]
        found[place, : len(part)] = part
    return torch.from_numpy(found)


class Training(nn.Module):
    """The encoder with what it learns beside: words that are left out, polarity, and windows of one review."""

    def __init__(self, first: Tensor) -> None:
        super().__init__()
        of = SHAPE
        recipe = TransformerEncoder(of.vocabulary, of.width, of.heads, of.layers, of.hidden, 0.1, per_token=True)
        self.encoder = recipe.trunk((LONGEST,))
        self.encoder.get_parameter("embed.weight").data.copy_(first)
        self.words, self.bias = nn.Linear(of.width, of.width), nn.Parameter(torch.zeros(of.vocabulary))
        self.polarity, self.review = nn.Linear(of.width, 1), nn.Linear(of.width, of.width)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return features of each token, [B, T, width], and their means."""
        positions = {"positions.weight": self.encoder.get_parameter("positions.weight")[: x.shape[1]]}
        tokens = functional_call(self.encoder, positions, (x,)).transpose(1, 2)
        return tokens, masked_mean(tokens, (x != 0).float())

    def forward(self, x: Tensor, other: Tensor, y: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        hidden = (torch.rand(x.shape, generator=draw) < 0.15) & (x > UNKNOWN)
        tokens, mean = self.features(x.masked_fill(hidden, UNKNOWN))
        known, right = torch.unique(x, return_inverse=True)  # it chooses among the words of the batch
        logits = self.words(tokens[hidden]) @ self.encoder.get_parameter("embed.weight")[known].T + self.bias[known]
        filled = functional.cross_entropy(logits, right[hidden])
        second = self.features(other)[1]
        both = self.polarity(torch.cat([mean, second]))[:, 0]
        polarity = functional.binary_cross_entropy_with_logits(both, torch.cat([y, y]))
        a, b = (functional.normalize(self.review(one), dim=1) for one in (mean, second))
        same = functional.cross_entropy(a @ b.T / 0.1, torch.arange(len(a)))
        return filled, polarity, same


def packed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's numbers as the file has them: embeddings as int8 and a scale for each word, all else float16."""
    found = {name: value.detach().half() for name, value in state.items()}
    rows = state["embed.weight"].detach()
    scale = (rows.abs().amax(1) / 127).clamp(min=2**-24).half()
    found["embed.weight"] = (rows / scale.float()[:, None]).round().clamp(-127, 127).to(torch.int8)
    return {**found, "embed.weight.scale": scale}


def main(
    out: Annotated[Path, typer.Option(help="The file.")] = Path("text_encoder.safetensors"),
    steps: Annotated[int, typer.Option(help="Steps of 48 pairs of windows.")] = 1500,
    reviews: Annotated[int, typer.Option(help="Reviews that are trained on.")] = 2000,
    lr: Annotated[float, typer.Option(help="Largest learning rate.")] = 2e-3,
    seed: Annotated[int, typer.Option(help="Seed of all randomness.")] = 0,
) -> None:
    torch.manual_seed(seed)
    numbers, draw = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    documents = read()[:: max(1, 2000 // reviews)][:reviews]
    texts = streams(documents)
    labels = torch.tensor([float(document.positive) for document in documents])
    model = Training(embeddings(texts, SHAPE.width)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.05)
    for step in range(steps):
        rows = numbers.choice(len(texts), min(48, len(texts)), replace=False)
        length = int(numbers.choice([12, 24, 48, 64 if step % 8 else LONGEST], p=[0.25, 0.4, 0.25, 0.1]))
        x, other = (windows(texts, rows, length, numbers) for _ in range(2))
        losses = model(x, other, labels[torch.from_numpy(rows)], draw)
        optimizer.zero_grad()
        torch.stack([*losses]).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            words, polarity, review = (loss.item() for loss in losses)
            print(f"step {step}: words {words:.3f}, polarity {polarity:.3f}, same review {review:.3f}", flush=True)
    save_file(packed(model.encoder.state_dict()), out)
    print(f"{out}: {out.stat().st_size:,} bytes")


def streams(documents: list[Review]) -> list[np.ndarray]:
    """The tokens of whole reviews."""
    found = hashed_tokens([" ".join(document.sentences) for document in documents], SHAPE.vocabulary, 4096)
    return [row[row > 0] for row in found]


if __name__ == "__main__":
    run_script(main)

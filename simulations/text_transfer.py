"""Transfer of the text encoder that comes with fedmtl: polarity of sentences about products, with few labels and many.

    python simulations/text_transfer.py --seeds 3

The encoder saw reviews of films alone. Its features, frozen, carry a linear head; against the same encoder with random
weights, frozen and trained from scratch, and against all of its weights fine-tuned. All labels are pooled here, so that
what differs is the trunk alone; `fedmtl/models/text_encoder.md` has the figures and what one learns.
"""

from pathlib import Path
from typing import Annotated

import matplotlib.pyplot as plt
import numpy as np
import torch
import typer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from fedmtl import ProductReviews, TextEncoder, run_script
from fedmtl.models.text_encoder import SHAPE

LENGTH, CLASSES = 32, 3


def sentences(seed: int) -> list[Tensor]:
    """Tokens and polarities of sentences to train and to test on; no sentence of a test document is trained on."""
    clients = ProductReviews(vocabulary=SHAPE.vocabulary, length=LENGTH).load(seed).clients.values()
    found = []
    for part in ("train", "test"):
        x, y = (np.concatenate([get(getattr(data, part)) for data in clients]) for get in (lambda s: s.x, polarity))
        found += [torch.from_numpy(x[~np.isnan(y)]), torch.from_numpy(y[~np.isnan(y)]).long()]
    return found


def polarity(split: object) -> np.ndarray:
    return split.y["polarity"]  # pyright: ignore[reportAttributeAccessIssue]


def features(trunk: nn.Module, x: Tensor) -> np.ndarray:
    with torch.no_grad():
        return torch.cat([trunk.eval()(part) for part in x.split(512)]).numpy()


def probe(train: np.ndarray, y: Tensor, test: np.ndarray) -> np.ndarray:
    """Predictions of a linear head on frozen features."""
    scaler = StandardScaler().fit(train)
    head = LogisticRegression(C=0.1, max_iter=500, class_weight="balanced").fit(scaler.transform(train), y.numpy())
    return head.predict(scaler.transform(test))


def trained(trunk: nn.Module, x: Tensor, y: Tensor, test: Tensor, steps: int) -> np.ndarray:
    """Predictions after training of trunk and head."""
    model = nn.Sequential(trunk.train(), nn.Linear(SHAPE.width, CLASSES))
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    weight = len(y) / (CLASSES * torch.bincount(y, minlength=CLASSES).clamp(min=1))
    for rows in (torch.randint(len(x), (32,)) for _ in range(steps)):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows], weight.float()).backward()
        optimizer.step()
    return features(model, test).argmax(1)


def main(
    seeds: Annotated[int, typer.Option(help="How many seeds, from 0.")] = 3,
    labels: Annotated[list[int] | None, typer.Option(help="Labelled sentences; 0: all.")] = None,
    steps: Annotated[int, typer.Option(help="Steps of 32 sentences where the trunk is trained.")] = 300,
    tested: Annotated[int, typer.Option(help="Sentences that are tested on; 0: all.")] = 0,
    out: Annotated[Path, typer.Option(help="The figure.")] = Path("text_transfer.png"),
) -> None:
    counts: list[int] = labels or [200, 0]
    scores: dict[tuple[str, int], list[float]] = {}
    for seed in range(seeds):
        torch.manual_seed(seed)
        x, y, test, right = sentences(seed)
        test, right = test[: tested or None], right[: tested or None]
        make = {"pre-trained": TextEncoder().trunk, "random": SHAPE.trunk}
        fixed = {name: trunk((LENGTH,)) for name, trunk in make.items()}
        of_test = {name: features(trunk, test) for name, trunk in fixed.items()}
        for count in counts:
            rows = torch.randperm(len(x))[: count or len(x)]
            for name, trunk in make.items():
                given = features(fixed[name], x[rows])
                found = {f"{name}, frozen": probe(given, y[rows], of_test[name])}
                found[f"{name}, trained"] = trained(trunk((LENGTH,)), x[rows], y[rows], test, steps)
                for arm, guess in found.items():
                    scores.setdefault((arm, count), []).append(float(f1_score(right, guess, average="macro")))
                    print(f"seed {seed}, {count or 'all'} labels, {arm}: {scores[arm, count][-1]:.3f}", flush=True)
    ticks = [str(count or "all") for count in counts]
    for arm in dict.fromkeys(arm for arm, _ in scores):
        mean, std = (np.array([take(scores[arm, count]) for count in counts]) for take in (np.mean, np.std))
        print(f"{arm:<22}", *(f"{t}: {m:.3f} ± {s:.3f}" for t, m, s in zip(ticks, mean, std, strict=True)), sep="  ")
        plt.errorbar(ticks, mean, std, label=arm)
    plt.legend(title="trunk")
    plt.xlabel("labelled sentences")
    plt.ylabel("macro-F1 of polarity")
    plt.savefig(out)


if __name__ == "__main__":
    run_script(main)

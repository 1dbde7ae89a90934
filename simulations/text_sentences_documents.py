"""Sentences and documents: the polarity of sentences and the topic of reviews, learnt jointly by fourteen products.

    python simulations/text_sentences_documents.py --seeds 1

A product is a client: one trunk reads its sentences and its reviews, and each task has a head. With ``--sites 14``
reviews of all products are dealt to as many clients. The page beside has the figures of five seeds.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import accuracy_score, f1_score
from sklearn.svm import LinearSVC

from fedmtl import AdamW, BagOfEmbeddings, Experiment, FedAvg, FedPer, Local, ProductReviews, ShareMap, run
from fedmtl.core.markdown import table

MODEL, TASKS = BagOfEmbeddings(4096, width=16, hidden=16), {"polarity": "macro_f1", "topic": "value"}
METHODS: dict[str, Any] = {"Local": (Local, MODEL), "FedAvg": (FedAvg, MODEL), "FedPer": (FedPer, MODEL)}
METHODS["FedPer, one head of polarity"] = FedPer, ShareMap(MODEL, {"head.polarity.*": "shared"})


def trained(experiment: Experiment) -> tuple[float, np.ndarray]:
    """MB of training, and macro-F1 of polarity and accuracy of topic after each round: means over clients."""
    result = run(experiment)
    scores: dict[tuple[str, int], list[float]] = {(t, r): [] for t in TASKS for r in range(experiment.rounds + 1)}
    for row in [*result.measures, *result.rows]:  # rows have the primary metric, measures those beside it
        if TASKS[row["task"]] in row and row["client"] is not None and row["examples"]:
            scores[row["task"], row["round"]].append(row[TASKS[row["task"]]])
    return result.summary["bytes"]["train"]["total"] / 1e6, np.reshape([*map(np.mean, scores.values())], (2, -1))


def central(clients: Any, task: str) -> float:
    """TF-IDF and a linear SVM, trained on all clients' examples at one place: the mean over clients."""
    parts = [[(x[k], y[task][k]) for x, y in own for k in [~np.isnan(y[task])]] for own in clients.values()]
    seen, tested = ({row.tobytes() for own in parts for row in own[part][0]} for part in (0, 1))
    assert not seen & tested  # no sentence and no review that is tested on is trained on, at any client
    known: Any = {"analyzer": lambda row: row[row > 0]}
    words, svm = TfidfVectorizer(**known), LinearSVC(C=0.1, class_weight="balanced")
    svm.fit(words.fit_transform(np.concatenate([x for (x, _), _ in parts])), np.concatenate([y for (_, y), _ in parts]))
    pairs = [(y, svm.predict(words.transform(x))) for _, (x, y) in parts if len(y)]
    return float(np.mean([f1_score(*p, average="macro") if task == "polarity" else accuracy_score(*p) for p in pairs]))


def main(
    sites: Annotated[int, typer.Option(help="Clients that reviews of all products are dealt to; 0: products.")] = 0,
    rounds: Annotated[int, typer.Option(help="Rounds of three passes each.")] = 5,
    lr: Annotated[float, typer.Option(help="Learning rate of all methods.")] = 0.03,
    seeds: Annotated[int, typer.Option(help="How many seeds, from 0.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder for the table and the picture.")] = Path("runs/text"),
) -> None:
    data, own = ProductReviews(sites, alpha=0.5, balanced=True), {"metrics": "all", "runtime": "InProcess"}
    panels, rows = (figure := Figure((7, 3), layout="constrained")).subplots(1, 2), []
    for name, (algorithm, model) in METHODS.items():
        one: Any = {"model": model, "algorithm": algorithm(lr=lr, epochs=3, optimizer=AdamW()), "rounds": rounds, **own}
        found = [trained(Experiment("text", data, **one, batch_size=64, seed=seed)) for seed in range(seeds)]
        sent, scores = found[0][0], np.array([of for _, of in found])  # [seeds, tasks, rounds + 1]
        rows.append([name, *(f"{of.mean():.3f} ± {of.std():.3f}" for of in scores[:, :, -1].T), f"{sent:.1f} MB"])
        for axes, task, curve in zip(panels, TASKS, scores.mean(0), strict=True):
            axes.plot(np.linspace(0, sent, rounds + 1), curve, marker="." if sent else "_", label=name)
            axes.set(xlabel="MB of training, both directions", title=f"{task}, mean over clients")
    ends = np.array([[central(data.load(seed).clients, task) for task in TASKS] for seed in range(seeds)])
    rows.append(["SVM, central", *(f"{of.mean():.3f} ± {of.std():.3f}" for of in ends.T), "all texts"])
    panels[1].legend(fontsize=6)
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "scores.png")
    print(table(["method", "macro-F1 of polarity", "accuracy of topic", "training"], rows))
    print(f"figure: {out / 'scores.png'}")


if __name__ == "__main__":
    typer.run(main)

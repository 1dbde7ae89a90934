"""Sentences and documents: the polarity of sentences and the topic of reviews, learnt jointly by fourteen products.

    python simulations/text_sentences_documents.py --seeds 1

A product is a client: one trunk reads both, and each task has a head. ``--sites 14`` deals all reviews to 14 clients.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import accuracy_score, f1_score
from sklearn.svm import LinearSVC

import fedmtl as fed
from fedmtl.core.markdown import table

RATES = [0.01, 0.03, 0.1]  # each method has the one that is best on validation parts, of a seed that is not reported
TASKS, MODEL = {"polarity": "macro_f1", "topic": "value"}, fed.BagOfEmbeddings(4096, width=16, hidden=16)
METHODS: dict[str, Any] = {kind.__name__: (MODEL, kind, 3) for kind in (fed.Local, fed.FedAvg, fed.FedPer)}  # 3 passes
METHODS["FedPer, one head of polarity"] = fed.ShareMap(MODEL, {"head.polarity.*": "shared"}), fed.FedPer, 3
METHODS |= {"FedRep": (MODEL, fed.FedRep, 2, 1), "Ditto": (MODEL, fed.Ditto, 3, 3, 0.1)}


def trained(name: str, lr: float, seed: int, out: Path, **given: Any) -> tuple[float, np.ndarray]:
    """MB sent, macro-F1 of polarity and accuracy of topic after each round, means over clients: [2, rounds]."""
    (model, kind, *by), own = METHODS[name], {"batch_size": 64, "metrics": "all", "runtime": "InProcess"}
    one = fed.Experiment("text", model=model, algorithm=kind(lr, *by, fed.AdamW()), seed=seed, **own, **given)
    result = fed.run(one, out / f"{name}, rate {lr:g}, seed {seed}", resume=True)
    part, found = "valid" if one.valid_fraction else "test", dict[tuple[str, int], list[float]]()
    for row in [*result.measures, *result.rows]:  # rows have the primary metric, measures those beside it
        if row["part"] == part and row["client"] is not None and row.get(TASKS[row["task"]]) is not None:
            found.setdefault((row["task"], row["round"]), []).append(row[TASKS[row["task"]]])
    means = [np.mean(found[key]) for key in sorted(found)]
    return result.summary["bytes"]["train"]["total"] / 1e6, np.reshape(means, (2, -1))


def central(clients: Any, task: str) -> float:
    """TF-IDF and a linear SVM, on all training texts at one place, none of which is tested on: mean over clients."""
    parts = [[(x[k], y[task][k]) for x, y in own for k in [~np.isnan(y[task])]] for own in clients.values()]
    assert not set.intersection(*({row.tobytes() for own in parts for row in own[part][0]} for part in (0, 1)))
    words, svm = TfidfVectorizer().set_params(analyzer=lambda x: x[x > 0]), LinearSVC(C=0.1, class_weight="balanced")
    svm.fit(words.fit_transform(np.concatenate([x for (x, _), _ in parts])), np.concatenate([y for (_, y), _ in parts]))
    pairs = [(y, svm.predict(words.transform(x))) for _, (x, y) in parts if len(y)]
    return float(np.mean([f1_score(*p, average="macro") if task == "polarity" else accuracy_score(*p) for p in pairs]))


def main(
    sites: Annotated[int, typer.Option(help="Clients that reviews of all products are dealt to; 0: products.")] = 0,
    methods: Annotated[int, typer.Option(help="Methods, the first of six; the last are FedRep and Ditto.")] = 4,
    rounds: Annotated[int, typer.Option(help="Rounds of training.")] = 5,
    seeds: Annotated[int, typer.Option(help="How many seeds, from 0; each is another split.")] = 1,
    lr: Annotated[list[float] | None, typer.Option(help="Learning rates to choose from; may be given often.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for runs, tables and pictures.")] = Path("runs/text"),
) -> None:
    panels, rows = (figure := Figure((7, 3), layout="constrained")).subplots(1, 2), []
    own: Any = {"data": fed.ProductReviews(sites, alpha=0.5, balanced=True), "rounds": rounds, "out": out}
    for name in [*METHODS][:methods]:
        rate = max(lr or RATES, key=lambda lr: trained(name, lr, 10_007, valid_fraction=0.2, **own)[1][:, -1].mean())
        found = [trained(name, rate, seed, **own) for seed in range(seeds)]
        sent, scores = found[0][0], np.array([of for _, of in found])  # [seeds, tasks, rounds + 1]
        ends = (f"{of.mean():.3f} ± {of.std():.3f}" for of in scores[:, :, -1].T)
        rows.append([name, f"{rate:g}", *ends, f"{sent:.1f} MB"])
        for axes, task, curve in zip(panels, TASKS, scores.mean(0), strict=True):
            axes.plot(np.linspace(0, sent, rounds + 1), curve, marker="." if sent else "_", label=name)
            axes.set(xlabel="MB of training, both directions", title=f"{task}, mean over clients")
    ends = np.array([[central(own["data"].load(k).clients, task) for task in TASKS] for k in range(seeds)])
    rows.append(["SVM, central", "", *(f"{of.mean():.3f} ± {of.std():.3f}" for of in ends.T), "all texts"])
    panels[1].legend(fontsize=6)
    figure.savefig(out / "scores.png")
    head = ["method", "rate", "macro-F1 of polarity", "accuracy of topic", "training"]
    print(f"{table(head, rows)}\nfigure: {out / 'scores.png'}")


if __name__ == "__main__":
    fed.run_script(main)

"""Studies for tests of figures."""

from pathlib import Path
from typing import Any

from fedmtl.analysis import Group, group_runs, read_run
from tests.analysis.run_folders import write_run

FP16 = {"name": "FP16"}
TOPK = {"name": "ErrorFeedback", "codec": {"name": "TopK", "keep": 0.05}}
INT8 = {"name": "Int8", "block": 256}


def study(folder: Path, **settings: Any) -> list[Group]:
    """FedPer dense and squeezed, and Local without a byte, three seeds each, 0.1 apart; three rounds, rmse."""
    found = []
    for name, codec, count in (("FedPer", None, 500), ("FedPer", FP16, 250), ("Local", None, 0)):
        for seed in (0, 1, 2):
            scores = {"slant": [at + seed / 10 for at in (0.0, 0.25, 0.5, 0.625)]}
            path = folder / f"{name}-{codec is None}-{seed}"
            write_run(
                path, {"name": name}, scores, seed=seed, up=count, up_codec=codec,
                metrics={"slant": ("rmse", False)}, **settings,
            )  # fmt: skip
            found.append(read_run(path))
    return group_runs(found)


def many(folder: Path, scores: list[float], tasks: int = 1) -> list[Group]:
    """A method for each final score, dense and squeezed; two rounds, one seed."""
    found = []
    for number, score in enumerate(scores):
        for codec, count in ((None, 4000 + 137 * number), (TOPK, 300 + 11 * number)):
            path = folder / f"{number}-{codec is None}"
            values = {f"task{t}": [0.1, score - 0.1, score + (0.01 if codec else 0)] for t in range(tasks)}
            write_run(path, {"name": f"Method{number}"}, values, up=count, up_codec=codec)
            found.append(read_run(path))
    return group_runs(found)

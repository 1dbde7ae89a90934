"""The data of published federated and multi-task results, read from a folder and made into federations.

The folder is fedmtl's data home: ``FEDMTL_DATA``, else ``data`` in its cache folder. School and Landmine are read as
fedmtl's own data sets are; their divisions here are those of the studies.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional

from fedmtl.core.random import rng
from fedmtl.data import ClientData, Federation, Split, landmine, school
from fedmtl.data.home import data_home
from fedmtl.tasks import Regression
from fedmtl.tasks.checks import numbers, refuse
from fedmtl.tasks.masked import counts, keep, labelled, mean_over
from fedmtl.tasks.traits import TaskTraits

Array = NDArray[np.float64]


class Source(NamedTuple):
    """A file of another's data."""

    file: str
    """Below the folder of all data."""
    sha256: str
    address: str
    """Origin of the data, and changes to it."""


LANDMINE_SMALL = Source(
    "landmine_small/small.mat",
    "456e9e96087ad2d0404a259af0a42a2d5880fba6cbc5f8ec0f6710c0ac3f45cc",
    "https://github.com/gingsmith/fmtl, data/small.mat, unchanged",
)
FASHION = Source(
    "fashion_mnist_7k/fashion_mnist_7k.npz",
    "cb99a85a0ce9c766c49ff85a5b3172761714bda3a0ec61084e18b99d3c09f47f",
    "Fashion-MNIST (Debian's dataset-fashion-mnist, MIT), of each class 600 training and 100 test images drawn with "
    "seed 0: X_train uint8 [6000, 28, 28], y_train, X_test, y_test",
)


def locate(source: Source) -> Path:
    """The file, whose bytes are those that the figures were made from.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is another one.
    """
    path = data_home() / source.file
    if not path.exists():
        raise FileNotFoundError(
            f"There is no {path}; put the file there, or name the folder above {Path(source.file).parent} in "
            f"FEDMTL_DATA. It is {source.address}; SHA-256 {source.sha256}."
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != source.sha256:
        raise ValueError(
            f"{path} has SHA-256 {found}, expected {source.sha256}: another version of the data, with which the "
            f"figures differ; get {source.address}."
        )
    return path


def once(kept: Path | None, measure: Callable[..., Any], *arguments: Any) -> Any:
    """``measure(*arguments)``, plain values, from a file of lines; measured now, and added, where it is not there.

    Args:
        kept: the file, so that an interrupted script goes on where it was; None keeps nothing.
        measure: what depends on its arguments alone; their ``repr`` distinguishes measurements.
        arguments: of ``measure``.
    """
    key = repr(arguments)
    if kept is not None and kept.exists():
        for name, value in map(json.loads, kept.read_text().splitlines()):
            if name == key:
                return value
    value = measure(*arguments)
    if kept is not None:
        with open(kept, "a", encoding="utf-8") as file:
            file.write(json.dumps([key, value]) + "\n")
    return value


def divide(groups: NDArray[Any], share: float, draw: np.random.Generator) -> NDArray[np.bool_]:
    """Return which examples are for validation: whole groups, about a share of them, at least one and not all.

    Args:
        groups: the group of each example, such as its bout; ``numpy.arange`` divides example by example.
        share: of the groups, in (0, 1).
        draw: the randomness.

    Raises:
        ValueError: a share outside (0, 1), or fewer than two groups.
    """
    names = np.unique(groups)
    if not 0 < share < 1 or len(names) < 2:
        raise ValueError(f"A share in (0, 1) of two or more groups is divided off, got {share} of {len(names)}.")
    count = min(max(round(share * len(names)), 1), len(names) - 1)
    return np.isin(groups, draw.permutation(names)[:count])


def standardised(parts: list[tuple[Array, Array]]) -> list[tuple[Array, Array]]:
    """Training and test inputs of each client, with mean 0 and standard deviation 1 over all training rows.

    One scale for all clients, so that models of two clients can be compared; clients would send sums and squares.
    """
    rows = np.concatenate([train for train, _ in parts])
    mean, std = rows.mean(0), rows.std(0)
    return [((train - mean) / std, (test - mean) / std) for train, test in parts]


@dataclass(frozen=True)
class School:
    """Examination scores of 15,362 pupils of 139 schools, 1985 to 1987: a regression for each school, ``score``.

    Inputs [27]: year, gender, verbal reasoning band, ethnic group, as 0 or 1, and what is known of the school. The
    28th column is constant: the model's intercept.

    With ``validation`` the split is of the training pupils alone: what is chosen by it has seen no test pupil.
    """

    train_fraction: float = 0.75
    """The part of a school's pupils that is learnt from."""
    validation: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.train_fraction < 1:
            raise ValueError(f"School takes a train_fraction between 0 and 1, got {self.train_fraction}; use 0.75.")

    def load(self, seed: int) -> Federation:
        inputs, scores = [], []
        for k, (x, y) in enumerate(school_rows()):
            order = rng(seed, 0, k, "school").permutation(len(y))
            train, test = _cut(order, self.train_fraction)
            if self.validation:
                train, test = _cut(train, self.train_fraction)
            inputs.append((x[train], x[test]))
            scores.append((y[train], y[test]))
        known = np.concatenate([train for train, _ in scores])
        clients = {
            k: ClientData(*(Split(x, {"score": y}) for x, y in zip(of_x, of_y, strict=True)))
            for k, (of_x, of_y) in enumerate(zip(standardised(inputs), scores, strict=True))
        }
        return Federation(
            {"score": Regression(float(known.mean()), float(known.std()))}, (inputs[0][0].shape[1],), clients
        )


def school_rows() -> list[tuple[Array, Array]]:
    """x and y of each school, without the constant column."""
    return school.read()


def _cut(order: NDArray[np.int64], fraction: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first part, at least one, and the rest, at least one."""
    count = min(max(round(fraction * len(order)), 1), len(order) - 1)
    return order[:count], order[count:]


@dataclass(frozen=True)
class Ranked:
    """Binary, measured by the area under a client's curve, exact.

    With logits z [B, 1] and labels y = c + 2r [B], c in {0, 1} the class and r the row of the example among those that
    the client is measured on (0 in training, so that y = c there), over the n labelled examples:

        loss = 1/n Σ_b  log(1 + exp z_b) − c_b z_b                                    (1)
        sums = [n, z by row [R], 1 + c by row [R]],  0 where no example is            (2)
        auc  = Σ_{i: c=1, j: c=0} ([z_i > z_j] + ½ [z_i = z_j]) / (n₁ n₀), by ranks   (3)

    Batches of one client never share a row, so (2) adds up. NaN where only one class is, and over several clients,
    whose scores have no common order. The score is the area.
    """

    traits = TaskTraits()

    rows: int
    """R, at least the largest number that any client is measured on."""

    outputs = 1
    label_shape = ()
    metric_name = "auc"
    higher_is_better = True

    def labels(self, y: NDArray[Any]) -> NDArray[Any]:
        y = numbers(self, y)
        good = np.isnan(y) | ((y >= 0) & (y < 2 * self.rows) & (y == np.floor(y)))
        refuse(self, y, good, f"labels are class + 2 row, whole numbers from 0 to {2 * self.rows - 1}.")
        return y.astype(np.float32, copy=False)

    def loss(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        counted = labelled(y, mask)
        logit, target = keep(output[:, 0], counted), torch.remainder(keep(y, counted), 2)
        entropy = functional.binary_cross_entropy_with_logits(logit, target.to(logit.dtype), reduction="none")
        return mean_over(entropy, counted)  # (1)

    def sums(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        counted = labelled(y, mask)
        code = keep(y, counted).long()
        blank = torch.zeros(self.rows, dtype=torch.float64, device=output.device)
        logits = blank.index_add(0, code // 2, keep(output[:, 0], counted).double())
        classes = blank.index_add(0, code // 2, keep(1.0 + code % 2, counted).double())
        return torch.cat([counts(counted), logits, classes])  # (2)

    def metric(self, sums: NDArray[Any]) -> float:
        z, code = sums[1 : 1 + self.rows], sums[1 + self.rows :]
        if sums[0] != (code > 0).sum() or not np.isfinite(z).all():
            return float("nan")
        positive = code[code > 0] == 2
        ones = int(positive.sum())
        pairs = ones * (len(positive) - ones)
        ranks = rankdata(z[code > 0])
        return float((ranks[positive].sum() - ones * (ones + 1) / 2) / pairs) if pairs else float("nan")  # (3)

    def score(self, sums: NDArray[Any]) -> float:
        return self.metric(sums)


@dataclass(frozen=True)
class Landmine:
    """Is it a mine? 14,820 radar signatures, 6.1 % of them mines, of 29 fields: a task ``mine`` for each field.

    Inputs [10]: nine features, and 1, which is the intercept of models that have none of their own. Of the fields,
    0 to 14 are foliated and 15 to 28 are bare earth or desert (Xue et al. 2007).

    ``per_task`` signatures of each field are learnt from, mines among them in the field's own proportion and at least
    one; all others are tested on. With a ``half`` there is nothing but that half: each field is divided once,
    whatever the seed and the labels, so that what is chosen in the half for tuning is blind to the half for results.
    """

    per_task: int = 80
    half: Literal["", "tuning", "results"] = ""

    def __post_init__(self) -> None:
        most = 160 if self.half else 300
        if not 10 <= self.per_task <= most:
            raise ValueError(
                f"Landmine takes per_task from 10 to {most}, got {self.per_task}: a field has 445 signatures or more, "
                "half of them in each half, and some are tested on."
            )
        if self.half not in ("", "tuning", "results"):
            raise ValueError(f"Landmine has the halves 'tuning' and 'results', or '' for all, got {self.half!r}.")

    def load(self, seed: int) -> Federation:
        x, y, field = landmine_rows()
        inputs, labels = [], []
        for k in range(int(field.max()) + 1):
            draw = rng(seed, 0, k, "landmine")
            rows = self._half(np.flatnonzero(field == k), k)
            mines, others = (draw.permutation(rows[y[rows] == c]) for c in (1, 0))
            ones = min(max(1, round(self.per_task * len(mines) / (len(mines) + len(others)))), len(mines) - 1)
            train = np.concatenate([mines[:ones], others[: self.per_task - ones]])
            test = np.concatenate([mines[ones:], others[self.per_task - ones :]])
            inputs.append((x[train], x[test]))
            labels.append((y[train], y[test] + 2 * np.arange(len(test))))
        clients = {
            k: ClientData(*(Split(_with_one(x), {"mine": y}) for x, y in zip(of_x, of_y, strict=True)))
            for k, (of_x, of_y) in enumerate(zip(standardised(inputs), labels, strict=True))
        }
        return Federation({"mine": Ranked(max(len(y) for _, y in labels))}, (10,), clients)

    def _half(self, rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
        """Those of a field's rows that belong to the half."""
        if not self.half:
            return rows
        results = divide(rows, 0.5, rng(0, 0, k, "landmine halves"))
        return rows[results if self.half == "results" else ~results]


def landmine_rows() -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
    """x, y and the field of all signatures."""
    return landmine.read()


def _with_one(x: Array) -> Array:
    return np.column_stack([x, np.ones(len(x))])

"""Handwritten digits, asked four kinds of question."""

import gzip
import math
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.random import SERVER, rng
from fedmtl.core.suggest import did_you_mean
from fedmtl.core.types import TaskSet
from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.data.partition import check_fraction, dirichlet, few_classes, hold_out, iid
from fedmtl.data.partitions.base import Dealt, ExampleFacts, as_partition, deal
from fedmtl.data.source import DataSource
from fedmtl.tasks.base import Task
from fedmtl.tasks.binary import Binary
from fedmtl.tasks.multiclass import MultiClass
from fedmtl.tasks.multilabel import MultiLabel
from fedmtl.tasks.regression import Regression

IMAGES = 1797
"""Number of images in scikit-learn's copy."""

SEGMENTS = ("abcdef", "bc", "abdeg", "abcdg", "bcfg", "acdfg", "acdefg", "abc", "abcdefg", "abcdfg")
"""Segments of a seven-segment display that show each digit: a top, b and c right, d bottom, e and f left, g middle."""

TASKS: dict[str, Task] = {
    "digit": MultiClass(10),
    "parity": Binary(),
    "segments": MultiLabel(7, names=tuple("abcdefg")),
    # The mean and standard deviation of a digit drawn evenly from 0 to 9: 9/2 and √((10² − 1)/12).
    "value": Regression(mean=4.5, std=math.sqrt(8.25)),
}
MIXED_SIZES = (2, 1, 2, 1, 2, 3, 1, 2, 1, 4)
"""Numbers of tasks that clients own when these are mixed, in turn."""


@dataclass(frozen=True)
class Digits:
    """1797 images of handwritten digits: which is it, is it odd, what is it worth, how would a display show it?

    Inputs [N, 1, 8, 8], grey values in [0, 1]. The tasks are four kinds of prediction over the same
    images: ``digit`` is ``MultiClass(10)``, ``parity`` is ``Binary`` (1: odd), ``value`` is ``Regression`` of the
    digit's value, ``segments`` is ``MultiLabel(7)``, a to g of a seven-segment display.

    Clients are numbered from 0. Each has its own images (a Dirichlet partition over the digit, or exactly ``classes``
    of the ten digits), owns one or more of the tasks, and tests on images of its own. Owners of the tasks are as many
    for one task as for another, give or take one, so each task has at least a quarter of the clients (rounded down when
    ``tasks_per_client`` is 1).

    Raises:
        ValueError: more clients than the images suffice for, a task without an owner, numbers out of range; in
            ``load``, a partition that no draw gives.

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository,
    1998, doi:10.24432/C50P49; the test part, as scikit-learn ships it.
    """

    clients: int = 20
    alpha: float = field(default=1.0, metadata={"infinite": True})
    """α of the Dirichlet partition; ``inf`` deals the images out evenly at random."""
    classes: int = 0
    """Number of the ten digits that each client has, 10 (all alike) to 1; 0: ``alpha`` decides."""
    test_fraction: float = 0.25
    """The part of a client's images that it tests on."""
    min_size: int = 8
    """The fewest images a client has."""
    tasks_per_client: int = 0
    """Number of the four tasks that each client owns; 0 mixes: mostly one or two, some three or four."""
    partition: Any = None
    """A partition in place of ``alpha`` and ``classes``, such as "QuantitySkew(spread=1.0)"; by the digit, and tasks by
    ``tasks_per_client`` unless it assigns them."""
    tasks: tuple[str, ...] = ()
    """The tasks to share out, such as ``["digit"]``, which all clients then own; empty: all four."""

    source: ClassVar[DataSource] = DataSource(
        name="digits",
        clients="any number",
        tasks=tuple(TASKS),
        examples=IMAGES,
        address="https://doi.org/10.24432/C50P49",
        licence="believed CC BY 4.0, as UCI's sets are",
        citation="Alpaydin and Kaynak, Optical recognition of handwritten digits, UCI Machine Learning Repository, "
        "1998",
        package="sklearn",
    )

    def __post_init__(self) -> None:
        if self.min_size < 2:
            raise ValueError(f"Digits needs an image to train and one to test on, got min_size={self.min_size}; use 2.")
        if not (self.clients >= 1 and self.clients * self.min_size <= IMAGES):
            raise ValueError(
                f"Digits has {IMAGES} images, enough for 1 to {IMAGES // self.min_size} clients with at least "
                f"{self.min_size} each, got clients={self.clients}; change clients or min_size."
            )
        if not self.alpha > 0:
            raise ValueError(f"Digits takes a positive alpha, or inf for an even partition, got alpha={self.alpha}.")
        check_fraction("Digits", self.test_fraction)
        if not 0 <= self.classes <= 10:
            raise ValueError(
                f"Digits has 10 digits, got classes={self.classes}; use 1 to 10, or 0 for alpha to decide."
            )
        if 0 < self.clients * self.classes < 10:
            raise ValueError(
                f"Digits with clients={self.clients} and classes={self.classes} leaves a digit without an owner; use "
                f"classes={-(-10 // self.clients)} or more."
            )
        object.__setattr__(self, "tasks", tuple(self.tasks))
        if self.partition is not None:
            object.__setattr__(self, "partition", as_partition(self.partition))
        wrong = [name for name in self.tasks if name not in TASKS]
        if wrong or len(set(self.tasks)) < len(self.tasks):
            hint = did_you_mean(wrong[0], TASKS) if wrong else ""
            raise ValueError(f"Digits has the tasks {', '.join(TASKS)}, each once, got tasks={list(self.tasks)}.{hint}")
        known = sorted(self.tasks or TASKS)
        if not 0 <= self.tasks_per_client <= len(known):
            raise ValueError(
                f"Digits has {len(known)} tasks, got tasks_per_client={self.tasks_per_client}; use 1 to {len(known)}, "
                "or 0 to mix."
            )
        if sum(self._sizes()) < len(known):
            raise ValueError(
                f"Digits with clients={self.clients} and tasks_per_client={self.tasks_per_client} leaves one of "
                f"{known} without an owner; use tasks_per_client={len(known)} or {len(known)} clients."
            )

    def load(self, seed: int) -> Federation:
        x, digit = read()
        dealt = Dealt(())
        if self.partition is not None:
            examples = ExampleFacts(len(digit), digit, tasks=tuple(self.tasks or TASKS), shape=x.shape[1:])
            dealt = deal(self.partition, examples, self.clients, seed)
            parts = dealt.rows
        elif self.classes:
            parts = few_classes(digit, self.clients, self.classes, seed)
        elif math.isinf(self.alpha):
            parts = iid(len(digit), self.clients, seed)
        else:
            parts = dirichlet(digit, self.clients, self.alpha, self.min_size, seed)
        y = labels_of(digit)
        clients = {}
        for client, (rows, owned) in enumerate(zip(parts, dealt.owned or self._owned(seed), strict=True)):
            own = dealt.changes[client](x[rows]) if dealt.changes else x[rows]
            clients[client] = ClientData(
                *(
                    Split(own[part], {name: y[name][rows[part]] for name in owned})
                    for part in hold_out(len(rows), self.test_fraction, seed, client)
                )
            )
        return Federation({name: TASKS[name] for name in self.tasks or TASKS}, (1, 8, 8), clients)

    def _sizes(self) -> list[int]:
        """Return the number of tasks of each client, before clients are shuffled."""
        if self.tasks_per_client or self.tasks:
            return [self.tasks_per_client or len(self.tasks)] * self.clients
        return [MIXED_SIZES[client % len(MIXED_SIZES)] for client in range(self.clients)]

    def _owned(self, seed: int) -> list[TaskSet]:
        """The tasks of each client.

        One after another, clients take the tasks that have the fewest owners so far, so that these numbers
        never differ by more than one.
        """
        draw = rng(seed, 0, SERVER, "tasks")
        owners = dict.fromkeys(sorted(self.tasks or TASKS), 0)
        owned: list[TaskSet] = []
        for size in draw.permutation(self._sizes()):
            rarest = sorted(draw.permutation(list(owners)).tolist(), key=owners.__getitem__)[:size]
            for name in rarest:
                owners[name] += 1
            owned.append(tuple(sorted(rarest)))
        return owned


def read() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The images, float32 [1797, 1, 8, 8] in [0, 1], and their digits, int64 [1797].

    The file is read without importing scikit-learn, which takes longer than all the rest of the data.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise ImportError("Digits reads its images from scikit-learn, which is missing: pip install scikit-learn")
    path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(path, "rt", encoding="ascii") as file:
        numbers = np.loadtxt(file, np.int64, delimiter=",")  # 64 pixels from 0 to 16, and the digit
    return (numbers[:, :64] / 16).astype(np.float32).reshape(-1, 1, 8, 8), numbers[:, 64].copy()


def labels_of(digit: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """The labels of all four tasks, float32 [N], for segments [N, 7]."""
    shown = np.array([[segment in segments for segment in "abcdefg"] for segments in SEGMENTS], np.float32)
    value = digit.astype(np.float32)
    return {"digit": value, "parity": value % 2, "segments": shown[digit], "value": value}

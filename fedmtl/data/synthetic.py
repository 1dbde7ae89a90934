"""A planted problem: all clients' labels depend on the same few directions of the inputs."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.random import SERVER, rng
from fedmtl.core.suggest import did_you_mean
from fedmtl.data.base import Federation
from fedmtl.data.joined import JoinedRows, joined
from fedmtl.data.source import DataSource
from fedmtl.tasks.base import Task, output_shape
from fedmtl.tasks.binary import Binary
from fedmtl.tasks.multiclass import MultiClass
from fedmtl.tasks.multilabel import MultiLabel
from fedmtl.tasks.regression import Regression

MOST_NUMBERS = 2**33
"""Most numbers of inputs and labels together: 34 GB."""

LARGE = 50_000
"""Clients from which on the inputs of all are projected by one product, thirty times as fast."""

KINDS = ("multiclass", "binary", "regression", "multilabel")


@dataclass(frozen=True)
class Synthetic:
    """A subspace that all clients share, and a head of each client's own: what a shared trunk is made for.

    With d features, rank k and V [d, k] orthonormal, client c and its task t with W_ct [k, outputs]:

        x ~ N(0, I_d)                                          inputs [N, d]                           (1)
        z = xᵀ V W_ct + noise · N(0, I),  W_ct ~ N(0, I/k)     signal of variance 1                    (2)
        y = argmax z,  z > 0,  z,  z > 0                       multiclass, binary, regression,         (3)
                                                               multilabel

    A client that knows V has k numbers an output to learn from its few examples, one that does not has d. Clients
    0, 1, … own the tasks in turn. All clients are drawn at once, into arrays.

    Raises:
        ValueError: a size below 1, a rank above the features, fewer than two classes, an unknown kind, or more
            tasks a client, or tasks than clients to own them, than there are.
    """

    clients: int = 100
    examples: int = 32
    """Training examples a client; the most, when ``ragged``."""
    test_examples: int = 16
    """Test examples a client."""
    features: int = 32
    """d."""
    rank: int = 4
    """k."""
    classes: int = 4
    """Classes of a multiclass task, labels of a multilabel task."""
    kind: str = "multiclass"
    """One of multiclass, binary, regression, multilabel; or mixed, where tasks are of these kinds in turn."""
    tasks: int = 4
    """Number of task names."""
    tasks_per_client: int = 1
    noise: float = 0.0
    """The noise's standard deviation, where the signal's is about 1."""
    ragged: bool = False
    """Training examples differ from client to client: evenly from a quarter of ``examples`` to all."""

    source: ClassVar[DataSource] = DataSource(
        name="synthetic",
        clients="any number",
        tasks=(),
        examples=None,
        address="",
        licence="none needed: drawn at random",
        citation="",
    )

    def __post_init__(self) -> None:
        for name in ("clients", "examples", "test_examples", "features", "rank", "tasks", "tasks_per_client"):
            if getattr(self, name) < 1:
                raise ValueError(f"Synthetic needs at least one of each, got {name}={getattr(self, name)}.")
        rows = self.examples + self.test_examples
        numbers = self.clients * (rows * self.features + self.tasks * self.classes * (rows + self.rank))
        if numbers > MOST_NUMBERS:
            raise ValueError(
                f"Synthetic draws at most {MOST_NUMBERS:,} numbers, got {numbers:,} for clients={self.clients}, "
                f"examples={self.examples}, test_examples={self.test_examples}, features={self.features}, "
                f"tasks={self.tasks}, classes={self.classes}; lower some."
            )
        if self.rank > self.features:
            raise ValueError(f"Synthetic has features={self.features}, fewer than rank={self.rank}; lower the rank.")
        if self.classes < 2:
            raise ValueError(f"Synthetic needs at least two classes, got classes={self.classes}.")
        if self.kind not in (*KINDS, "mixed"):
            hint = did_you_mean(self.kind, (*KINDS, "mixed"))
            raise ValueError(f"Synthetic knows {', '.join(KINDS)} and mixed, got kind={self.kind!r}.{hint}")
        if self.tasks_per_client > self.tasks:
            raise ValueError(
                f"Synthetic has tasks={self.tasks}, fewer than tasks_per_client={self.tasks_per_client}; raise tasks."
            )
        if self.clients + self.tasks_per_client - 1 < self.tasks:
            raise ValueError(
                f"Synthetic with clients={self.clients} leaves some of tasks={self.tasks} without an owner; "
                "lower tasks, or raise clients or tasks_per_client."
            )
        if not 0 <= self.noise < math.inf:
            raise ValueError(f"Synthetic needs a noise of at least 0, got noise={self.noise}.")

    def load(self, seed: int) -> Federation:
        tasks = self._tasks()
        rows = self.examples + self.test_examples
        shape = (self.clients, rows, self.features)
        x = rng(seed, 0, SERVER, "inputs").standard_normal(shape, np.float32)  # (1)
        hidden = _project(x, self.subspace(seed).astype(np.float32))  # [clients, rows, k]
        names, owner = list(tasks), np.arange(self.clients)
        turns = owner % self.tasks
        owners = {name: (turn - turns) % self.tasks < self.tasks_per_client for turn, name in enumerate(names)}
        labels = {name: self._labels(seed, name, task, hidden, owners[name]) for name, task in tasks.items()}
        first, sizes = owner * rows, self._sizes(seed)
        flat = x.reshape(-1, self.features)
        tables = []
        for turn in range(self.tasks):
            owned = sorted(names[(turn + own) % self.tasks] for own in range(self.tasks_per_client))
            some = owner[turn :: self.tasks]
            y = {name: labels[name] for name in owned}
            train = JoinedRows(flat, y, first[some], sizes[some])
            test = JoinedRows(flat, y, first[some] + self.examples, np.full(len(some), self.test_examples))
            tables.append((tuple(owned), some, train, test))
        return Federation(tasks, (self.features,), joined(tables))

    def subspace(self, seed: int) -> NDArray[np.float64]:
        """V [d, k], orthonormal: what a trunk should find."""
        return np.linalg.qr(rng(seed, 0, SERVER, "subspace").standard_normal((self.features, self.rank)))[0]

    def _tasks(self) -> dict[str, Task]:
        kinds: dict[str, Task] = {
            "multiclass": MultiClass(self.classes),
            "binary": Binary(),
            "regression": Regression(std=math.hypot(1.0, self.noise)),
            "multilabel": MultiLabel(self.classes),
        }
        turns = KINDS if self.kind == "mixed" else (self.kind,)
        return {f"{turns[t % len(turns)]}_{t}": kinds[turns[t % len(turns)]] for t in range(self.tasks)}

    def _labels(
        self, seed: int, name: str, task: Task, hidden: NDArray[np.float32], owners: NDArray[np.bool_]
    ) -> NDArray[Any]:
        """(2) and (3), float32 [clients · rows, …]: the labels of clients that own the task, and zeros of others.

        Heads are drawn for all clients, so that a client's do not depend on how many tasks each owns.
        """
        draw = rng(seed, 0, SERVER, f"task {name}")
        outputs = output_shape(task.outputs)
        size = math.prod(outputs)
        heads = draw.standard_normal((self.clients, self.rank, size), np.float32)[owners] / np.sqrt(
            self.rank, dtype=np.float32
        )
        z = hidden[owners] @ heads
        if self.noise:
            noise = draw.standard_normal((*hidden.shape[:2], size), np.float32)
            z += self.noise * noise[owners]
        match task:
            case MultiClass():
                y = z.argmax(-1).astype(np.float32)
            case Regression():
                y = z[..., 0]
            case Binary():
                y = (z[..., 0] > 0).astype(np.float32)
            case _:
                y = (z > 0).astype(np.float32).reshape(*z.shape[:2], *outputs)
        labels = np.zeros((*hidden.shape[:2], *y.shape[2:]), np.float32)
        labels[owners] = y
        return labels.reshape(-1, *y.shape[2:])

    def _sizes(self, seed: int) -> NDArray[np.int64]:
        """Training examples of each client."""
        if not self.ragged:
            return np.full(self.clients, self.examples)
        fewest = max(1, self.examples // 4)
        return rng(seed, 0, SERVER, "sizes").integers(fewest, self.examples + 1, self.clients)


def _project(x: NDArray[np.float32], subspace: NDArray[np.float32]) -> NDArray[np.float32]:
    """x V. One product a client, as ever, since its last bits are a data set's; of a large population one of all."""
    if len(x) < LARGE:
        return x @ subspace
    return (x.reshape(-1, x.shape[-1]) @ subspace).reshape(*x.shape[:2], -1)

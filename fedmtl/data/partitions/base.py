"""Types of partitions, and the one call that deals examples and checks what was dealt."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.bounds import shown
from fedmtl.core.types import TaskSet
from fedmtl.registry.components import make

Change = Callable[[NDArray[Any]], NDArray[Any]]
"""Inputs of one client [N, …] -> the inputs that it has in their place."""


class ExampleFacts(NamedTuple):
    """Facts of N examples that partitions go by."""

    total: int
    """N."""
    labels: NDArray[Any] | None = None
    """Class of each, [N]; None where there are no classes."""
    ids: NDArray[Any] | None = None
    """Natural client of each, [N]: numbers or names; None where there are none."""
    tasks: TaskSet = ()
    """Tasks that clients may own."""
    shape: tuple[int, ...] = ()
    """Shape of one example's inputs."""


class Dealt(NamedTuple):
    """K clients."""

    rows: Sequence[NDArray[np.int64]]
    """Row numbers of each client's examples, [K]."""
    names: Sequence[str] = ()
    """Name of each client; empty where they have numbers only."""
    owned: Sequence[TaskSet] = ()
    """Tasks of each client; empty where all own all."""
    changes: Sequence[Change] = ()
    """Change of each client's inputs; empty where there is none."""


class Partitioner(Protocol):
    """Rule by which examples are dealt to clients. Implementations are frozen dataclasses."""

    def deal(self, examples: ExampleFacts, clients: int, seed: int) -> Dealt:
        """Deal the examples to ``clients`` clients; 0 leaves the number to a rule that knows it.

        Equal seeds deal alike. Each example goes to one client.

        Raises:
            ValueError: a partition that is impossible; the message names the numbers and the way out.
        """
        ...


def as_partition(value: Any) -> Partitioner:
    """The partition that a name, a call, a table or an object stands for.

    Raises:
        ValueError: it stands for none.
    """
    return make("partition", value)


def deal(partition: Partitioner, examples: ExampleFacts, clients: int, seed: int) -> Dealt:
    """Deal the examples, and check the result, which may be of a user's own rule.

    Raises:
        ValueError: as ``Partitioner.deal``, or a result that is none.
    """
    found = partition.deal(examples, clients, seed)
    who = shown(partition)
    if not isinstance(found, Dealt) or not len(found.rows):
        raise ValueError(
            f"{who}: deal(examples, clients, seed) gives a Dealt of one client or more, got {shown(found)}."
        )
    for name in ("names", "owned", "changes"):
        given = getattr(found, name)
        if len(given) not in (0, len(found.rows)):
            raise ValueError(f"{who}: {len(found.rows)} clients have {len(given)} {name}; give one each, or none.")
    sizes = np.array([len(rows) for rows in found.rows])
    if not sizes.all():
        raise ValueError(f"{who}: client {int(sizes.argmin())} has no example; give it one, or leave it out.")
    every = np.concatenate([np.asarray(rows) for rows in found.rows])
    if every.dtype.kind not in "iu" or every.min() < 0 or every.max() >= examples.total:
        raise ValueError(f"{who}: rows are whole numbers from 0 to {examples.total - 1}, got {shown(every)}.")
    if np.bincount(every, minlength=examples.total).max() > 1:
        twice = int(np.bincount(every).argmax())
        raise ValueError(f"{who}: example {twice} is dealt to two clients; each example has one.")
    return found._replace(rows=[np.asarray(rows, np.int64) for rows in found.rows])


def need_labels(partition: Any, examples: ExampleFacts) -> NDArray[Any]:
    """The class of each example.

    Raises:
        ValueError: there are none.
    """
    if examples.labels is None:
        raise ValueError(f"{partition!r} goes by classes, and these examples have none; use IID() or QuantitySkew().")
    return examples.labels


def need_clients(partition: Any, clients: int) -> None:
    """Refuse 0 clients, where the rule does not know the number.

    Raises:
        ValueError: it names the rule.
    """
    if clients < 1:
        raise ValueError(f"{partition!r} deals to a number of clients, got clients={clients}; use clients=10.")

"""Pathological: label skew; each client has examples of a few classes.

McMahan et al., AISTATS 2017, section 3 (clients of two digits each), arXiv:1602.05629.
"""

from dataclasses import dataclass

from fedmtl.data.partition import few_classes
from fedmtl.data.partitions.base import Dealt, ExampleFacts, need_clients, need_labels


@dataclass(frozen=True)
class Pathological:
    """Clients differ in their classes and hardly in size: each class has equally many owners, give or take one."""

    classes: int = 2
    """Classes of each client."""

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise ValueError(f"Pathological: a client has a class or more, got classes={self.classes}; use 2.")

    def deal(self, examples: ExampleFacts, clients: int, seed: int) -> Dealt:
        labels = need_labels(self, examples)
        need_clients(self, clients)
        return Dealt(few_classes(labels, clients, self.classes, seed))

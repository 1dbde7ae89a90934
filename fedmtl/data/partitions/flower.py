"""A partitioner of flwr-datasets as a partition."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.bounds import shown
from fedmtl.data.partitions.base import Dealt, ExampleFacts


@dataclass(frozen=True, eq=False)
class FlowerPartition:
    """Its own seed and number of partitions decide, and the experiment's seed does not."""

    partitioner: Any
    columns: Mapping[str, NDArray[Any]]
    """Columns that it may go by."""

    def deal(self, examples: ExampleFacts, clients: int, seed: int) -> Dealt:
        from datasets import Dataset

        own = copy.deepcopy(self.partitioner)
        plain = {name: list(column) for name, column in self.columns.items() if column.ndim == 1}
        try:
            own.dataset = Dataset.from_dict({**plain, "fedmtl.row": np.arange(examples.total)})
            count = own.num_partitions
            rows = [np.asarray(own.load_partition(k)["fedmtl.row"][:], np.int64) for k in range(count)]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            line = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            raise ValueError(f"{shown(self.partitioner)} cannot deal {examples.total} examples: {line}") from None
        if clients not in (0, count):
            raise ValueError(f"{shown(self.partitioner)} has {count} partitions, got clients={clients}; leave it out.")
        natural = getattr(own, "partition_id_to_natural_id", None)
        return Dealt(rows, [str(natural[k]) for k in range(count)] if natural else ())

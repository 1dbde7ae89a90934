"""A workload that takes no time."""

from fedmtl.bench.workloads import Workload

SMALL = Workload(
    "small", "MLP(hidden=(5,))", (6,), clients=7, cohort=3, examples=8, rounds=3, batch_size=4, classes=3, spread=2.0
)

"""fedmtl: Ray workers, packets, ledger and Flower's strategy, as in any run.

    python simulations/benchmarks/with_fedmtl.py W2 --workers 2

The last line that it prints is the record of the run, as JSON.
"""

import time

from fedmtl import run
from fedmtl.bench.data import Stored
from fedmtl.bench.network import flat
from fedmtl.bench.record import BenchResult, BenchTask, run_script


def with_fedmtl(task: BenchTask) -> BenchResult:
    experiment = task.workload.experiment(Stored(str(task.folder)), task.workers, task.compile)
    ends: list[float] = []
    result = run(experiment, on_round=lambda progress: ends.append(time.perf_counter()))
    spent = {name: seconds for name, seconds in result.summary["seconds"].items() if name not in ("start", "total")}
    return BenchResult(
        ends[:-1],  # the last call is that of the round that only measures
        flat(result.state),
        accuracy=result.summary["mean_score"],
        phases={name: seconds / task.workload.rounds for name, seconds in spent.items()},
    )


if __name__ == "__main__":
    run_script("fedmtl", with_fedmtl)

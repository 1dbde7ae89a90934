"""Flower's own simulation: its FedAvg, one node a client, heads in the nodes' state, on Ray actors of one CPU.

    python simulations/benchmarks/with_flower.py W1 --rounds 3

The last line that it prints is the record of the run, as JSON. A round of W2 takes half a minute.
"""

import time
from contextlib import redirect_stdout
from sys import stderr
from typing import Any

import flower_client
from flwr.app import ArrayRecord, ConfigRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg, Result
from flwr.simulation import run_simulation

from fedmtl.bench.network import flat, make_network
from fedmtl.bench.record import BenchResult, BenchTask, run_script


def with_flower(task: BenchTask) -> BenchResult:
    work = task.workload
    ends: list[float] = []
    results: list[Result] = []
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        strategy = FedAvg(
            fraction_train=work.cohort / work.clients,
            fraction_evaluate=0.0,
            # Flower takes the fraction of the nodes that have appeared so far: without this the first round is smaller.
            min_train_nodes=work.cohort,
            min_available_nodes=work.clients,
            train_metrics_aggr_fn=mean_loss,
        )
        result = strategy.start(
            grid=grid,
            initial_arrays=ArrayRecord(make_network(work, task.folder).trunk.state_dict()),
            num_rounds=work.rounds,
            train_config=ConfigRecord({"folder": str(task.folder)}),
            # Called before the first round, and after each.
            evaluate_fn=lambda round, arrays: ends.append(time.perf_counter()),
        )
        results.append(result)

    with redirect_stdout(stderr):
        run_simulation(
            app,
            flower_client.app,
            num_supernodes=work.clients,
            backend_config={
                "init_args": {"num_cpus": task.workers, "include_dashboard": False, "log_to_driver": False},
                "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            },
        )
    if not results:
        raise RuntimeError("Flower's simulation ended without a result; its log says why.")
    rounds: list[Any] = [metrics for _, metrics in sorted(results[0].train_metrics_clientapp.items())]
    clients = [int(metrics["clients"]) for metrics in rounds]
    if clients != [work.cohort] * work.rounds:
        raise RuntimeError(f"A round has {work.cohort} clients, but usable replies came from {clients}.")
    losses = [float(metrics["train-loss"]) for metrics in rounds]
    return BenchResult(ends[1:], flat(results[0].arrays.to_torch_state_dict()), losses)


def mean_loss(replies: list[Any], weight: str) -> MetricRecord:
    """All have equally many examples. Flower leaves out replies that failed, so those that came are counted."""
    losses = [float(reply["metrics"]["train-loss"]) for reply in replies]
    return MetricRecord({"train-loss": sum(losses) / len(losses), "clients": len(losses)})


if __name__ == "__main__":
    run_script("Flower", with_flower)

"""The ServerApp: the same over every Grid."""

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

from flwr.app import ArrayRecord, ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp

from fedmtl.data.base import Schema
from fedmtl.experiment import Experiment
from fedmtl.federation.influence import Bounds
from fedmtl.federation.server import Server
from fedmtl.recorder import Recorder
from fedmtl.results import Progress, Result
from fedmtl.rng import float32_default
from fedmtl.run_failure import noted
from fedmtl.run_folder import check_folder
from fedmtl.run_lock import hold
from fedmtl.runtime.discovery import discover
from fedmtl.runtime.messages import packet_bytes
from fedmtl.runtime.node import read_run_config
from fedmtl.runtime.strategy import FedMTL
from fedmtl.same_run import facts

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the experiment that Flower's run configuration names; ``out`` is the run folder, ``resume`` goes on there."""
    experiment = read_run_config(context.run_config)
    out = str(context.run_config.get("out", "")) or None
    folder = None if out is None else Path(out).resolve()
    if folder is not None:
        check_folder(folder)
    with hold(folder) if folder is not None else nullcontext():
        schema = experiment.load().schema
        same = None if folder is None else facts(experiment, schema, None)
        resume, restart = (bool(context.run_config.get(key, False)) for key in ("resume", "restart-clients"))
        recorder = Recorder(experiment, folder, resume, same, restart)
        serve(grid, experiment, schema, recorder, print_progress)


def print_progress(progress: Progress) -> None:
    """One plain line a round."""
    where = f"round {progress.round}/{progress.rounds}" if progress.round <= progress.rounds else "last model"
    print(
        f"{where}  mean score {progress.mean_score:.4f}  up {progress.bytes_up} B  down {progress.bytes_down} B",
        flush=True,
    )


@float32_default()
def serve(
    grid: Grid,
    experiment: Experiment,
    schema: Schema,
    recorder: Recorder,
    on_round: Callable[[Progress], None] | None = None,
) -> Result:
    """All rounds of an experiment, from the recorder's checkpoint on.

    Raises:
        RuntimeError: clients that never appeared, or a round without an update that could be used.
    """
    start = time.perf_counter()
    plan = experiment.make_plan(schema)
    plan.check(schema.owners)
    server = Server(
        plan,
        schema.owners,
        cohort=experiment.cohort,
        rounds=experiment.rounds,
        evaluate_every=experiment.evaluate_every,
        evaluate_clients=experiment.evaluate_clients,
        engine=experiment.make_engine(),
        bounds=Bounds(experiment.max_weight, experiment.max_norm),
        examples=schema.examples,
    )
    placement = discover(grid, server.clients, experiment.wait_seconds, rejected=server.rejected)
    recorder.restore(server)
    if recorder.finished is not None and recorder.round > experiment.rounds:
        return recorder.result(server, recorder.finished)
    # The loop is the reference, to the bit whatever the number of workers; other engines differ by rounding anyway.
    strategy = FedMTL(server, placement, recorder.run, experiment.wait_seconds, add=experiment.engine != "loop")
    strategy.summary()
    recorder.add_seconds("start", time.perf_counter() - start)
    with noted(recorder.folder, lambda: recorder.round):
        for progress in _rounds(grid, experiment, server, strategy, recorder):
            if on_round is not None:
                on_round(progress)
        return recorder.finish(server)


def _rounds(
    grid: Grid, experiment: Experiment, server: Server, strategy: FedMTL, recorder: Recorder
) -> Iterator[Progress]:
    """The rounds that are left, and the measurement of the last model; each is recorded when it is given."""
    nothing, settings = ArrayRecord({}), ConfigRecord()
    for t in range(recorder.round + 1, experiment.rounds + 2):
        begin = time.perf_counter()
        if t <= experiment.rounds:
            messages = strategy.configure_train(t, nothing, settings, grid)
        else:
            messages = strategy.configure_evaluate(experiment.rounds, nothing, settings, grid)
        sent = time.perf_counter()
        recorder.message_bytes["down"] += sum(packet_bytes(message) for message in messages)
        replies = list(grid.send_and_receive(messages, timeout=experiment.round_seconds))
        received = time.perf_counter()
        recorder.message_bytes["up"] += sum(packet_bytes(message) for message in replies)
        if t <= experiment.rounds:
            strategy.aggregate_train(t, replies)
        else:
            strategy.aggregate_evaluate(experiment.rounds, replies)
        recorder.add_seconds("driver", sent - begin)
        for phase, spent in strategy.seconds.items():
            recorder.add_seconds(phase, spent)
        recorder.add_seconds("transfer", max(0.0, received - sent - sum(strategy.seconds.values())))
        recorder.add_seconds("aggregate", time.perf_counter() - received)
        if strategy.outcome is None:
            raise RuntimeError(f"Round {t} was not closed; a strategy closes every round that it opens.")
        yield recorder.record(t, server, strategy.outcome)

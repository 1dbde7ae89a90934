"""The ServerApp, the same over every Grid."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

from flwr.app import ArrayRecord, ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp

from fedmtl.callbacks.runner import running
from fedmtl.core.random import float32_default
from fedmtl.data.base import Schema
from fedmtl.data.validation import example_counts
from fedmtl.protocol.plan_check import check_plan
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.recorder import Recorder
from fedmtl.runs.result import Progress, Result
from fedmtl.runs.run_failure import noted
from fedmtl.runs.run_folder import check_folder
from fedmtl.runs.run_lock import hold
from fedmtl.runs.same_run import facts
from fedmtl.runtime.flower.discovery import discover
from fedmtl.runtime.flower.messages import packet_bytes
from fedmtl.runtime.flower.strategy import FedMTL
from fedmtl.runtime.node import read_run_config
from fedmtl.server.influence import Bounds
from fedmtl.server.server import Server

log = logging.getLogger("fedmtl")

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the experiment of Flower's run configuration; ``out`` is the run folder, which ``resume`` continues."""
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
        with running(experiment.callbacks, recorder.info) as recorder.callbacks:
            result = serve(grid, experiment, schema, recorder, print_progress)
            recorder.callbacks.end(result.summary)


def print_progress(progress: Progress) -> None:
    """Print one plain line a round."""
    where = f"round {progress.round}/{progress.rounds}" if progress.round <= progress.rounds else "last model"
    where = f"test, model of round {progress.round}" if progress.tests else where
    print(f"{where}  {progress.score_text}  up {progress.bytes_up} B  down {progress.bytes_down} B", flush=True)


def check_validation(schema: Schema, fraction: float) -> None:
    """Log the clients that are too small for a validation part, once a run.

    Raises:
        ValueError: all of them are.
    """
    counts = example_counts(schema.examples, fraction)
    if counts is None or fraction == 0 or counts[:, 2].all():
        return
    small = schema.owners.clients[counts[:, 2] == 0]
    some = ", ".join(map(str, small[:10].tolist())) + (", …" if len(small) > 10 else "")
    if len(small) == len(counts):
        raise ValueError(
            f"valid_fraction={fraction:g} holds out nothing: each client has one training example, and keeps it; give "
            "clients more, or set valid_fraction=0."
        )
    log.warning("%d client(s) have one training example, keep it, and validate nothing: %s", len(small), some)


@float32_default()
def serve(
    grid: Grid,
    experiment: Experiment,
    schema: Schema,
    recorder: Recorder,
    on_round: Callable[[Progress], None] | None = None,
    pause: Callable[[Progress], bool] | None = None,
) -> Result:
    """Run all rounds of an experiment, from the recorder's checkpoint on.

    With validation parts, the best round's model is tested after the last one, or where ``patience`` has ended.
    ``pause`` is as for ``fedmtl.run``.

    Raises:
        RuntimeError: clients that were not found, or a round without a usable update.
    """
    start = time.perf_counter()
    plan = experiment.make_plan(schema)
    check_plan(plan, schema.owners)
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
    check_validation(schema, experiment.valid_fraction)
    node_map = discover(grid, server.roster, experiment.wait_seconds, rejected=server.rejected)
    recorder.client_names = schema.client_names
    recorder.restore(server)
    if recorder.finished is not None and recorder.is_over(server):
        return recorder.result(server, recorder.finished)
    if pause is not None and recorder.round > 0 and pause(recorder.progress(server)):
        return recorder.result(server, {})
    # The loop is the reference, bit-identical for any number of workers; other engines differ by rounding anyway.
    strategy = FedMTL(server, node_map, recorder.run, experiment.wait_seconds, add=experiment.engine != "loop")
    strategy.summary()
    recorder.add_seconds("start", time.perf_counter() - start)
    with noted(recorder.folder, lambda: recorder.round):
        for progress in _rounds(grid, experiment, server, strategy, recorder):
            if on_round is not None:
                on_round(progress)
            if pause is not None and pause(progress):
                return recorder.result(server, {})
        return recorder.finish(server)


def _rounds(
    grid: Grid, experiment: Experiment, server: Server, strategy: FedMTL, recorder: Recorder
) -> Iterator[Progress]:
    """Run and record the remaining rounds and the measurement of the last model; yield the progress of each."""
    nothing, settings = ArrayRecord({}), ConfigRecord()
    while not recorder.is_over(server):
        t = recorder.round + 1
        tests = server.schedule.validates and (t > experiment.rounds + 1 or server.best.exhausted(experiment.patience))
        begin = time.perf_counter()
        if tests:
            messages = strategy.configure_test(grid)
        elif t <= experiment.rounds:
            messages = strategy.configure_train(t, nothing, settings, grid)
        else:
            messages = strategy.configure_evaluate(experiment.rounds, nothing, settings, grid)
        sent = time.perf_counter()
        recorder.message_bytes["down"] += sum(packet_bytes(message) for message in messages)
        replies = list(grid.send_and_receive(messages, timeout=experiment.round_seconds))
        received = time.perf_counter()
        recorder.message_bytes["up"] += sum(packet_bytes(message) for message in replies)
        if tests:
            strategy.aggregate_test(replies)
        elif t <= experiment.rounds:
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
        yield recorder.record(t, server, strategy.outcome, tests)

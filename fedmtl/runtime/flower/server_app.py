"""The ServerApp, the same over every Grid."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedmtl.algorithms.common.work import local_passes
from fedmtl.callbacks.runner import running
from fedmtl.core.random import float32_default
from fedmtl.data.base import Schema
from fedmtl.data.validation import example_counts
from fedmtl.protocol.plan_check import check_plan
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.preparation import record_preparation, recorded_agreement
from fedmtl.runs.progress import Progress
from fedmtl.runs.recorder import Recorder
from fedmtl.runs.result import Result
from fedmtl.runs.run_failure import noted
from fedmtl.runs.run_folder import check_folder
from fedmtl.runs.run_lock import hold
from fedmtl.runs.same_run import facts
from fedmtl.runtime.flower.carried import CountedGrid
from fedmtl.runtime.flower.discovery import NodeMap, discover
from fedmtl.runtime.flower.messages import packet_bytes
from fedmtl.runtime.flower.prepare import Exchanged, PreparationExchange
from fedmtl.runtime.flower.strategy import FedMTL
from fedmtl.runtime.node import read_run_config
from fedmtl.server.at_server import placement_of
from fedmtl.server.clock import Clock
from fedmtl.server.influence import Bounds
from fedmtl.server.policy import RoundPolicy
from fedmtl.server.sampling import cohort_size
from fedmtl.server.schedule import Schedule
from fedmtl.server.server import Server
from fedmtl.server.synchronous import Synchronous
from fedmtl.timing.timing import UNTIMED

log = logging.getLogger("fedmtl")

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the experiment of Flower's run configuration; ``out`` is the run folder, which ``resume`` continues."""
    # With a database and a web framework: half as long as torch, which runs without a SuperLink need not wait for.
    from flwr.superlink.grid.http_grid import HttpGrid

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
            grid = CountedGrid(grid) if isinstance(grid, HttpGrid) else grid
            result = serve(grid, experiment, schema, recorder, print_progress)
            recorder.callbacks.end(result.summary)


def print_progress(progress: Progress) -> None:
    """Print one plain line a round."""
    sent = f"up {progress.bytes_up} B  down {progress.bytes_down} B"
    print(f"{progress.where}  {progress.score_text}  {sent}", flush=True)


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


def make_policy(experiment: Experiment, schema: Schema, size: int) -> RoundPolicy:
    """Make the round policy of an experiment: its simulated clock, where it has one.

    Raises:
        ValueError: devices whose work depends on data that is not here.
    """
    seconds = experiment.runtime.round_seconds
    if experiment.timing == UNTIMED:
        return Synchronous(size, experiment.seed, seconds)
    if schema.examples is None and experiment.devices != UNTIMED.devices:
        raise ValueError(
            f"devices = {experiment.devices!r} needs the number of each client's examples, which are on devices; leave "
            "it out, or run where the data is."
        )
    return Clock(experiment.timing, experiment.seed, size, local_passes(experiment.algorithm) or 1, seconds)


def make_server(experiment: Experiment, schema: Schema) -> Server:
    """Make the server of an experiment, with its schedule and its policy."""
    plan = experiment.make_plan(schema)
    validates = plan.valid_fraction > 0
    size = cohort_size(experiment.cohort, len(schema.owners))
    return Server(
        plan,
        schema.owners,
        schedule=Schedule(experiment.rounds, experiment.evaluate_every, validates, experiment.patience, plan.metrics),
        policy=make_policy(experiment, schema, size),
        evaluate_clients=experiment.evaluate_clients,
        placement=placement_of(plan, experiment.make_engine("cpu")),
        bounds=Bounds(experiment.max_weight, experiment.max_norm),
        examples=schema.examples,
    )


def _prepare(
    grid: Grid, experiment: Experiment, schema: Schema, recorder: Recorder, nodes: NodeMap, rejected: Counter[str]
) -> tuple[PreparationExchange | None, Exchanged | None]:
    """Let clients agree before the first round; where a run goes on, send again what they agreed on when it began."""
    if schema.prepared is None:
        return None, None
    packet = recorded_agreement(recorder, schema.prepared.digest) or b""
    made = PreparationExchange(grid, schema, recorder.run, experiment.runtime.round_seconds, rejected, packet)
    if not packet:
        return made, made.agree(nodes, experiment.max_weight)
    if recorder.finished is None:
        made.send(nodes)
    return made, None


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
    server = make_server(experiment, schema)
    check_plan(server.plan, schema.owners)
    check_validation(schema, experiment.valid_fraction)
    node_map = discover(grid, server.roster, experiment.runtime.wait_seconds, rejected=server.rejected)
    preparation, exchanged = _prepare(grid, experiment, schema, recorder, node_map, server.rejected)
    if preparation is not None and (agreed := preparation.schema) is not schema:  # nodes have data of their own
        schema, rejected = agreed, server.rejected
        server = make_server(experiment, schema)
        check_plan(server.plan, schema.owners)
        server.rejected += rejected
    recorder.schema = schema
    recorder.restore(server)
    if recorder.finished is not None and recorder.next_exchange(server) is None:
        return recorder.result(server, recorder.finished)
    if pause is not None and recorder.exchanges > 0 and pause(recorder.progress(server)):
        return recorder.result(server, {})
    exact = experiment.engine.traits.bit_identical
    # The loop is the reference, bit-identical for any number of workers; other engines differ by rounding anyway.
    wait = experiment.runtime.wait_seconds
    strategy = FedMTL(server, node_map, recorder.run, wait, not exact, preparation)
    strategy.summary()
    if preparation is not None and exchanged is not None and recorder.exchanges == 0:
        record_preparation(recorder, server, preparation.packet, exchanged.up, exchanged.down)
        recorder.add_bytes({}, **exchanged.messages)
    recorder.add_seconds(start=time.perf_counter() - start)
    with noted(recorder.folder, lambda: recorder.exchanges):
        while (exchange := recorder.next_exchange(server)) is not None:
            # --------------------------------------------------------------------------------------
            # --- ASK: the policy's clients, the broadcast to each, a message to each node ---------
            # --------------------------------------------------------------------------------------
            begin = time.perf_counter()
            messages = strategy.ask(exchange, grid)
            sent = time.perf_counter()
            # --------------------------------------------------------------------------------------
            # --- COLLECT: nodes measure the model, train on it, and reply -------------------------
            # --------------------------------------------------------------------------------------
            replies = list(grid.send_and_receive(messages, timeout=server.policy.wait_seconds(exchange)))
            received = time.perf_counter()
            # --------------------------------------------------------------------------------------
            # --- AGGREGATE: check replies, count their bytes, make the next version ---------------
            # --------------------------------------------------------------------------------------
            outcome = strategy.aggregate(replies)
            carried = grid.take() if isinstance(grid, CountedGrid) else {}
            recorder.add_bytes(carried, down=sum(map(packet_bytes, messages)), up=sum(map(packet_bytes, replies)))
            transfer = max(0.0, received - sent - sum(strategy.seconds.values()))
            recorder.add_seconds(driver=sent - begin, **strategy.seconds, transfer=transfer)
            recorder.add_seconds(aggregate=time.perf_counter() - received)
            # --------------------------------------------------------------------------------------
            # --- RECORD: rows, ledger, checkpoint, callbacks --------------------------------------
            # --------------------------------------------------------------------------------------
            progress = recorder.record(exchange, server, outcome)
            if on_round is not None:
                on_round(progress)
            if pause is not None and pause(progress):
                return recorder.result(server, {})
        return recorder.finish(server)

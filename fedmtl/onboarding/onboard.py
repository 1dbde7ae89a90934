"""New clients, and new tasks, after a run: what its trunk is worth to them, against the labels that they have."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.client.data_shard import ShardTable, shard_of
from fedmtl.core.bounds import check_float, check_int, shown
from fedmtl.core.random import float32_default
from fedmtl.core.toml import read_toml
from fedmtl.core.trees import tree_stack
from fedmtl.core.types import ClientId, Params, Payload
from fedmtl.export.finished import NotLoaded, read_finished
from fedmtl.export.trained import TrainedModels
from fedmtl.onboarding.descent import NewModels
from fedmtl.onboarding.download import download
from fedmtl.onboarding.few_labels import few_labels
from fedmtl.onboarding.kinds import NewcomerKind, kinds
from fedmtl.onboarding.newcomers import newcomers
from fedmtl.onboarding.outcome import ALL, AS_SENT, SCRATCH, NewClients, Onboarded
from fedmtl.onboarding.scoring import WaySums, scores_of
from fedmtl.onboarding.several import SeveralModels
from fedmtl.onboarding.ways import Descent, Steps, Ways
from fedmtl.optimizers import AdamW, Optimizer
from fedmtl.protocol.plan_check import check_inputs
from fedmtl.registry.allowed import beside
from fedmtl.runs.experiment import Experiment, from_dict
from fedmtl.runs.result import Result
from fedmtl.tasks.base import Task

ADAM = AdamW(weight_decay=0.0)


@float32_default()
def onboard(
    run: Result | str | Path,
    data: Any = None,
    *,
    labels: int | str | Sequence[int | str | None] | None = (5, 20, None),
    tasks: Mapping[str, Task | None] | None = None,
    known: bool = False,
    head_steps: int = 200,
    head_lr: float = 0.01,
    fine_tune: int = 0,
    fine_tune_lr: float = 0.001,
    scratch_steps: int = 200,
    scratch_lr: float = 0.01,
    batch_size: int = 32,
    optimizer: Optimizer = ADAM,
    test_fraction: float = 0.2,
    seed: int | None = None,
    experiment: Experiment | None = None,
    allow: Iterable[str] = (),
    state: str | Path | None = None,
) -> Onboarded:
    """Take new clients, or new tasks, in after a run, each with few labels.

    A new client downloads what the run's server would send to it, one packet of the run's codec, and sends nothing. Its
    heads, and whatever the method does not send, are trained on its labels, with the trunk held ("head"); then, with
    ``fine_tune``, all parameters ("fine-tuned"). Beside these stands a trunk and heads trained on the same labels from
    the first parameters ("from scratch"), which download nothing. Each is measured on the client's test examples. All
    clients descend together, stacked by the run's engine.

    Of a method that sends several models, the labels weigh these first ("as sent"): clients of IFCA take the one of
    least loss, those of FedEM mix them by ``head_steps`` of EM, those of Ensemble alike. A mixture is not trained on.

    Args:
        run: a result, or the folder of a finished run.
        data: of the new clients: a Federation, a data set, what ``from_arrays`` takes, or of a run on a table a table
            with its columns. None: the clients or tasks that the run's data ``Without(…)`` holds out.
        labels: k, or several: k labelled training examples of each class of a task of classes, k of other tasks; None
            or "all" for all of them. A smaller k takes a part of a larger one's.
        tasks: kinds of tasks that the run does not have, by name; those that are left out, or None, are inferred.
        known: the clients are the run's own, by number or name, and begin with their own models: for new tasks.
        head_steps, head_lr: steps on the heads.
        fine_tune, fine_tune_lr: steps on all parameters after the heads'; 0 for none.
        scratch_steps, scratch_lr: steps from scratch.
        batch_size: examples a step at most; with fewer, a step takes all.
        optimizer: of all steps; none with a schedule over rounds.
        test_fraction: the part of each client's examples that is tested on, where data does not say it.
        seed: of the draw of labels and of orders; None: the run's.
        experiment, allow, state: as for ``load_result``, of a folder.

    Raises:
        ValueError: data that does not fit the run; a class that the run does not have; a client without a label, or
            with fewer than k; a method that sends nothing.
        FileNotFoundError: no run folder, or a run that is not finished.
    """
    counts = _counts(labels)
    rates = {"head_lr": head_lr, "fine_tune_lr": fine_tune_lr, "scratch_lr": scratch_lr}
    _check_steps(optimizer, rates, head_steps=head_steps, scratch_steps=scratch_steps, batch_size=batch_size)
    check_int("fine_tune", fine_tune, 0)
    models = _models(run, experiment, allow, state, data is None)
    finished = models.run
    drawn = finished.experiment.seed if seed is None else seed
    check_int("seed", drawn, 0)
    federation = newcomers(finished, data, tasks or {}, test_fraction, drawn)
    own = {"tasks": {**finished.schema.tasks, **federation.tasks}, "forms": federation.forms}
    plan = finished.experiment.make_plan(finished.schema._replace(**own, input_shape=federation.input_shape))
    check_inputs(plan, federation.inputs())
    head, tune = Steps(head_steps, head_lr), Steps(fine_tune, fine_tune_lr)
    by = Descent(head, tune, Steps(scratch_steps, scratch_lr), batch_size, optimizer, drawn)
    engine, names = finished.experiment.make_engine(), federation.client_names
    measured: list[WaySums] = []
    groups: list[NewClients] = []
    numbers = {one: models.number(names.get(one, one)) for one in federation.clients} if known else None
    for kind, table in _tables(kinds(plan, federation.clients, names, numbers)):
        theirs = kind.plan
        received, own, sizes, payload = _received(models, kind, table, numbers)
        several = None
        if payload is not None and theirs.algorithm.traits.several_models:
            several = SeveralModels(theirs, engine, table, payload, tuple(finished.schema.tasks))
        ways = Ways(theirs, engine, table, received, own, by, several)
        kept: dict[tuple[int | str, str], NewModels] = {}
        if ways.complete and several is None:
            none = dict.fromkeys(table.owned, np.zeros(len(table.clients), np.int64))
            measured.append(WaySums(0, AS_SENT, table.clients, ways.measure(ways.start), none, sizes))
        for count in counts:
            chosen = {task: plan.tasks[task] for task in table.owned}
            word = ALL if count is None else count
            rows, labelled = few_labels(table.train, chosen, count, drawn, table.clients, names)
            for way, reached in ways.all(rows):
                paid = np.zeros_like(sizes) if way == SCRATCH else sizes
                measured.append(WaySums(word, way, table.clients, ways.measure(reached), labelled, paid))
                if way != SCRATCH:
                    kept[word, way] = reached
        groups.append(NewClients(theirs.module, table.owned, table.clients, kept))
    return Onboarded(scores_of(plan, measured, names), plan, groups, names, finished.recipe, federation.forms)


def _tables(found: Iterable[NewcomerKind]) -> Iterator[tuple[NewcomerKind, ShardTable]]:
    return ((kind, table) for kind in found for table in shard_of(kind.clients).tables)


def _counts(labels: Any) -> list[int | None]:
    """The numbers of labels, each once, all at the end."""
    given = list(labels) if isinstance(labels, list | tuple | range) else [labels]
    found = [None if one == ALL else one for one in given]
    for one in found:
        if one is not None and (isinstance(one, bool) or not isinstance(one, int | np.integer) or one < 1):
            raise ValueError(f'labels is a whole number from 1, or "all", or several of these, got {shown(one)}.')
    if not found:
        raise ValueError("labels names no number of labels; give one, such as 5, or None for all.")
    some = sorted({int(one) for one in found if one is not None})
    return [*some, None] if None in found else list(some)


def _check_steps(optimizer: Optimizer, rates: Mapping[str, float], **counts: int) -> None:
    for name, count in counts.items():
        check_int(name, count, 1)
    for name, rate in rates.items():
        check_float(name, rate)
        if rate <= 0:
            raise ValueError(f"{name} is positive, got {rate}.")
    if optimizer.traits.scheduled:
        raise ValueError(f"{optimizer!r} has a schedule over rounds, of which onboarding has none; take AdamW().")


def _models(
    run: Any, experiment: Experiment | None, allow: Iterable[str], state: str | Path | None, with_data: bool
) -> TrainedModels:
    """The models of a run, and with them its data set, where that holds out what is onboarded."""
    if not isinstance(run, Result):
        place, written, allowed = None if state is None else Path(state), Path(run) / "experiment.toml", list(allow)
        if with_data and experiment is None and written.is_file():  # else a run is read without its data
            experiment = from_dict(read_toml(written), str(written), beside(written, allowed))
        return TrainedModels(read_finished(Path(run), allowed, place, experiment))
    models = run.models
    if not isinstance(models, TrainedModels):
        raise ValueError(f"run is a Result of fedmtl.run or load_result, or a folder, got models {shown(models)}.")
    if with_data and isinstance(models.run.experiment.data, NotLoaded) and run.folder is not None:
        return _models(run.folder, experiment, allow, state, with_data)
    return models


def _received(
    models: TrainedModels, kind: NewcomerKind, table: ShardTable, numbers: Mapping[ClientId, ClientId] | None
) -> tuple[Params, Params, NDArray[np.int64], Payload | None]:
    """Parameters that all clients of a table receive, those that each has of its own, the bytes of each, [K], and the
    broadcast of new ones."""
    run, plan = models.run, kind.plan
    if numbers is None:
        found = download(kind, run.server, run.version, table.owned)
        return found.params, {}, np.full(len(table.clients), found.bytes), found.payload
    each = [models.own_params(numbers[client]) for client in table.clients.tolist()]
    wanted = plan.restrict(plan.initial, table.owned)
    common = set.intersection(*(set(params) for params, _ in each)) & set(wanted)
    own = tree_stack([{name: params[name] for name in sorted(common)} for params, _ in each]) if common else {}
    return {}, own, np.array([size for _, size in each], np.int64), None

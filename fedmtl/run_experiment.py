"""One call: an experiment in, a result out."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fedmtl.callbacks.runner import running
from fedmtl.client.state.base import StateStore
from fedmtl.core.files import Folder
from fedmtl.core.random import float32_default
from fedmtl.data.base import Federation
from fedmtl.data.recipe import TableRecipe
from fedmtl.models.wrappers import hashed_words
from fedmtl.protocol.make_plan import TokensRefused
from fedmtl.protocol.plan_check import check_inputs, check_plan
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.floors import floors
from fedmtl.runs.progress import Progress
from fedmtl.runs.recorder import Recorder
from fedmtl.runs.result import Models, Result
from fedmtl.runs.run_folder import check_folder
from fedmtl.runs.run_lock import hold
from fedmtl.runs.same_run import facts
from fedmtl.runtime.direct_grid import DirectGrid
from fedmtl.runtime.flower.component import refuse_deployed
from fedmtl.runtime.flower.server_app import serve
from fedmtl.server.sampling import cohort_size, measured_clients


@float32_default()
def run(
    experiment: Experiment,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    restart_clients: bool = False,
    on_round: Callable[[Progress], None] | None = None,
    callbacks: Iterable[Any] = (),
    pause: Callable[[Progress], bool] | None = None,
    federation: Federation | None = None,
    in_process: bool = False,
) -> Result:
    """Run an experiment on this machine, or on the Ray cluster that it names.

    Args:
        experiment: what to run.
        out: folder for rows, ledger, checkpoint and summary; None keeps them in memory.
        resume: go on from the folder's last finished round; the result has the same bits as a run that was never
            interrupted.
        restart_clients: clients that have trained and whose private state is gone or damaged begin anew; else that is
            an error, because the run would end with other numbers.
        on_round: called after each round.
        callbacks: get the run's rows, after the experiment's own callbacks; by name, such as "TensorBoard", or objects.
        pause: whether to leave it at that for now, asked where the folder's run stands and after each round. A run that
            is paused has rows and ledger so far, and an empty summary; it goes on with ``resume``.
        federation: what ``experiment.load()`` gives, where the caller has it already.
        in_process: do the work of Ray's workers here, one after the other, bit-identically: for runs beside others.

    Raises:
        ValueError: data, model, algorithm and codecs that do not fit each other, a folder that holds another run or the
            user's own files, or that another process writes.
        Diverged: a round in which no number of any update was finite.
        RuntimeError: a round without an update that could be used.
        MissingPackage: a callback's package is not installed.
    """
    refuse_deployed(experiment.runtime)
    experiment = replace(experiment, callbacks=(*experiment.callbacks, *callbacks))
    folder = None if out is None else Path(out).resolve()
    if folder is None:
        return _run(experiment, None, resume, restart_clients, on_round, pause, federation, in_process)
    check_folder(folder)
    with hold(folder):
        return _run(experiment, folder, resume, restart_clients, on_round, pause, federation, in_process)


def load_checked(experiment: Experiment, loaded: Federation | None = None) -> Federation:
    """Load an experiment's data, and check that model, algorithm, codecs and cohort fit it.

    Raises:
        ValueError: what does not fit.
    """
    federation = experiment.load() if loaded is None else loaded
    check_words(experiment.model, federation.recipe)
    try:
        plan = experiment.make_plan(federation)
    except TokensRefused:
        text = None if federation.recipe is None else federation.recipe.text
        if text is None:
            raise
        raise TokensRefused(experiment.model, federation.tokens, text.name) from None
    if federation.schema.integer_inputs and not plan.integer_inputs:
        federation = federation.with_floats()
    check_inputs(plan, federation.inputs())
    check_plan(plan, federation.schema.owners)
    cohort_size(experiment.cohort, len(federation.schema.owners))
    return federation


def check_words(model: Any, recipe: TableRecipe | None) -> None:
    """Refuse a table's own vocabulary, whose numbers are other words to a model that knows words by a hash.

    Raises:
        ValueError: it names the column, and the way out.
    """
    text = None if recipe is None else recipe.text
    if text is not None and (known := hashed_words(model)):
        raise ValueError(
            f"{model!r} knows words by a hash over {known} tokens, but those of the column {text.name!r} are numbered "
            f"by the table's own vocabulary; give from_arrays hashed_tokens(texts, {known}, length) of "
            "fedmtl.data.tokens."
        )


def _run(
    experiment: Experiment,
    folder: Path | None,
    resume: bool,
    restart_clients: bool,
    on_round: Callable[[Progress], None] | None,
    pause: Callable[[Progress], bool] | None,
    loaded: Federation | None,
    in_process: bool,
) -> Result:
    """``run`` in a folder that no other process writes."""
    bare = replace(experiment, callbacks=())  # what nodes get
    federation = load_checked(bare, loaded)  # before anything is written or started
    schema = federation.schema
    same = None if folder is None else facts(experiment, schema, federation)
    recorder, recipe = Recorder(experiment, folder, resume, same, restart_clients), federation.recipe
    if folder is not None and recipe is not None:  # as in an earlier part of the run, whose data is the same
        Folder(folder).write("recipe.json", recipe.to_json().encode())
    recorder.floors = floors(federation, measured_clients(schema.owners, experiment.evaluate_clients, experiment.seed))
    with running(experiment.callbacks, recorder.info) as recorder.callbacks:
        result, store = _serve(bare, federation, recorder, on_round, pause, in_process)
        if result.summary:  # else it is paused
            recorder.callbacks.end(result.summary)
    states = recorder.state_folder or store
    result.make_models = partial(_models, bare, schema, recipe, result.summary, result.state, states, result.references)
    return result


def _models(*run: Any) -> Models:
    from fedmtl.export.trained import models_of  # only a result that is asked for models needs it

    return models_of(*run)


def _serve(
    experiment: Experiment,
    federation: Federation,
    recorder: Recorder,
    on_round: Callable[[Progress], None] | None,
    pause: Callable[[Progress], bool] | None,
    in_process: bool,
) -> tuple[Result, StateStore | None]:
    """All rounds, on nodes of this machine or of a Ray cluster, to which callbacks are not sent; and private states."""
    schema = federation.schema
    if in_process:
        from fedmtl.runtime.local import LocalGrid

        nodes = experiment.runtime.nodes(len(schema.owners))
        grid = LocalGrid(experiment, federation, recorder.state_folder, nodes)
    else:
        grid = experiment.runtime.open(experiment, federation, recorder.state_folder)
    del federation  # the nodes have what they need of it
    try:
        result = serve(grid, experiment, schema, recorder, on_round, pause)
        kept = isinstance(grid, DirectGrid) and recorder.state_folder is None
        store = grid.private_states() if kept else None
    except Exception:
        grid.close()
        raise
    except BaseException:  # a signal
        grid.abandon()
        raise
    grid.close()
    return result, store

"""The data of new clients, or of new tasks, in the form of a run: its inputs, and its kinds of tasks."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.bounds import shown
from fedmtl.data.arrays import from_arrays
from fedmtl.data.base import ClientData, Dataset, Federation
from fedmtl.data.columns import as_table, check_columns
from fedmtl.data.frame_columns import labels_of, owners_of, parts_of
from fedmtl.data.held_out import Without
from fedmtl.data.recipe import TableRecipe
from fedmtl.data.task_checks import check_tasks
from fedmtl.export.finished import Finished
from fedmtl.onboarding.named import as_in_run
from fedmtl.tasks.base import Task
from fedmtl.tasks.names import class_names


def newcomers(
    run: Finished, data: Any, tasks: Mapping[str, Task | None], test_fraction: float, seed: int
) -> Federation:
    """Return the new clients, with the run's kinds of the tasks that it has.

    Args:
        run: finished.
        data: a Federation, a data set, what ``from_arrays`` takes, a table of a run on a table, or None for the
            clients or tasks that the run's data holds out.
        tasks: kinds of new tasks; None: inferred.
        test_fraction: the part of each client's examples that is tested on, where data does not say it.
        seed: of that division.

    Raises:
        ValueError: data of another form, or that the run's tasks or model cannot have.
    """
    known, given = dict(run.schema.tasks), {name: task for name, task in tasks.items() if task is not None}
    check_tasks(given)
    if twice := sorted(set(given) & set(known)):
        raise ValueError(
            f"Task {twice[0]!r} is the run's, a {known[twice[0]]!r}; leave its kind out, or give the new task another "
            "name."
        )
    if data is None:
        found = _held_out(run)
    elif isinstance(data, Federation):
        found = data
    elif isinstance(data, Dataset):
        found = data.load(seed)
    else:
        if hasattr(data, "columns"):
            data = _of_table(run, data, list(tasks))
        if not isinstance(data, Mapping):
            raise ValueError(
                "New clients are a Federation, a data set, a table, or {client: (x, {task: labels})}, got a "
                f"{type(data).__name__}."
            )
        names = {name for one in data.values() for name in _named(one)}
        kinds = {name: task for name, task in {**known, **given}.items() if name in names}
        found = from_arrays(data, kinds, test_fraction, float("nan")).load(seed)
    return _in_form(run, found)


def _held_out(run: Finished) -> Federation:
    data = run.experiment.data
    if not isinstance(data, Without):
        raise ValueError(
            "The run's data holds no client and no task out, so give data=…, new clients (--data FILE); or train on "
            "Without(data, clients=[…])."
        )
    return data.held_out(run.experiment.seed)


def _of_table(run: Finished, table: Any, new: list[str]) -> dict[Any, Any]:
    """The rows of a table as what ``from_arrays`` takes, read by the run's recipe."""
    recipe: TableRecipe | None = run.recipe
    if recipe is None:
        raise ValueError(
            "The run's data is no table, so new clients are arrays: {client: (x, {task: labels})}, of numpy or lists."
        )
    whole = as_table(table)
    names = list(whole.columns)
    check_columns("The table of new clients", [recipe.client, *new], names)
    own = [task for task in [*run.schema.tasks, *new] if task in names]
    if not own:
        raise ValueError(
            f"The table of new clients has no column of labels; the run's tasks are {', '.join(run.schema.tasks)}."
        )
    labels = {name: labels_of(name, whole[name], None) for name in own}
    labelled = np.any([~np.asarray(y.isna(), bool) for y in labels.values()], axis=0)
    owner = owners_of(whole[recipe.client])
    if bare := sorted(set(owner.tolist()) - set(owner[labelled].tolist()), key=str):
        raise ValueError(f"Client {shown(bare[0])} has no labelled row of any task; label some, or leave it out.")
    whole = whole[labelled].reset_index(drop=True)
    labels = {name: y[labelled].reset_index(drop=True) for name, y in labels.items()}
    x = recipe.inputs(whole)
    clients = parts_of(owner[labelled], labels, None)
    return {client: (x[rows[:, 0]], own) for client, (rows, own) in clients.items()}


def _named(data: Any) -> Iterator[str]:
    """Names of the tasks of one client, in any form that ``from_arrays`` takes."""
    if isinstance(data, Mapping):
        if set(data) <= {"train", "test"}:
            for part in data.values():
                yield from _named(part)
        else:
            for name, own in data.items():  # an input and its tasks, or a task
                inside = list(_named(own))
                yield from inside or [name]
    elif isinstance(data, tuple | list) and len(data) == 2 and isinstance(data[1], Mapping):
        yield from data[1]


def _in_form(run: Finished, found: Federation) -> Federation:
    """The new clients with the run's tasks and type of inputs."""
    schema = run.schema
    if schema.forms or found.forms:
        found = as_in_run(found, schema)
    elif tuple(found.input_shape) != tuple(schema.input_shape):
        raise ValueError(
            f"An example of the new clients has shape {tuple(found.input_shape)}, and of the run's "
            f"{tuple(schema.input_shape)}; give the same features, in the same order."
        )
    whole = found.schema.integer_inputs
    if run.plan.integer_inputs and not whole:
        raise ValueError(
            "The run's model takes whole numbers, such as tokens, and the new clients' inputs have others."
        )
    kinds, codes = dict(found.tasks), dict[str, NDArray[np.float32]]()
    for name, task in found.tasks.items():
        if name in schema.tasks:
            kinds[name] = schema.tasks[name]
            if (code := _codes(name, task, kinds[name])) is not None:
                codes[name] = code
    clients = {client: _coded(data, codes) for client, data in found.clients.items()} if codes else found.clients
    try:
        found = replace(found, tasks=kinds, clients=clients)  # labels are checked by the run's tasks
    except ValueError as error:
        raise ValueError(f"New clients do not fit the run's tasks: {error}") from None
    return found.with_floats() if whole and not run.plan.integer_inputs else found


def _codes(name: str, task: Task, wanted: Task) -> NDArray[np.float32] | None:
    """The run's class of each of the new clients' classes; None where they are the same.

    Raises:
        ValueError: another kind of task, or a class that the run does not have.
    """
    if type(task) is not type(wanted) or task.label_shape != wanted.label_shape:
        raise ValueError(f"Task {name!r} is {wanted!r} in the run, and {task!r} of the new clients; give that one.")
    own, classes = class_names(task), class_names(wanted)
    if not own or not classes or own == classes or wanted.label_shape:
        return None
    if unknown := [one for one in own if one not in classes]:
        raise ValueError(
            f"Task {name!r}: class {shown(unknown[0])} of the new clients is none of the run's, "
            f"{', '.join(classes[:10])}; leave its examples out, or train with it."
        )
    return np.array([classes.index(one) for one in own], np.float32)


def _coded(data: ClientData, codes: Mapping[str, NDArray[np.float32]]) -> ClientData:
    def of(name: str, y: NDArray[np.float32]) -> NDArray[np.float32]:
        if name not in codes:
            return y
        known = ~np.isnan(y)
        made = np.full_like(y, np.nan)
        made[known] = codes[name][y[known].astype(np.int64)]
        return made

    return ClientData(*(split._replace(y={name: of(name, y) for name, y in split.y.items()}) for split in data))

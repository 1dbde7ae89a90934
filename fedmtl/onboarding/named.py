"""Inputs of new clients in the rows of a run whose inputs have names: the same places, and room for new ones."""

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.input_forms import InputForm, InputForms, input_of, row_shape, to_rows
from fedmtl.data.base import ClientData, Federation, Schema


def as_in_run(found: Federation, schema: Schema) -> Federation:
    """Return new clients with the run's inputs, and with those of new tasks.

    Clients may have some of the run's inputs alone; examples without a name are of the input of their tasks.

    Args:
        found: new clients.
        schema: of the run's data.

    Raises:
        ValueError: inputs of other names or shapes than the run's.
    """
    if not schema.forms and not found.forms:
        return found
    if not schema.forms:
        raise ValueError(
            f"Inputs of the new clients are {', '.join(found.forms)}, and of the run's of one shape; give inputs of "
            "that shape, without names."
        )
    given = found.forms or _of_tasks(found, schema)
    forms = dict(schema.forms)
    for name, form in given.items():
        _check(name, form, schema)
        mine = forms.get(name, form)
        forms[name] = mine._replace(tasks=tuple(sorted({*mine.tasks, *form.tasks})))
    if forms == found.forms:
        return found
    clients = {
        client: ClientData(*(split._replace(x=_rows(split.x, found.forms, given, forms)) for split in data))
        for client, data in found.clients.items()
    }
    return replace(found, clients=clients, input_shape=row_shape(forms), forms=dict(sorted(forms.items())))


def _of_tasks(found: Federation, schema: Schema) -> InputForms:
    """The input of examples that have no name: that of the run's tasks among theirs."""
    names = {input_of(schema.forms, task) for task in found.tasks if task in schema.tasks}
    if len(names) != 1:
        raise ValueError(
            f"Inputs of the new clients have no names, and the run's are {', '.join(schema.forms)}; give {{name of the "
            "input: (x, {task: labels})}."
        )
    return {names.pop(): InputForm(tuple(found.input_shape), found.schema.integer_inputs, tuple(found.tasks))}


def _check(name: str, form: InputForm, schema: Schema) -> None:
    for task in form.tasks:
        if task in schema.tasks and (own := input_of(schema.forms, task)) != name:
            raise ValueError(f"Task {task!r} has the input {own!r} in the run, and {name!r} of the new clients.")
    wanted = schema.forms.get(name, form)
    if form.shape != wanted.shape:
        raise ValueError(
            f"An example of the input {name!r} has shape {form.shape} of the new clients, and {wanted.shape} of the "
            "run's; give the same features, in the same order."
        )
    if wanted.whole and not form.whole:
        raise ValueError(
            f"The input {name!r} is whole numbers in the run, such as tokens, and the new clients' has others."
        )


def _rows(x: Any, before: InputForms, given: InputForms, forms: InputForms) -> NDArray[np.float32]:
    """Rows of some inputs as rows of all."""
    if not before:
        return to_rows(forms, next(iter(given)), np.asarray(x))
    places = np.array([sorted(forms).index(name) for name in sorted(before)])
    found = np.zeros((len(x), *row_shape(forms)), np.float32)
    found[:, 0] = places[x[:, 0].astype(np.int64)]
    width = max(prod(form.shape) for form in before.values())
    found[:, 1 : 1 + width] = x[:, 1 : 1 + width]
    return found

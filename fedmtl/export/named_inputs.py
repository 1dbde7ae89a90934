"""Predictions of a run whose inputs have names: new examples come by name too."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from fedmtl.core.bounds import shown
from fedmtl.core.input_forms import InputForms, input_of, to_rows
from fedmtl.core.suggest import did_you_mean
from fedmtl.export.inputs import checked_inputs
from fedmtl.export.predict import predict
from fedmtl.models.predictions import Predictions, TaskPrediction
from fedmtl.models.split_model import SplitModel
from fedmtl.tasks.base import Task


def predict_named(
    module: nn.Module, whole: SplitModel, tasks: Mapping[str, Task], forms: InputForms, x: Any
) -> Predictions:
    """Return predictions of each task for the examples of its input.

    Args:
        module: of the client.
        whole: the model of all tasks.
        tasks: name -> task, of the client.
        forms: the run's inputs.
        x: name -> examples [N, …]: of an input for all of its tasks that the client has, or of a task for that alone.

    Raises:
        ValueError: no mapping, a name of neither an input nor a task of the client, or what ``checked_inputs`` refuses.
    """
    own = {name: [task for task in form.tasks if task in tasks] for name, form in forms.items()}
    known = sorted({*(name for name, some in own.items() if some), *tasks})
    if not isinstance(x, Mapping) or not x:
        raise ValueError(
            f"x: the run's inputs have names, and the client's are {', '.join(known)}; give examples by name, "
            f"{{{known[0]!r}: …}}, got {shown(x) if isinstance(x, Mapping) else f'a {type(x).__name__}'}."
        )
    found: dict[str, TaskPrediction] = {}
    for key, examples in x.items():
        if key not in known:
            raise ValueError(
                f"x: the client has no input or task {shown(key)}; it has {', '.join(known)}.{did_you_mean(key, known)}"
            )
        name, wanted = (key, own[key]) if own.get(key) else (input_of(forms, key), [key])
        inputs = checked_inputs(examples, forms[name].shape, name in whole.integer_stems, f"x[{key!r}]")
        rows = torch.from_numpy(to_rows(forms, name, inputs.numpy()))
        found |= predict(module, {task: tasks[task] for task in wanted}, rows)
    return Predictions(found)

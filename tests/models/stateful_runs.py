"""Runs and plans of models that train and measure differently."""

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from torch import Tensor, nn

from fedmtl import Experiment, run
from fedmtl.export.client_models import for_each_client_model
from fedmtl.runs.result import Result
from fedmtl.tasks import MultiClass
from tests.export.tiny_data import Tiny
from tests.models.stateful import StatefulMLP

TASKS: Any = {"a": MultiClass(3)}
MODEL, DATA = StatefulMLP(), Tiny()
DRAW = np.random.default_rng(0)


def experiment(algorithm: Any, model: Any = MODEL, data: Any = DATA, **changes: Any) -> Experiment:
    given = {"rounds": 3, "batch_size": 4, "runtime": "InProcess", "engine": "Loop", **changes}
    return Experiment(data=data, model=model, algorithm=algorithm, **given)


def finished(folder: Path, chosen: Experiment) -> tuple[Result, dict[int, dict[str, Tensor]]]:
    """A run, and the model that each client predicts with."""
    models: dict[int, dict[str, Tensor]] = {}

    def use(model: Any) -> Any:
        models[model.client] = {name: value.clone() for name, value in model.params.items()}
        return model.measure(model.params)

    result = run(chosen, folder)
    with patch("fedmtl.export.finished.from_dict", lambda *_: chosen):  # its components need no import path
        for_each_client_model(folder, use)
    return result, models


def furthest(one: dict[int, dict[str, Tensor]], other: dict[int, dict[str, Tensor]]) -> float:
    assert one.keys() == other.keys() and all(one[k].keys() == other[k].keys() for k in one)
    return max(float((one[k][n] - other[k][n]).abs().max()) for k in one for n in one[k])


def normed(convolution: bool, norm: Any = None) -> tuple[Any, tuple[int, ...], nn.Module]:
    """A model with a norm layer of 3 channels, BatchNorm of momentum 0.3 where none is given, its inputs' shape, and
    torch's own network of the same layers."""
    norm = norm or (nn.BatchNorm2d if convolution else nn.BatchNorm1d)(3, momentum=0.3)

    def trunk() -> nn.Module:
        if convolution:
            return nn.Sequential(nn.Conv2d(1, 3, 3), deepcopy(norm), nn.ReLU(), nn.Flatten())
        return nn.Sequential(nn.Linear(6, 3), deepcopy(norm), nn.ReLU())

    class Model:
        def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
            return trunk()

        def head(self, features: int, outputs: int) -> nn.Module:
            return nn.Linear(features, outputs)

    return Model(), (1, 6, 6) if convolution else (6,), nn.Sequential(trunk(), nn.Linear(48 if convolution else 3, 3))


@cache
def plan_of(algorithm: Any, model: Any = MODEL) -> Any:
    chosen = experiment(algorithm, model)
    return chosen.make_plan(chosen.load().schema)

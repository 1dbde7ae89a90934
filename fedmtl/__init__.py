"""Federated multi-task learning: shared trunks, private heads, and what their communication costs.

Names are imported when they are first used, so that ``import fedmtl`` takes no time. Every component that a preset can
name is here under the name of its class:

>>> from fedmtl import Ditto, TopK
>>> Ditto(lam=0.5).lam, TopK().keep
(0.5, 0.05)
"""

import importlib
from typing import TYPE_CHECKING, Any

from fedmtl.registry.names import REGISTRY

if TYPE_CHECKING:
    from fedmtl.algorithms import *  # noqa: F403
    from fedmtl.analysis import Run as Run
    from fedmtl.analysis.byte_rows import ByteRow as ByteRow
    from fedmtl.analysis.byte_rows import byte_rows as byte_rows
    from fedmtl.analysis.load import load_run as load_run
    from fedmtl.analysis.report.call import report as report
    from fedmtl.analysis.report.draw import draw_labels as draw_labels
    from fedmtl.analysis.wire import WireRow as WireRow
    from fedmtl.analysis.wire import wire_bytes as wire_bytes
    from fedmtl.augmentations import *  # noqa: F403
    from fedmtl.callbacks import *  # noqa: F403
    from fedmtl.cli.script import run_script as run_script
    from fedmtl.codecs import *  # noqa: F403
    from fedmtl.codecs.transforms import *  # noqa: F403
    from fedmtl.core.context import Context as Context
    from fedmtl.core.types import LocalResult as LocalResult
    from fedmtl.core.types import Upload as Upload
    from fedmtl.data import *  # noqa: F403
    from fedmtl.data.partitions import *  # noqa: F403
    from fedmtl.engines import *  # noqa: F403
    from fedmtl.export.load_result import load_result as load_result
    from fedmtl.models import *  # noqa: F403
    from fedmtl.onboarding.onboard import onboard as onboard
    from fedmtl.onboarding.outcome import Onboarded as Onboarded
    from fedmtl.optimizers import *  # noqa: F403
    from fedmtl.protocol.wire_model import FlowerWire as FlowerWire
    from fedmtl.run_experiment import run as run
    from fedmtl.runs.experiment import Experiment as Experiment
    from fedmtl.runs.presets import load_experiment as load_experiment
    from fedmtl.runs.result import Result as Result
    from fedmtl.runtime import *  # noqa: F403
    from fedmtl.studies.comparison import Comparison as Comparison
    from fedmtl.studies.comparison import compare as compare
    from fedmtl.studies.sweeping import sweep as sweep
    from fedmtl.tasks import *  # noqa: F403
    from fedmtl.timing.availability import *  # noqa: F403
    from fedmtl.timing.devices import *  # noqa: F403
    from fedmtl.timing.links import *  # noqa: F403
    from fedmtl.timing.make_trace import make_trace as make_trace
    from fedmtl.timing.policies import *  # noqa: F403
    from fedmtl.timing.radios import *  # noqa: F403
    from fedmtl.weightings import *  # noqa: F403

__version__ = "0.1.0"

_WHERE = {
    "algorithms": ("Algorithm", "Sends", "Traits"),
    "augmentations": ("Augmentation", "AugmentationTraits"),
    "callbacks": ("Callback", "MissingPackage", "RunInfo"),
    "cli.script": ("run_script",),
    "codecs": ("Codec", "CodecTraits", "Layout"),
    "codecs.transforms": ("Transform", "TransformTraits"),
    "studies.comparison": ("Comparison", "compare"),
    "studies.sweeping": ("sweep",),
    "data": (
        "ArrayData",
        "ClientData",
        "Dataset",
        "DatasetData",
        "Federation",
        "FrameData",
        "Joined",
        "JoinedRows",
        "Split",
        "TableRecipe",
        "from_arrays",
        "from_datasets",
        "from_frame",
        "hold_out",
        "joined",
        "recipe_from_json",
    ),
    "data.partitions": ("Dealt", "ExampleFacts", "Partitioner"),
    "engines": ("Engine", "EngineTraits", "NamedEngine"),
    "runs.experiment": ("Experiment",),
    "runs.presets": ("load_experiment",),
    "models": ("Model",),
    "onboarding.onboard": ("onboard",),
    "onboarding.outcome": ("Onboarded",),
    "optimizers": ("Optimizer", "OptimizerTraits"),
    "analysis.report.call": ("report",),
    "analysis.report.draw": ("draw_labels",),
    "runs.result": ("Result",),
    "run_experiment": ("run",),
    "analysis.load": ("load_run",),
    "analysis.byte_rows": ("ByteRow", "byte_rows"),
    "analysis.wire": ("WireRow", "wire_bytes"),
    "export.load_result": ("load_result",),
    "analysis.runs": ("Run",),
    "protocol.wire_model": ("FlowerWire",),
    "runtime": ("Runtime", "RuntimeTraits"),
    "tasks": ("Task", "TaskTraits"),
    "timing.availability": ("Availability",),
    "timing.devices": ("Devices",),
    "timing.links": ("NetworkLink",),
    "timing.make_trace": ("make_trace",),
    "timing.policies": ("Policy",),
    "timing.radios": ("Radio",),
    "core.context": ("Context",),
    "core.types": ("LocalResult", "Upload"),
    "weightings": ("Weighting", "WeightingTraits"),
}
"""Module -> names that are no registered component."""

_PATHS = {
    **{path.partition(":")[2]: path for paths in REGISTRY.values() for path in paths.values()},
    **{name: f"fedmtl.{module}:{name}" for module, names in _WHERE.items() for name in names},
}

__all__ = sorted(_PATHS)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _PATHS:
        from fedmtl.core.suggest import did_you_mean

        raise AttributeError(f"module 'fedmtl' has no attribute {name!r}.{did_you_mean(name, __all__)}")
    module, _, attribute = _PATHS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

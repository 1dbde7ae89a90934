"""Federated multi-task learning: shared trunks, private heads, and what their communication costs.

Names are imported when they are first used, so that ``import fedmtl`` takes no time.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedmtl.algorithms import Algorithm as Algorithm
    from fedmtl.algorithms import FedAvg as FedAvg
    from fedmtl.algorithms import FedPer as FedPer
    from fedmtl.algorithms import FedRep as FedRep
    from fedmtl.algorithms import Local as Local
    from fedmtl.algorithms import Pooled as Pooled
    from fedmtl.codecs import FP16 as FP16
    from fedmtl.codecs import Codec as Codec
    from fedmtl.codecs import Dense as Dense
    from fedmtl.codecs import ErrorFeedback as ErrorFeedback
    from fedmtl.codecs import Int8 as Int8
    from fedmtl.codecs import TopK as TopK
    from fedmtl.data import ClientData as ClientData
    from fedmtl.data import Digits as Digits
    from fedmtl.data import Federation as Federation
    from fedmtl.data import Split as Split
    from fedmtl.data import Synthetic as Synthetic
    from fedmtl.data import Watch as Watch
    from fedmtl.data import from_arrays as from_arrays
    from fedmtl.experiment import Experiment as Experiment
    from fedmtl.loading import load_experiment as load_experiment
    from fedmtl.models import CNN as CNN
    from fedmtl.models import MLP as MLP
    from fedmtl.models import TemporalCNN as TemporalCNN
    from fedmtl.results import Result as Result
    from fedmtl.running import run as run
    from fedmtl.tasks import Binary as Binary
    from fedmtl.tasks import MultiClass as MultiClass
    from fedmtl.tasks import MultiLabel as MultiLabel
    from fedmtl.tasks import Regression as Regression
    from fedmtl.types import LocalResult as LocalResult
    from fedmtl.types import Upload as Upload

__version__ = "0.1.0"

_WHERE = {
    "algorithms": ("Algorithm", "FedAvg", "FedPer", "FedRep", "Local", "Pooled"),
    "codecs": ("Codec", "Dense", "ErrorFeedback", "FP16", "Int8", "TopK"),
    "data": ("ClientData", "Digits", "Federation", "Split", "Synthetic", "Watch", "from_arrays"),
    "experiment": ("Experiment",),
    "models": ("CNN", "MLP", "TemporalCNN"),
    "loading": ("load_experiment",),
    "results": ("Result",),
    "running": ("run",),
    "tasks": ("Binary", "MultiClass", "MultiLabel", "Regression"),
    "types": ("LocalResult", "Upload"),
}
_MODULES = {name: f"fedmtl.{module}" for module, names in _WHERE.items() for name in names}

__all__ = sorted(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'fedmtl' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]

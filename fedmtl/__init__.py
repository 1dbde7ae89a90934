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
    from fedmtl.algorithms import Algorithm as Algorithm
    from fedmtl.algorithms import Sends as Sends
    from fedmtl.algorithms import Traits as Traits
    from fedmtl.algorithms.cross_stitch import CrossStitch as CrossStitch
    from fedmtl.algorithms.ditto import Ditto as Ditto
    from fedmtl.algorithms.ensemble import Ensemble as Ensemble
    from fedmtl.algorithms.fedadam import FedAdam as FedAdam
    from fedmtl.algorithms.fedamp import FedAMP as FedAMP
    from fedmtl.algorithms.fedavg import FedAvg as FedAvg
    from fedmtl.algorithms.fedavgm import FedAvgM as FedAvgM
    from fedmtl.algorithms.fedbabu import FedBABU as FedBABU
    from fedmtl.algorithms.fedbn import FedBN as FedBN
    from fedmtl.algorithms.fedem import FedEM as FedEM
    from fedmtl.algorithms.fedhca2 import FedHCA2 as FedHCA2
    from fedmtl.algorithms.fedper import FedPer as FedPer
    from fedmtl.algorithms.fedprox import FedProx as FedProx
    from fedmtl.algorithms.fedrep import FedRep as FedRep
    from fedmtl.algorithms.fedu import FedU as FedU
    from fedmtl.algorithms.fedyogi import FedYogi as FedYogi
    from fedmtl.algorithms.graph_structured import GraphStructured as GraphStructured
    from fedmtl.algorithms.ifca import IFCA as IFCA
    from fedmtl.algorithms.lgfedavg import LGFedAvg as LGFedAvg
    from fedmtl.algorithms.local import Local as Local
    from fedmtl.algorithms.matfl import MaTFL as MaTFL
    from fedmtl.algorithms.mocha import Mocha as Mocha
    from fedmtl.algorithms.mrmtl import MRMTL as MRMTL
    from fedmtl.algorithms.pfedme import PFedMe as PFedMe
    from fedmtl.algorithms.pooled import Pooled as Pooled
    from fedmtl.algorithms.scaffold import Scaffold as Scaffold
    from fedmtl.algorithms.server_cagrad import ServerCAGrad as ServerCAGrad
    from fedmtl.algorithms.server_pcgrad import ServerPCGrad as ServerPCGrad
    from fedmtl.algorithms.soft_sharing import SoftSharing as SoftSharing
    from fedmtl.algorithms.task_weighted import TaskWeighted as TaskWeighted
    from fedmtl.algorithms.transfer import Transfer as Transfer
    from fedmtl.analysis import Run as Run
    from fedmtl.analysis.load import load_run as load_run
    from fedmtl.analysis.report.call import report as report
    from fedmtl.callbacks import Callback as Callback
    from fedmtl.callbacks import RunInfo as RunInfo
    from fedmtl.callbacks.csv_file import CSV as CSV
    from fedmtl.callbacks.mlflow import MLflow as MLflow
    from fedmtl.callbacks.tensorboard import TensorBoard as TensorBoard
    from fedmtl.codecs import Codec as Codec
    from fedmtl.codecs import CodecTraits as CodecTraits
    from fedmtl.codecs.dense import Dense as Dense
    from fedmtl.codecs.error_feedback import ErrorFeedback as ErrorFeedback
    from fedmtl.codecs.fp16 import FP16 as FP16
    from fedmtl.codecs.int8 import Int8 as Int8
    from fedmtl.codecs.topk import TopK as TopK
    from fedmtl.core.types import LocalResult as LocalResult
    from fedmtl.core.types import Upload as Upload
    from fedmtl.data import ClientData as ClientData
    from fedmtl.data import Dataset as Dataset
    from fedmtl.data import Federation as Federation
    from fedmtl.data import Split as Split
    from fedmtl.data import from_arrays as from_arrays
    from fedmtl.data.digits import Digits as Digits
    from fedmtl.data.synthetic import Synthetic as Synthetic
    from fedmtl.data.watch import Watch as Watch
    from fedmtl.engines import Engine as Engine
    from fedmtl.engines import Loop as Loop
    from fedmtl.engines import VMap as VMap
    from fedmtl.models import Model as Model
    from fedmtl.models.cnn import CNN as CNN
    from fedmtl.models.cnn import TemporalCNN as TemporalCNN
    from fedmtl.models.linear import Linear as Linear
    from fedmtl.models.mlp import MLP as MLP
    from fedmtl.optimizers import Optimizer as Optimizer
    from fedmtl.optimizers import OptimizerTraits as OptimizerTraits
    from fedmtl.optimizers.adamw import AdamW as AdamW
    from fedmtl.optimizers.clip import Clip as Clip
    from fedmtl.optimizers.cosine import Cosine as Cosine
    from fedmtl.optimizers.momentum import Momentum as Momentum
    from fedmtl.optimizers.sgd import SGD as SGD
    from fedmtl.optimizers.step_decay import StepDecay as StepDecay
    from fedmtl.optimizers.warmup import Warmup as Warmup
    from fedmtl.optimizers.weight_decay import WeightDecay as WeightDecay
    from fedmtl.run_experiment import run as run
    from fedmtl.runs.experiment import Experiment as Experiment
    from fedmtl.runs.presets import load_experiment as load_experiment
    from fedmtl.runs.result import Result as Result
    from fedmtl.studies.comparison import Comparison as Comparison
    from fedmtl.studies.comparison import compare as compare
    from fedmtl.tasks import Task as Task
    from fedmtl.tasks import TaskTraits as TaskTraits
    from fedmtl.tasks.binary import Binary as Binary
    from fedmtl.tasks.multiclass import MultiClass as MultiClass
    from fedmtl.tasks.multilabel import MultiLabel as MultiLabel
    from fedmtl.tasks.regression import Regression as Regression
    from fedmtl.weightings import Weighting as Weighting
    from fedmtl.weightings import WeightingTraits as WeightingTraits
    from fedmtl.weightings.cagrad import CAGrad as CAGrad
    from fedmtl.weightings.dwa import DWA as DWA
    from fedmtl.weightings.equal import Equal as Equal
    from fedmtl.weightings.gradnorm import GradNorm as GradNorm
    from fedmtl.weightings.mgda import MGDA as MGDA
    from fedmtl.weightings.pcgrad import PCGrad as PCGrad
    from fedmtl.weightings.uncertainty import Uncertainty as Uncertainty

__version__ = "0.1.0"

_WHERE = {
    "algorithms": ("Algorithm", "Sends", "Traits"),
    "callbacks": ("Callback", "RunInfo"),
    "codecs": ("Codec", "CodecTraits"),
    "studies.comparison": ("Comparison", "compare"),
    "data": ("ClientData", "Dataset", "Federation", "Split", "from_arrays"),
    "engines": ("Engine", "Loop", "VMap"),
    "runs.experiment": ("Experiment",),
    "runs.presets": ("load_experiment",),
    "models": ("Model",),
    "optimizers": ("Optimizer", "OptimizerTraits"),
    "analysis.report.call": ("report",),
    "runs.result": ("Result",),
    "run_experiment": ("run",),
    "analysis.load": ("load_run",),
    "analysis.runs": ("Run",),
    "tasks": ("Task", "TaskTraits"),
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

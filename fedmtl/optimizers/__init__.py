"""Client optimizers, and wrappers of them: clipping, decay, schedules. One a file."""

from fedmtl.optimizers.base import Optimizer as Optimizer
from fedmtl.optimizers.traits import OptimizerTraits as OptimizerTraits

# The table: a line registers a component, and its place is that in all lists (fedmtl/registry/names.py).
# isort: off
from fedmtl.optimizers.sgd import SGD as SGD
from fedmtl.optimizers.momentum import Momentum as Momentum
from fedmtl.optimizers.adamw import AdamW as AdamW
from fedmtl.optimizers.adam import Adam as Adam
from fedmtl.optimizers.yogi import Yogi as Yogi
from fedmtl.optimizers.clip import Clip as Clip
from fedmtl.optimizers.weight_decay import WeightDecay as WeightDecay
from fedmtl.optimizers.cosine import Cosine as Cosine
from fedmtl.optimizers.step_decay import StepDecay as StepDecay
from fedmtl.optimizers.warmup import Warmup as Warmup

"""Hyper-parameters chosen on validation parts: search spaces, samplers, trials that go on where they were ended."""

from fedmtl.tuning.spaces import Range as Range
from fedmtl.tuning.spaces import default_space as default_space
from fedmtl.tuning.spaces import space_of as space_of
from fedmtl.tuning.trials import Trial as Trial
from fedmtl.tuning.tune import Tuned as Tuned
from fedmtl.tuning.tune import Tuning as Tuning
from fedmtl.tuning.tune import tune as tune

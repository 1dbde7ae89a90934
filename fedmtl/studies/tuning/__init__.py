"""Hyper-parameters chosen on validation parts: search spaces, samplers, trials that go on where they were ended."""

from fedmtl.studies.tuning.spaces import Range as Range
from fedmtl.studies.tuning.spaces import default_space as default_space
from fedmtl.studies.tuning.spaces import space_of as space_of
from fedmtl.studies.tuning.trials import Trial as Trial
from fedmtl.studies.tuning.tune import Tuned as Tuned
from fedmtl.studies.tuning.tune import Tuning as Tuning
from fedmtl.studies.tuning.tune import tune as tune

"""Augmentations: changes of inputs, drawn anew in every training step. One a file."""

from fedmtl.augmentations.base import Augmentation as Augmentation
from fedmtl.augmentations.traits import AugmentationTraits as AugmentationTraits

# The table: a line registers a component, and its place is that in all lists (fedmtl/registry/names.py).
# isort: off
from fedmtl.augmentations.random_flip import RandomFlip as RandomFlip
from fedmtl.augmentations.random_shift import RandomShift as RandomShift
from fedmtl.augmentations.jitter import Jitter as Jitter
from fedmtl.augmentations.random_scale import RandomScale as RandomScale
from fedmtl.augmentations.time_shift import TimeShift as TimeShift
from fedmtl.augmentations.word_dropout import WordDropout as WordDropout

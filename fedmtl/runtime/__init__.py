"""Runtimes: the places of an experiment's nodes. Nothing heavy is imported, so that Ray starts before torch does."""

from fedmtl.runtime.base import Runtime as Runtime
from fedmtl.runtime.base import RuntimeTraits as RuntimeTraits

# The table: a line registers a component, and its place is that in all lists (fedmtl/registry/names.py).
# isort: off
from fedmtl.runtime.ray.component import Ray as Ray
from fedmtl.runtime.in_process import InProcess as InProcess
from fedmtl.runtime.flower.component import Flower as Flower

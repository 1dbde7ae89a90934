"""Engines, which train the clients of one node one by one or a cohort at once."""

from fedmtl.engines.base import Engine as Engine
from fedmtl.engines.base import NamedEngine as NamedEngine
from fedmtl.engines.traits import EngineTraits as EngineTraits

# The table: a line registers a component, and its place is that in all lists (fedmtl/registry/names.py).
# isort: off
from fedmtl.engines.vmap import VMap as VMap
from fedmtl.engines.loop import Loop as Loop

"""Engines, which train the clients of one node one by one or a cohort at once."""

from fedmtl.engines.base import Cohort as Cohort
from fedmtl.engines.base import Engine as Engine
from fedmtl.engines.base import TaskPadding as TaskPadding
from fedmtl.engines.dynamo import postpone_dynamo
from fedmtl.engines.loop import Loop as Loop
from fedmtl.engines.vmap import VMap as VMap

ENGINES: dict[str, type[Loop] | type[VMap]] = {"loop": Loop, "vmap": VMap}

postpone_dynamo()

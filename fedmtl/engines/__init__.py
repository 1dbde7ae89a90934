"""Engines: how the clients of one node are trained, one by one or a cohort at once."""

from fedmtl.engines.dynamo import postpone_dynamo
from fedmtl.engines.loop import Loop as Loop
from fedmtl.engines.vmap import VMap as VMap
from fedmtl.federation.job import Cohort as Cohort
from fedmtl.federation.job import Engine as Engine
from fedmtl.federation.job import Wide as Wide

ENGINES: dict[str, type[Loop] | type[VMap]] = {"loop": Loop, "vmap": VMap}

postpone_dynamo()

"""Traits of a weighting."""

from dataclasses import dataclass, field

from fedmtl.core.traits import known_traits


@known_traits
@dataclass(frozen=True)
class WeightingTraits:
    """Capabilities of a weighting. The default declares none."""

    retract: bool = field(default=False, metadata={"methods": ("retract",)})
    """``retract(params) -> params``: after each step of training, the parameters of ``init_params`` that are in
    ``params``, put back onto their constraint."""
    combine_vectors: bool = field(default=False, metadata={"methods": ("combine_vectors",)})
    """``combine_vectors(rows [K, d], weights [K], random) -> [d]``: one vector, in float64, of the updates of clients,
    which makes it a rule of ``ServerGradientSurgery``."""
    check_tasks: bool = field(default=False, metadata={"methods": ("check_tasks",)})
    """``check_tasks(tasks)``: refuse, by a ValueError, settings that do not fit the names of an experiment's tasks."""

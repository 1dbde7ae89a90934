"""Tasks of a model, by the names of its heads."""

from fedmtl.core.types import Params, TaskSet


def tasks_of(params: Params) -> TaskSet:
    """Return the tasks whose heads are among the parameters, in order."""
    return tuple(sorted({name.split(".")[1] for name in params if name.startswith("head.")}))

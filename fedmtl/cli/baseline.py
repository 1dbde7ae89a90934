"""The ``Local`` run beside a run: the floor that sharing has to beat."""

from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedmtl.runs.experiment import Experiment

FOLDER = "baseline"
"""In the run's folder."""


def floor_of(experiment: "Experiment", asked: bool | None, usual: bool) -> "Experiment | None":
    """The floor to run beside an experiment; None where there is none.

    Args:
        experiment: of the run.
        asked: what ``--baseline`` or ``--no-baseline`` say; None without either.
        usual: whether there is one without either, unless the run is ``Local`` itself.

    Raises:
        ValueError: a floor that is asked for, of ``Local``.
    """
    from fedmtl.algorithms.local import Local

    if asked or (asked is None and usual and not isinstance(experiment.algorithm, Local)):
        return local_beside(experiment)
    return None


def local_beside(experiment: "Experiment") -> "Experiment":
    """The experiment with ``Local`` in place of its algorithm: same data, model, seed and rounds, as many local passes.

    Learning rate and optimizer are the algorithm's where it has these fields.

    Raises:
        ValueError: the algorithm is ``Local``.
    """
    from fedmtl.algorithms.common.work import local_passes
    from fedmtl.algorithms.local import Local

    if isinstance(experiment.algorithm, Local):
        raise ValueError("--baseline adds a run of Local, and the run's algorithm is Local itself; leave it out.")
    inner = _innermost(experiment.algorithm)
    names = {field.name for field in fields(inner)} if is_dataclass(inner) else set()
    given: dict[str, Any] = {name: getattr(inner, name) for name in ("lr", "optimizer") if name in names}
    passes = local_passes(experiment.algorithm)
    if passes is not None:
        given["epochs"] = passes
    return replace(experiment, algorithm=Local(**given), up_codec="Dense", down_codec="Dense")


def _innermost(algorithm: Any) -> Any:
    """Return the algorithm inside all wrappers."""
    from fedmtl.core.traits import part

    while (inner := part(algorithm, "algorithm")) is not None:
        algorithm = inner
    return algorithm

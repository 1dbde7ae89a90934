"""A client's local work in a round, as data: passes over its examples with gradients, by which comparisons are read."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from fedmtl.core.traits import part

MULTIPLIERS: Mapping[str, str] = {"PFedMe": "steps", "FedEM": "components"}
"""Algorithm -> the field that multiplies its passes: steps on each batch, or models that are trained side by side."""


def local_passes(algorithm: Any) -> int | None:
    """Gradients of one model that a client takes in a round, in passes over all of its training examples.

    It is the sum of the algorithm's fields ``epochs`` and ``…_epochs``, times what ``MULTIPLIERS`` names; a wrapper's
    are those of its field ``algorithm``. So FedAvg(epochs=1) has 1, and Ditto(epochs=1), whose personal model takes 5
    passes more, 6. Optimizer steps are this times the batches of a client. Passes without gradients, as IFCA, FedEM and
    TaskWeighted take to look at losses, do not count; of MOCHA, passes of coordinate ascent do.

    Args:
        algorithm: an object, or its table in an experiment: ``name``, and fields.

    Returns:
        None where neither a field nor the trait ``local_passes`` gives it.
    """
    table = algorithm if isinstance(algorithm, Mapping) else _table(algorithm)
    if isinstance(table.get("local_passes"), int):
        return table["local_passes"]
    inner = table.get("algorithm")
    if inner is not None:
        return local_passes(inner)
    epochs = [value for key, value in table.items() if key == "epochs" or key.endswith("_epochs")]
    return sum(epochs) * table.get(MULTIPLIERS.get(table["name"], ""), 1) if epochs else None


def _table(algorithm: Any) -> dict[str, Any]:
    passes: int | None = algorithm.traits.local_passes
    own = {field.name: part(algorithm, field.name) for field in fields(algorithm)} if is_dataclass(algorithm) else {}
    return {**own, "name": type(algorithm).__name__, **({} if passes is None else {"local_passes": passes})}

"""A client's local work in a round, as data: passes over its examples with gradients, by which comparisons are read."""

from dataclasses import fields, is_dataclass
from typing import Any

from fedmtl.core.traits import part


def local_passes(algorithm: Any) -> int | None:
    """Gradients of one model that a client takes in a round, in passes over all of its training examples.

    It is the sum of the algorithm's fields ``epochs`` and ``…_epochs``, times the field that the trait
    ``passes_multiplier`` names; a wrapper's are those of its field ``algorithm``. So FedAvg(epochs=1) has 1, and
    Ditto(epochs=1), whose personal model takes 5 passes more, 6. Optimizer steps are this times a client's batches.
    Passes without gradients, as IFCA, FedEM and TaskWeighted take to look at losses, do not count; of MOCHA, passes of
    coordinate ascent do.

    Returns:
        None where neither a field nor the trait ``local_passes`` gives it.
    """
    traits = algorithm.traits
    if traits.local_passes is not None:
        return traits.local_passes
    inner = part(algorithm, "algorithm")
    if inner is not None:
        return local_passes(inner)
    names = [field.name for field in fields(algorithm)] if is_dataclass(algorithm) else []
    epochs = [part(algorithm, name) for name in names if name == "epochs" or name.endswith("_epochs")]
    times = part(algorithm, traits.passes_multiplier) if traits.passes_multiplier else 1
    return sum(epochs) * times if epochs else None

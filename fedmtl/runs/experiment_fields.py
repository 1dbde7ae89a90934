"""Fields of an experiment: those of its execution, and bounds of numbers."""

from fedmtl.core.bounds import MOST_INT

EXECUTION_FIELDS = (
    "name",
    "engine",
    "runtime",
    "max_weight",
    "max_norm",
    "train_loss",
    "callbacks",
)
"""Fields that say how and where an experiment runs. Its results depend on the others (on these by rounding at most)."""


BOUNDS = {
    "rounds": (1, 10_000_000),
    "batch_size": (0, 10_000_000),
    "evaluate_clients": (0, MOST_INT),
    "patience": (0, MOST_INT),
    "evaluate_every": (1, MOST_INT),  # a large one measures the first and the last model only
    "seed": (0, MOST_INT),
}
"""Field -> the least and the most that it may be: more would be a slip, and cost hours or all memory."""

DEFAULT_RUNTIME = "Ray"

"""Fields of an experiment: those of its execution, and bounds of numbers."""

from fedmtl.core.bounds import MOST_INT

EXECUTION_FIELDS = (
    "name",
    "engine",
    "chunk",
    "compile",
    "runtime",
    "workers",
    "gpus_per_worker",
    "ray_address",
    "state_dir",
    "wait_seconds",
    "round_seconds",
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
    "chunk": (0, 1_000_000),
    "workers": (1, 10_000),
}
"""Field -> the least and the most that it may be: more would be a slip, and cost hours or all memory."""


MOST_SECONDS = 10_000_000
"""Four months of waiting."""


MOST_GPUS = 1024

RUNTIMES = ("ray", "local")

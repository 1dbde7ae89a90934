"""Names of parameters that each algorithm sends and keeps, as its traits declare them."""

from typing import Any, NamedTuple

from fedmtl.algorithms import Algorithm, Ensemble, LGFedAvg, Mocha
from tests.conftest import ALL_ALGORITHMS, TASKS


class Claim(NamedTuple):
    """Beginnings of names of parameters; "" stands for all of them."""

    down: tuple[str, ...]
    up: tuple[str, ...]
    private: tuple[str, ...]
    copies: bool = False
    """Whether what a client keeps is also what it sends, by the algorithm's own traits."""
    beside: tuple[str, ...] = ()
    """Names in the upload that are no parameters."""
    told: tuple[str, ...] = ()
    """Names in the broadcast that are no parameters."""
    numbers: int = 11
    """How many different numbers of the private state there are at least."""
    by_task: bool = False
    """Whether clients hear of each other through the heads of common tasks alone."""


PARTS = {
    "nothing": (),
    "trunk": ("trunk.",),
    "heads": ("head.",),
    "model": ("",),
    "raw data": ("",),  # the local update of the union, whose upload stays on the server
    # Of the trunk of tests.conftest.Normed, 1 is the linear layer and 2 the norm layer.
    "norm layers": ("trunk.2.",),
    "all but norm layers": ("trunk.1.", "head."),
    # Of the trunk of LoRA(MLP(…)), which is one layer's.
    "trunk but A": ("trunk.1.weight_lora_B",),
    "trunk but B": ("trunk.1.weight_lora_A",),
    "heads and A": ("head.", "trunk.1.weight_lora_A"),
    "heads and B": ("head.", "trunk.1.weight_lora_B"),
    "merged adapters": (),
}
"""Part of a model -> beginnings of its parameters' names in the tests' models."""


def claim_of(algorithm: Algorithm[Any, Any]) -> Claim:
    sends = algorithm.traits.sends
    assert sends is not None, f"{type(algorithm).__name__}: declare sends=Sends(down=…, up=…, private=…) in its traits"
    merged = ("trunk.1.weight_lora_merged",) if sends.down == "merged adapters" else ()
    told = [name.replace("*", task) for name in sends.down_extra for task in (TASKS if "*" in name else ("",))]
    return Claim(
        down=PARTS[sends.down],
        up=PARTS[sends.up],
        private=PARTS[sends.private],
        copies=sends.private_sent,
        beside=sends.up_extra,
        told=(*told, *merged),
        numbers=1 if isinstance(algorithm, Mocha) else 11,
        by_task=isinstance(algorithm, Ensemble | LGFedAvg),
    )


CLAIMS: dict[type, Claim] = {type(algorithm): claim_of(algorithm) for algorithm in ALL_ALGORITHMS}

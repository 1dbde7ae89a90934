"""Names of parameters that each algorithm sends and keeps, as the last line of its file claims them."""

from typing import NamedTuple

from fedmtl.algorithms import (
    IFCA,
    MRMTL,
    CrossStitch,
    Ditto,
    Ensemble,
    FedAdam,
    FedAMP,
    FedAvg,
    FedAvgM,
    FedBABU,
    FedBN,
    FedEM,
    FedHCA2,
    FedPer,
    FedProx,
    FedRep,
    FedU,
    FedYogi,
    GraphStructured,
    LGFedAvg,
    Local,
    MaTFL,
    Mocha,
    PFedMe,
    Pooled,
    Scaffold,
    ServerCAGrad,
    ServerPCGrad,
    SoftSharing,
    TaskWeighted,
    Transfer,
)


class Claim(NamedTuple):
    """What a file's last line says of the names of parameters; "" stands for all of them."""

    down: tuple[str, ...]
    up: tuple[str, ...]
    private: tuple[str, ...]
    copies: bool = False
    """Whether what a client keeps is also what it sends, by the algorithm's own last line."""
    beside: tuple[str, ...] = ()
    """Names in the upload that are no parameters."""
    told: tuple[str, ...] = ()
    """Names in the broadcast that are no parameters."""
    numbers: int = 11
    """How many different numbers of the private state there are at least."""
    by_task: bool = False
    """Whether clients hear of each other through the heads of common tasks alone."""


CLAIMS: dict[type, Claim] = {
    Local: Claim(down=(), up=(), private=("",)),
    Ensemble: Claim(
        down=("",),
        up=("",),
        private=("",),
        copies=True,
        told=("heard.amount", "heard.flag", "heard.kind", "heard.marks"),
        by_task=True,
    ),
    Pooled: Claim(down=("",), up=("",), private=()),
    FedAvg: Claim(down=("",), up=("",), private=()),
    FedPer: Claim(down=("trunk.",), up=("trunk.",), private=("head.",)),
    FedRep: Claim(down=("trunk.",), up=("trunk.",), private=("head.",)),
    FedProx: Claim(down=("",), up=("",), private=()),
    LGFedAvg: Claim(down=("head.",), up=("head.",), private=("trunk.",), by_task=True),
    # Of the trunk, 1 is the linear layer and 2 the norm layer.
    FedBN: Claim(down=("trunk.1.", "head."), up=("trunk.1.", "head."), private=("trunk.2.",)),
    SoftSharing: Claim(down=("trunk.",), up=("trunk.",), private=("",), copies=True),
    CrossStitch: Claim(down=("trunk.",), up=("trunk.",), private=("head.",)),
    FedBABU: Claim(down=("trunk.",), up=("trunk.",), private=("head.",)),
    Transfer: Claim(down=("trunk.",), up=("trunk.",), private=("head.",), told=("moves",)),
    MRMTL: Claim(down=("",), up=("",), private=("",), copies=True),
    Ditto: Claim(down=("",), up=("",), private=("",)),
    PFedMe: Claim(down=("",), up=("",), private=("",), copies=True),
    Scaffold: Claim(down=("",), up=("",), private=("",)),
    FedAvgM: Claim(down=("",), up=("",), private=()),
    FedAdam: Claim(down=("trunk.",), up=("trunk.",), private=("head.",)),
    FedYogi: Claim(down=("",), up=("",), private=()),
    ServerPCGrad: Claim(down=("trunk.",), up=("trunk.",), private=("head.",)),
    ServerCAGrad: Claim(down=("trunk.",), up=("trunk.",), private=("head.",)),
    MaTFL: Claim(down=("trunk.",), up=("trunk.",), private=("head.",)),
    FedU: Claim(down=("",), up=("",), private=()),
    FedAMP: Claim(down=("",), up=("",), private=("",), copies=True),
    IFCA: Claim(down=("",), up=("",), private=(), beside=("turn",)),
    FedEM: Claim(down=("",), up=("",), private=()),
    FedHCA2: Claim(down=("",), up=("",), private=()),
    GraphStructured: Claim(down=("trunk.",), up=("trunk.",), private=("head.",)),
    Mocha: Claim(down=("head.",), up=("head.",), private=("head.",), numbers=1),
    TaskWeighted: Claim(down=("trunk.",), up=("trunk.",), private=("head.",)),
}

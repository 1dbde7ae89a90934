"""The workload's model as the module that a researcher would write, for systems that know nothing of fedmtl."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedmtl.bench.data import TASK, Stored
from fedmtl.bench.workloads import Workload


class Network(nn.Module):
    """A trunk and one head."""

    def __init__(self, trunk: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x))


def make_network(workload: Workload, folder: Path) -> Network:
    """The workload's model, with the parameters that every run of it begins with."""
    data = Stored(str(folder))
    plan = workload.experiment(data, workers=1).make_plan(data.sample())
    network = Network(plan.module.trunk, plan.module.head[TASK])
    network.load_state_dict({name.replace(f"head.{TASK}.", "head."): value for name, value in plan.initial.items()})
    return network


def flat(trunk: Mapping[str, Tensor]) -> NDArray[np.float32]:
    """Parameters as one vector, in the order of their names: systems keep them in different orders.

    Names may have prefixes, as long as all have the same.
    """
    return torch.cat([trunk[name].detach().flatten() for name in sorted(trunk)]).numpy()

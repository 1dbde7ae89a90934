"""Client of with_flower.py; a module of its own, because Flower's actors import it."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import Tensor
from torch.nn.functional import cross_entropy

from fedmtl.bench.data import read_part, read_workload
from fedmtl.bench.network import Network, make_network
from fedmtl.bench.workloads import Workload

app = ClientApp()


class Kept(NamedTuple):
    """Objects that an actor makes once."""

    workload: Workload
    network: Network
    first_head: dict[str, Tensor]
    x: Tensor
    y: Tensor


@cache
def keep(folder: str) -> Kept:
    torch.set_num_threads(1)
    workload = read_workload(Path(folder))
    network = make_network(workload, Path(folder))
    x, y = (torch.from_numpy(array) for array in read_part(Path(folder), "train"))
    first_head = {name: value.clone() for name, value in network.head.state_dict().items()}
    return Kept(workload, network, first_head, x, y.long())


@app.train()
def train(message: Message, context: Context) -> Message:
    """One epoch from the received trunk and the head that this node kept."""
    work, network, first_head, x, y = keep(str(message.content["config"]["folder"]))
    client = int(context.node_config["partition-id"])
    network.trunk.load_state_dict(message.content.array_records["arrays"].to_torch_state_dict())
    kept_head = context.state.array_records.get("head")
    network.head.load_state_dict(kept_head.to_torch_state_dict() if kept_head else first_head)
    optimizer = torch.optim.SGD(network.parameters(), lr=work.lr)
    losses = []
    for rows in torch.randperm(work.examples).split(work.batch_size):
        optimizer.zero_grad()
        loss = cross_entropy(network(x[client][rows]), y[client][rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    context.state["head"] = ArrayRecord(network.head.state_dict())
    metrics = MetricRecord({"train-loss": sum(losses) / len(losses), "num-examples": work.examples})
    content = RecordDict({"arrays": ArrayRecord(network.trunk.state_dict()), "metrics": metrics})
    return Message(content=content, reply_to=message)

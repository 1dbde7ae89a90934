"""No framework: one process, one thread, client after client, as PyTorch is usually written.

    python simulations/benchmarks/plain_loop.py W2

The cohorts and the order of batches are those that fedmtl draws, so that the two must end with the same trunk.
"""

import time

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from fedmtl.bench.data import read_part
from fedmtl.bench.network import flat, make_network
from fedmtl.bench.record import BenchResult, BenchTask, run_script
from fedmtl.core.random import permutations
from fedmtl.server.sampling import sample


def plain_loop(task: BenchTask) -> BenchResult:
    torch.set_num_threads(1)
    work = task.workload
    network = make_network(work, task.folder)
    x, y = (torch.from_numpy(array) for array in read_part(task.folder, "train"))
    y = y.long()
    clients, sizes = np.arange(work.clients), np.full(work.cohort, work.examples)
    server = copy(network.trunk)
    first_head, heads = copy(network.head), {}
    ends, losses = [], []
    for t in range(1, work.rounds + 1):
        cohort = sample(work.seed, t, clients, work.cohort)
        orders = torch.from_numpy(permutations(work.seed, t, cohort, "batches", sizes))
        mean = {name: torch.zeros_like(value) for name, value in server.items()}
        steps = []
        for client, order in zip(cohort.tolist(), orders, strict=True):
            network.trunk.load_state_dict(server)
            network.head.load_state_dict(heads.get(client, first_head))
            optimizer = torch.optim.SGD(network.parameters(), lr=work.lr)
            for rows in order.split(work.batch_size):
                optimizer.zero_grad()
                loss = cross_entropy(network(x[client][rows]), y[client][rows])
                loss.backward()
                optimizer.step()
                steps.append(loss.detach())
            heads[client] = copy(network.head)
            for name, value in network.trunk.state_dict().items():
                mean[name] += value / work.cohort  # all have equally many examples
        server = mean
        ends.append(time.perf_counter())
        losses.append(torch.stack(steps))
    network.trunk.load_state_dict(server)
    test_x, test_y = (torch.from_numpy(array) for array in read_part(task.folder, "test"))
    right = []
    for client, (inputs, labels) in enumerate(zip(test_x, test_y, strict=True)):
        network.head.load_state_dict(heads.get(client, first_head))
        with torch.no_grad():
            right.append(network(inputs).argmax(1) == labels)
    return BenchResult(
        ends, flat(server), [float(loss.mean()) for loss in losses], float(torch.cat(right).float().mean())
    )


def copy(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


if __name__ == "__main__":
    run_script("plain loop", plain_loop)

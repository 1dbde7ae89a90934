"""Apple's pfl-research: its FederatedAveraging with heads in its store of user state, on 1 or 2 processes.

    python simulations/benchmarks/with_pfl.py W1 --workers 1

A process keeps the heads of the clients that it hosts, so clients are pinned to processes (CrossSiloUserSampler).
"""

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, redirect_stdout
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from fedmtl.bench.data import read_part
from fedmtl.bench.network import Network, flat, make_network
from fedmtl.bench.record import BenchResult, BenchTask, run_script


def with_pfl(task: BenchTask) -> BenchResult:
    torch.set_num_threads(1)
    others = []
    if task.workers > 1 and "PFL_WORKER_RANK" not in os.environ:
        with ExitStack() as held:  # until all are found, so that each has its own
            probes = [held.enter_context(socket.socket()) for _ in range(task.workers)]
            for probe in probes:
                probe.bind(("127.0.0.1", 0))
            addresses = ",".join(f"127.0.0.1:{probe.getsockname()[1]}" for probe in probes)
        os.environ |= {"PFL_WORKER_ADDRESSES": addresses, "PFL_WORKER_RANK": "0"}
        command = [sys.executable, __file__, str(task.folder), "--rounds", str(task.workload.rounds)]
        command += ["--workers", str(task.workers)]
        for rank in range(1, task.workers):
            environment = {**os.environ, "PFL_WORKER_RANK": str(rank)}
            others.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
    try:
        with redirect_stdout(sys.stderr):  # pfl prints its metrics
            measured = train(task)
        for other in others:
            if other.wait(60):
                raise RuntimeError(f"a process of pfl ended with code {other.returncode}")
    finally:
        for other in others:
            other.kill()
    return measured


class WithLoss(Network):
    """Methods that pfl calls, by these names; it also notes the loss before each step."""

    def __init__(self, trunk: torch.nn.Module, head: torch.nn.Module) -> None:
        super().__init__(trunk, head)
        self.steps: list[torch.Tensor] = []

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        value = cross_entropy(self(x), y)
        self.steps.append(value.detach())
        return value

    def metrics(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, Any]:
        return {}


def train(task: BenchTask) -> BenchResult:
    # They read the ranks above when they are imported.
    from pfl.aggregate.simulate import SimulatedBackend  # pyright: ignore[reportMissingImports]
    from pfl.algorithm.base import NNAlgorithmParams  # pyright: ignore[reportMissingImports]
    from pfl.algorithm.federated_averaging import FederatedAveraging  # pyright: ignore[reportMissingImports]
    from pfl.callback.base import TrainingProcessCallback  # pyright: ignore[reportMissingImports]
    from pfl.data.dataset import Dataset  # pyright: ignore[reportMissingImports]
    from pfl.data.federated_dataset import FederatedDataset  # pyright: ignore[reportMissingImports]
    from pfl.data.sampling import CrossSiloUserSampler  # pyright: ignore[reportMissingImports]
    from pfl.data.user_state import InMemoryUserStateStorage  # pyright: ignore[reportMissingImports]
    from pfl.exception import UserNotFoundError  # pyright: ignore[reportMissingImports]
    from pfl.hyperparam.base import NNEvalHyperParams, NNTrainHyperParams  # pyright: ignore[reportMissingImports]
    from pfl.internal.bridge import FrameworkBridgeFactory  # pyright: ignore[reportMissingImports]
    from pfl.metrics import Metrics  # pyright: ignore[reportMissingImports]
    from pfl.model.pytorch import PyTorchModel  # pyright: ignore[reportMissingImports]
    from pfl.stats import MappedVectorStatistics  # pyright: ignore[reportMissingImports]

    work = task.workload
    x, y = (torch.from_numpy(array) for array in read_part(task.folder, "train"))
    y = y.long()
    made = make_network(work, task.folder)
    network = WithLoss(made.trunk, made.head)
    first_head = {name: value.clone() for name, value in network.head.state_dict().items()}
    ends: list[float] = []
    losses: list[float] = []

    heads = InMemoryUserStateStorage()

    class FedPer(FederatedAveraging):
        """Loads a user's head, trains as its parent does, keeps the head, and gives only the trunk's difference."""

        def train_one_user(self, initial_model_state, model, user_dataset, central_context):
            try:
                network.head.load_state_dict(heads.load_state(user_dataset.user_id))
            except UserNotFoundError:
                network.head.load_state_dict(first_head)
            FrameworkBridgeFactory.sgd_bridge().do_sgd(model, user_dataset, central_context.model_train_params)
            head = {name: value.clone() for name, value in network.head.state_dict().items()}
            heads.save_state(head, user_dataset.user_id)
            difference = model.get_model_difference(initial_model_state)
            trunk = {name: value for name, value in difference.items() if name.startswith("trunk.")}
            return MappedVectorStatistics(trunk), Metrics()

    class Watch(TrainingProcessCallback):
        def after_central_iteration(self, aggregate_metrics, model, *, central_iteration):
            ends.append(time.perf_counter())
            losses.append(float(torch.stack(network.steps).mean()))
            network.steps.clear()
            return False, Metrics()

    def dataset(client: int) -> Dataset:
        order = torch.randperm(work.examples)
        return Dataset((x[client][order], y[client][order]), user_id=str(client))

    np.random.seed(work.seed)  # all processes draw the same cohorts
    # One silo a process: so a client's head is where the client is.
    sampler = CrossSiloUserSampler("random", user_ids=list(range(work.clients)))
    data = FederatedDataset(dataset, sampler)
    model = PyTorchModel(
        model=network,
        local_optimizer_create=torch.optim.SGD,
        central_optimizer=torch.optim.SGD(network.parameters(), lr=1.0),
    )
    FedPer().run(
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=work.rounds,
            evaluation_frequency=10**9,
            train_cohort_size=work.cohort,
            val_cohort_size=None,
        ),
        backend=SimulatedBackend(training_data=data, val_data=data),
        model=model,
        model_train_params=NNTrainHyperParams(
            local_num_epochs=1, local_learning_rate=work.lr, local_batch_size=work.batch_size
        ),
        model_eval_params=NNEvalHyperParams(local_batch_size=work.batch_size),
        callbacks=[Watch()],
    )
    return BenchResult(ends, flat(network.trunk.state_dict()), losses)


if __name__ == "__main__":
    run_script("pfl", with_pfl)

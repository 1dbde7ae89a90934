"""Six methods as PFLlib trains them, written anew in plain torch: does fedmtl reach the same accuracy?

    python simulations/reproduce/against_pfllib.py

PFLlib (github.com/TsingZ0/PFLlib) trains clients one after the other with ``torch.optim.SGD`` without momentum: a round
is some passes over the client's batches, models are averaged by the clients' training examples, and all test examples
count alike in the accuracy. What each method does in a round, from the w or trunk θ that the client received:

    Local     v_k      <- SGD on f_k from its own v_k                    tested with v_k              (1)
    FedAvg    w_k      <- SGD on f_k from w                              tested with w                (2)
    FedProx   w_k      <- SGD on f_k + μ/2 ‖w_k − w‖² from w             tested with w                (3)
    FedPer    (θ_k, φ_k) <- SGD on f_k from (θ, own φ_k)                 tested with (θ, φ_k)         (4)
    FedRep    φ_k      <- SGD with θ held, then θ_k with φ_k held        tested with (θ, φ_k)         (5)
    Ditto     v_k      <- SGD on f_k + μ/2 ‖v_k − w‖² from its own v_k, then (2)    tested with v_k   (6)

Here (1) to (6) stand in ``PLAIN``, in nn.Module and torch.optim, with none of PFLlib's code. They get fedmtl's first
numbers and batches, and fedmtl runs the same methods by its own run path. The last column is (1) to (6) once more with
what PFLlib's DataLoader does: with ``drop_last=True`` the last, smaller batch of a pass is dropped, so that a client of
fewer examples than a batch never trains, and yet weighs in the mean.
"""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from loaders import FASHION, locate, once
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fedmtl import ClientData, Experiment, FedAvg, Federation, FedPer, FedRep, Local, MultiClass, Split, run
from fedmtl.algorithms import Ditto, FedProx
from fedmtl.core.random import permutations
from fedmtl.models import CNN

CLASSES = 10
LR, BATCH, MU = 0.05, 10, 0.1
MODEL = CNN(channels=(8, 16), hidden=32)


@dataclass(frozen=True)
class Fashion:
    """Images of Fashion-MNIST among clients, three quarters of a client's to train on, as in PFLlib.

    Without ``alpha`` a client has two classes, and a class is divided evenly among its clients; with it the shares of a
    class are a draw from Dirichlet(alpha), drawn again until every client has ``least`` images.
    """

    clients: int = 20
    images: int = 2100
    """Examples drawn once from 7,000."""
    alpha: float = 0.0
    least: int = 4

    def load(self, seed: int) -> Federation:
        with np.load(locate(FASHION)) as raw:
            pixels, y = (np.concatenate([raw[f"{axis}_train"], raw[f"{axis}_test"]]) for axis in "Xy")
        order = np.random.default_rng(0).permutation(len(y))[: self.images]
        x, y = pixels[order, None].astype(np.float32) / 255, y[order].astype(np.int64)
        draw = np.random.default_rng(seed)
        owner = self._owners(y, draw)
        while np.bincount(owner, minlength=self.clients).min() < self.least:
            owner = self._owners(y, draw)
        clients = {}
        for client in range(self.clients):
            rows = draw.permutation(np.flatnonzero(owner == client))
            parts = np.split(rows, [round(0.75 * len(rows))])
            clients[client] = ClientData(*(Split(x[part], {"label": y[part]}) for part in parts))
        return Federation({"label": MultiClass(CLASSES)}, (1, 28, 28), clients)

    def _owners(self, y: NDArray[np.int64], draw: np.random.Generator) -> NDArray[np.int64]:
        owner = np.empty(len(y), np.int64)
        each = self.clients * 2 // CLASSES  # clients of a class, where each has two
        for label in range(CLASSES):
            rows = draw.permutation(np.flatnonzero(y == label))
            shares = draw.dirichlet(np.full(self.clients, self.alpha)) if self.alpha else np.zeros(self.clients)
            if not self.alpha:
                shares[label // 2 * each : (label // 2 + 1) * each] = 1 / each
            cuts = np.round(np.cumsum(shares)[:-1] * len(rows)).astype(np.int64)
            for client, part in enumerate(np.split(rows, cuts)):
                owner[part] = client
        return owner


PARTITIONS: Mapping[str, Fashion] = {"two classes a client": Fashion(), "Dirichlet 0.1": Fashion(alpha=0.1)}

OURS: Mapping[str, Any] = {
    "Local": Local(lr=LR, epochs=1),
    "FedAvg": FedAvg(lr=LR, epochs=1),
    "FedProx": FedProx(lr=LR, epochs=1, mu=MU),
    "FedPer": FedPer(lr=LR, epochs=1),
    "FedRep": FedRep(lr=LR, head_epochs=1, trunk_epochs=1),
    "Ditto": Ditto(lr=LR, epochs=1, personal_epochs=1, lam=MU),
}

Batches = Sequence[tuple[Tensor, Tensor]]


class Net(nn.Module):
    """The model in two parts."""

    def __init__(self, trunk: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x))


@dataclass
class Person:
    """A client of the plain loop."""

    model: Net
    """Trained from what the server sends; heads stay here where a method keeps them."""
    own: Net
    """The personal model of Local and Ditto."""


def descend(net: nn.Module, parameters: Sequence[nn.Parameter], batches: Batches, toward: nn.Module | None) -> None:
    """One pass of SGD on some parameters, pulled to another model's where there is one."""
    optimizer = torch.optim.SGD(parameters, lr=LR)
    for x, y in batches:
        optimizer.zero_grad()
        loss = cross_entropy(net(x), y)
        if toward is not None:
            pairs = zip(net.parameters(), toward.parameters(), strict=True)
            loss = loss + MU / 2 * sum(((p - q.detach()) ** 2).sum() for p, q in pairs)
        loss.backward()
        optimizer.step()


def whole(person: Person, received: Net, batches: Batches) -> None:  # (2), (4)
    descend(person.model, list(person.model.parameters()), batches, None)


def near(person: Person, received: Net, batches: Batches) -> None:  # (3)
    descend(person.model, list(person.model.parameters()), batches, received)


def alone(person: Person, received: Net, batches: Batches) -> None:  # (1)
    descend(person.own, list(person.own.parameters()), batches, None)


def head_then_trunk(person: Person, received: Net, batches: Batches) -> None:  # (5)
    descend(person.model, list(person.model.head.parameters()), batches, None)
    descend(person.model, list(person.model.trunk.parameters()), batches, None)


def personal_then_shared(person: Person, received: Net, batches: Batches) -> None:  # (6)
    descend(person.own, list(person.own.parameters()), batches, received)
    whole(person, received, batches)


@dataclass(frozen=True)
class Recipe:
    """A method of the plain loop."""

    train: Callable[[Person, Net, Batches], None]
    shared: str
    """Names of what is sent begin so; "-" is none."""
    personal: bool = False
    """Tested with the client's own model."""


PLAIN: Mapping[str, Recipe] = {
    "Local": Recipe(alone, "-", personal=True),
    "FedAvg": Recipe(whole, ""),
    "FedProx": Recipe(near, ""),
    "FedPer": Recipe(whole, "trunk."),
    "FedRep": Recipe(head_then_trunk, "trunk."),
    "Ditto": Recipe(personal_then_shared, "", personal=True),
}


def send(server: Mapping[str, Tensor], net: nn.Module, shared: str) -> None:
    net.load_state_dict({n: v for n, v in server.items() if n.startswith(shared)}, strict=False)


def plain(recipe: Recipe, data: Federation, experiment: Experiment, drop_last: bool) -> float:
    """The accuracy over all test examples after all rounds."""
    first = experiment.make_plan(data).initial
    net = Net(MODEL.trunk((1, 28, 28)), MODEL.head(MODEL.hidden, CLASSES))
    net.load_state_dict({name.replace("head.label.", "head."): value for name, value in first.items()})
    people = {client: Person(copy.deepcopy(net), copy.deepcopy(net)) for client in data.clients}
    arrays = {
        client: [torch.from_numpy(values) for values in (of.train.x, of.train.y["label"])]
        for client, of in data.clients.items()
    }
    sizes = np.array([len(of.train.x) for of in data.clients.values()])
    server = {name: value.clone() for name, value in net.state_dict().items()}
    for t in range(1, experiment.rounds + 1):
        orders = permutations(experiment.seed, t, np.array(list(data.clients)), "batches", sizes)
        received = copy.deepcopy(net)
        send(server, received, recipe.shared)
        mean = {name: torch.zeros_like(value) for name, value in server.items()}
        for (client, person), order, size in zip(people.items(), orders, sizes, strict=True):
            send(server, person.model, recipe.shared)
            x, y = arrays[client]
            parts = torch.from_numpy(order[:size]).split(BATCH)
            batches = [(x[rows], y[rows].long()) for rows in parts if len(rows) == BATCH or not drop_last]
            recipe.train(person, received, batches)
            for name, value in person.model.state_dict().items():
                mean[name] += value * (size / sizes.sum())
        server = mean
    right = 0
    for client, person in people.items():
        send(server, person.model, recipe.shared)
        test = data.clients[client].test
        with torch.no_grad():
            scores = (person.own if recipe.personal else person.model)(torch.from_numpy(test.x))
        right += int((scores.argmax(1) == torch.from_numpy(test.y["label"])).sum())
    return right / sum(len(of.test.x) for of in data.clients.values())


def compared(name: str, partition: Fashion, rounds: int, seed: int) -> tuple[float, float, float]:
    """The accuracy of fedmtl, of the plain loop, and of the plain loop without last batches."""
    experiment = Experiment(
        name=name,
        data=partition,
        model=MODEL,
        algorithm=OURS[name],
        rounds=rounds,
        batch_size=BATCH,
        evaluate_every=rounds,
        seed=seed,
        runtime="InProcess",
    )
    (ours,) = (row["value"] for row in run(experiment).rows if row["round"] == rounds and row["client"] is None)
    data = partition.load(seed)
    return ours, plain(PLAIN[name], data, experiment, False), plain(PLAIN[name], data, experiment, True)


def main(
    rounds: Annotated[int, typer.Option(help="Rounds of one pass.", min=1)] = 4,
    seed: Annotated[int, typer.Option(help="Of partition, first numbers and batches.")] = 0,
    kept: Annotated[Path | None, typer.Option(help="File of what is measured; what it holds is not run again.")] = None,
    quick: Annotated[
        bool, typer.Option(help="Two rounds of three methods on a small partition, to see that it runs.")
    ] = False,
) -> None:
    start = time.process_time()
    rounds = 2 if quick else rounds
    equal = count = 0
    small = {"Dirichlet 0.1": replace(PARTITIONS["Dirichlet 0.1"], clients=10, images=420)}
    for title, partition in (small if quick else PARTITIONS).items():
        sizes = np.array([len(of.train.x) for of in partition.load(seed).clients.values()])
        print(
            f"### {title}\n\n{partition.clients} clients, {sizes.min()} to {sizes.max()} training examples, "
            f"{(sizes < BATCH).sum()} with fewer than {BATCH}; {(sizes % BATCH).sum()} of {sizes.sum()} are in last, "
            "smaller batches.\n\n| method | fedmtl | plain loop | without last batches |\n|---|---|---|---|"
        )
        for name in ("FedAvg", "FedRep", "Ditto") if quick else OURS:
            ours, loop, dropped = once(kept, compared, name, partition, rounds, seed)
            print(f"| {name} | {ours:.4f} | {loop:.4f} | {dropped:.4f} |", flush=True)
            equal, count = equal + (f"{ours:.4f}" == f"{loop:.4f}"), count + 1
        print()
    print(f"fedmtl and the plain loop agree to four digits {equal} times of {count}.")
    print(f"{time.process_time() - start:.0f} s of processor time")


if __name__ == "__main__":
    typer.run(main)

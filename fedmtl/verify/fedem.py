"""FedEM against expectation maximisation in numpy, on mixtures of linear regressions.

A client's examples are (x_i, y_i), its loss ½ (x_i · w − y_i)²: the likelihood is that of noise of variance 1.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fedmtl.algorithms.fedavg import FedAvg
from fedmtl.core.types import Batch, Params
from fedmtl.tasks import MultiClass, Regression
from fedmtl.verify.beats_local import Claim, steps
from fedmtl.verify.check import CTX, CheckResult, above, below, close, every
from fedmtl.verify.noise import server_normals
from fedmtl.verify.planted import two_clusters
from fedmtl.verify.quadratic import Array, play, vector

START = np.array([0.4, -0.3, 0.5])


class Mixed(NamedTuple):
    """A client; what ``play`` asks of one."""

    x: Array
    """[n, 3]: the first two numbers meet the trunk, the third, which is 1, the head."""
    y: Array

    @property
    def num_examples(self) -> int:
        return len(self.y)

    def loss(self, params: Params, batch: Batch) -> Tensor:
        off = batch["x"] @ torch.cat([params["trunk.w"], params["head.t.b"]]) - batch["y.t"]
        return (off**2 / 2 * batch["mask"]).sum() / batch["mask"].sum().clamp(min=1)

    def params(self, w: Array) -> dict[str, Tensor]:
        return {"trunk.w": torch.tensor(w[:2]), "head.t.b": torch.tensor(w[2:])}

    def cut(self, steps: int) -> Any:
        return np.array_split(np.arange(len(self.y)), steps)

    def batches(self, steps: int) -> list[dict[str, Tensor]]:
        longest, found = max(map(len, self.cut(steps))), []
        for rows in self.cut(steps):
            index = np.concatenate([rows, np.zeros(longest - len(rows), np.int64)])
            real = torch.arange(longest) < len(rows)
            of = {"x": self.x[index], "y.t": self.y[index], "index": index}
            found.append({key: torch.tensor(array) for key, array in of.items()} | {"mask": real.float()})
        return found


def clients(count: int = 3) -> Any:
    """13, 17, 21 … examples of two lines, the second rarer from client to client."""
    draw, found = np.random.default_rng(0), []
    lines = np.array([[2.0, -1.0, 1.0], [-1.5, 2.0, -2.0]])
    for k in range(count):
        x = np.concatenate([draw.standard_normal((13 + 4 * k, 2)), np.ones((13 + 4 * k, 1))], 1)
        line = lines[(draw.random(len(x)) < 0.6 - 0.2 * k).astype(int)]
        found.append(Mixed(x, (x * line).sum(1) + 0.5 * draw.standard_normal(len(x))))
    return found


def first_models(count: int, spread: float) -> Array:
    """w_0 = w, w_m = w + s √(mean w²) ε_m, name by name: the trunk is the first two numbers, the head the third."""
    models = [START]
    for m in range(1, count):
        parts = []
        for name, w in (("trunk.w", START[:2]), ("head.t.b", START[2:])):
            parts.append(w + spread * np.sqrt(np.mean(w**2)) * server_normals(1, (m, name), len(w)))
        models.append(np.concatenate(parts))
    return np.stack(models)


def joint(one: Mixed, models: Array, pi: Array) -> Array:
    """π_m exp(−ℓ_im), [n, M]."""
    return pi * np.exp(-((one.x @ models.T - one.y[:, None]) ** 2) / 2)


def log_likelihood(one: Mixed, models: Array, pi: Array) -> float:
    return float(np.log(joint(one, models, pi).sum(1)).sum())


def served(server: Params) -> Array:
    """The server's models, [M, 3]."""
    return np.concatenate([server["trunk.w"], server["head.t.b"]], axis=1)


def states(algorithm: Any, federation: Sequence[Mixed]) -> Iterator[tuple[Array, list[Array]]]:
    """Before the first round and after each: the server's models, and the clients' π; full batches."""
    server = algorithm.init_server(federation[0].params(START), CTX)
    private = [algorithm.init_client(one.params(START), one.num_examples) for one in federation]
    while True:
        yield served(server), [mixture.pi.double().numpy() for mixture in private]
        down = algorithm.broadcast(server, 0, CTX)
        results = [
            algorithm.local_update(one.loss, down, own, one.batches(1), CTX)
            for one, own in zip(federation, private, strict=True)
        ]
        private = [result.private for result in results]
        server = algorithm.aggregate(server, [(k, result.upload) for k, result in enumerate(results)], CTX)


def one_component_is_fedavg(fedem: Callable[..., Any]) -> CheckResult:
    """M = 1: q = π = 1, so (3) and (4) are FedAvg's; 3 rounds of 2 epochs of 2 steps, batches of unlike sizes."""
    found = play(fedem(lr=0.125, epochs=2, components=1), clients(), START, 3, steps=2)
    expected = play(FedAvg(lr=0.125, epochs=2), clients(), START, 3, steps=2).personal
    return every(
        close([float(p.pi) for p in found.private.values()], [1, 1, 1], atol=1e-6),
        close(found.personal, expected, atol=1e-12),
    )


def rounds_by_hand(fedem: Callable[..., Any]) -> CheckResult:
    """(1) to (4) in numpy for 3 clients and 3 models: 3 rounds of 2 epochs of 2 batches of unlike sizes.

    The step of a batch b is η 1/|b| Σ_{i in b} q_im x_i (x_i · w_m − y_i), with the q of the round's
    start. π is float32.
    """
    lr, federation = 0.125, clients()
    models, pi = first_models(3, 0.8), np.full((3, 3), 1 / 3)
    for _ in range(3):
        ends = []
        for k, one in enumerate(federation):
            q = joint(one, models, pi[k])
            q = q / q.sum(1, keepdims=True)
            pi[k] = q.mean(0)
            w = models.copy()
            for rows in one.cut(2) * 2:
                off = one.x[rows] @ w.T - one.y[rows, None]
                w = w - lr * (q[rows] * off).T @ one.x[rows] / len(rows)
            ends.append(w)
        models = np.average(ends, axis=0, weights=[len(one.y) for one in federation])
    found = play(fedem(lr=lr, epochs=2, components=3, spread=0.8), federation, START, 3, steps=2)
    return every(
        close(np.stack([found.private[k].pi for k in range(3)]), pi, atol=1e-6),
        close(served(found.server), models, atol=1e-6),
        close(found.personal, models[pi.argmax(1)], atol=1e-6),
    )


def one_client_and_many_steps_are_exact_em(fedem: Callable[..., Any]) -> CheckResult:
    """The minimum of (3) is weighted least squares: w_m = (Xᵀ Q_m X)⁻¹ Xᵀ Q_m y. 3 rounds against EM in closed form.

    EM's likelihood never falls, and no more do the rounds': to see it, 1e-6 of slack and a gain of 1 altogether.
    """
    (one,) = federation = clients(1)
    algorithm = fedem(lr=0.5, epochs=200, components=2, spread=2.0)
    models, pi, parts = first_models(2, 2.0), np.full(2, 0.5), []
    values = [log_likelihood(one, models, pi)]
    for server, (mixture,) in islice(states(algorithm, federation), 1, 4):
        q = joint(one, models, pi)
        q = q / q.sum(1, keepdims=True)
        pi = q.mean(0)
        models = np.stack([np.linalg.solve(one.x.T * q[:, m] @ one.x, one.x.T @ (q[:, m] * one.y)) for m in (0, 1)])
        parts += [close(mixture, pi, atol=1e-5), close(server, models, atol=1e-5)]
        values.append(log_likelihood(one, server, mixture))
    return every(above(float(np.diff(values).min()), -1e-6), above(values[-1] - values[0], 1.0), *parts)


def the_likelihood_never_falls(fedem: Callable[..., Any]) -> CheckResult:
    """One short full-batch step of all clients lowers Σ_k Σ_i q_im ℓ_im for each m, and π maximises its part: a step of
    generalised EM on all data, whose likelihood Σ_k Σ_i log Σ_m π_km exp(−ℓ_im) never falls. 30 rounds gain over 10."""
    federation = clients()
    algorithm, values = fedem(lr=0.2, epochs=1, components=2, spread=1.0), []
    for server, mixtures in islice(states(algorithm, federation), 31):
        values.append(sum(log_likelihood(one, server, pi) for one, pi in zip(federation, mixtures, strict=True)))
    return every(above(float(np.diff(values).min()), -1e-5), above(values[-1] - values[0], 10.0))


def predictions_are_means_weighted_by_pi(fedem: Callable[..., Any]) -> CheckResult:
    """A client whose π is (0.2, 0.7, 0.1). Of a regression it says Σ_m π_m x · w_m, in numpy. Of classes, where the
    loss is −log p, the loss of the mixture is that of the paper's likelihood: −log Σ_m π_m exp(−ℓ_m); here for outputs
    x · w_m, 0 and −x · w_m and each of the three labels. It is at most Σ_m π_m ℓ_m (Jensen)."""
    algorithm, pi = fedem(components=3, spread=1.0), np.array([0.2, 0.7, 0.1])
    (one,) = clients(1)
    server, first = algorithm.init_server(one.params(START), CTX), algorithm.init_client(one.params(START), 13)
    private = first._replace(pi=torch.tensor(pi))
    models, weights = algorithm.mixture(algorithm.broadcast(server, 0, CTX), private)
    z = one.x @ np.stack([vector(model) for model in models]).T
    number = Regression().mixed(torch.tensor(z.T[..., None]), weights)[:, 0]
    found = [close(number, (one.x @ first_models(3, 1.0).T * pi).sum(1), atol=1e-9)]
    outputs = np.stack([z.T, np.zeros_like(z.T), -z.T], -1)
    together, rows = MultiClass(3).mixed(torch.tensor(outputs), weights), torch.ones(1)
    for label in range(3):
        each = np.log(np.exp(outputs).sum(-1)) - outputs[..., label]
        got = [float(MultiClass(3).loss(row[None], torch.tensor([float(label)]), rows)) for row in together]
        found += [close(got, -np.log(pi @ np.exp(-each)), atol=1e-6), above(float((pi @ each - got).min()), -1e-6)]
    return every(*found)


def a_new_client_fits_its_weights_alone(fedem: Callable[..., Any]) -> CheckResult:
    """(1) and (2) in numpy with the models held, from π = ⅓: 1, 2 and 40 steps on two batches of unlike sizes. At the
    maximum of Σ_i log Σ_m π_m exp(−ℓ_im), which is concave in π, its slopes Σ_i q_im / π_m are at most n; after 40
    steps the largest is at most 1 % above."""
    algorithm, one = fedem(components=3, spread=1.5), clients()[1]
    server, first = algorithm.init_server(one.params(START), CTX), algorithm.init_client(one.params(START), 17)
    down, models, parts = algorithm.broadcast(server, 0, CTX), first_models(3, 1.5), []
    for count in (1, 2, 40):
        pi = np.full(3, 1 / 3)
        for _ in range(count):
            q = joint(one, models, pi)
            pi = (q / q.sum(1, keepdims=True)).mean(0)
        found = algorithm.newcomer_weights(one.loss, down, first, one.batches(2), count)
        parts.append(close(found, pi, atol=1e-5))
    q = joint(one, models, pi)
    slope = (q / q.sum(1, keepdims=True)).sum(0) / np.maximum(pi, 1e-9)
    sent = algorithm.sent_models(down, first)
    return every(
        *parts, below(float(slope.max()), 1.01 * one.num_examples), close([vector(w) for w in sent], models, atol=1e-6)
    )


def one_model_for_a_device_is_the_likeliest(fedem: Callable[..., Any]) -> CheckResult:
    """``personal_params``: where π is (0.2, 0.7, 0.1) the second model; at the start, where π = ⅓, the first."""
    algorithm = fedem(components=3, spread=1.0)
    (one,) = clients(1)
    server, first = algorithm.init_server(one.params(START), CTX), algorithm.init_client(one.params(START), 13)
    later = first._replace(pi=torch.tensor([0.2, 0.7, 0.1]))
    got = [
        vector(algorithm.personal_params(algorithm.broadcast(server, 0, CTX), private)) for private in (first, later)
    ]
    return every(close(first.pi, [1 / 3] * 3, atol=1e-6), close(np.stack(got), first_models(3, 1.0)[:2], atol=1e-12))


CHECKS = (
    one_component_is_fedavg,
    rounds_by_hand,
    one_client_and_many_steps_are_exact_em,
    the_likelihood_never_falls,
    predictions_are_means_weighted_by_pi,
    one_model_for_a_device_is_the_likeliest,
    a_new_client_fits_its_weights_alone,
)
"""Golden checks: numbers that an algorithm must give, derived apart from it."""

GAIN = Claim(two_clusters, steps(components=2))

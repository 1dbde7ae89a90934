"""SCAFFOLD against the exact optimum and rounds by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from fedmtl.algorithms.base import first_server
from fedmtl.algorithms.fedavg import FedAvg
from fedmtl.core.types import Upload
from fedmtl.verify.batch_norm import averaged
from fedmtl.verify.beats_local import Claim, steps
from fedmtl.verify.check import CTX, CheckResult, above, close, every
from fedmtl.verify.planted import one_mean
from fedmtl.verify.quadratic import clients, play, vector

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])


def it_ends_at_the_optimum_and_fedavg_does_not(scaffold: Callable[..., Any]) -> CheckResult:
    """Clients of equal weight that disagree, 4 exact steps each a round: Σ H_k (x − w*_k) = 0 is solved by numpy.

    Where rounds change nothing, (1) gives y_k = x, so c_k = ∇f_k(x) by (2), c their mean, and (1) says c = 0. FedAvg's
    fixed point weighs client k by I − (I − ηH_k)⁴ instead of H_k: it is more than 0.01 off.
    """
    federation = [one._replace(num_examples=8) for one in clients()]
    optimum = np.linalg.solve(sum(c.hessian for c in federation), sum(c.hessian @ c.star for c in federation))
    found = play(scaffold(lr=0.25, epochs=2), federation, START, 50, steps=2)
    drifted = play(FedAvg(lr=0.25, epochs=2), federation, START, 20, steps=2).personal[0]
    return every(
        above(float(np.abs(drifted - optimum).max()), 0.01), close(found.personal, np.tile(optimum, (3, 1)), atol=1e-9)
    )


def rounds_by_hand(scaffold: Callable[..., Any]) -> CheckResult:
    """3 rounds of 2 epochs of 2 steps in numpy, η_g = 1/2.

    c_k⁺ is computed as what (2) is worth: x − y_k = η Σ (g − c_k + c) over the K = 4 steps, so c_k⁺ is the mean of the
    gradients g on the way. c is the mean of the c_k, as both start at 0 and all clients take part. Means are plain,
    though the clients have unlike numbers of examples.
    """
    federation, lr = clients(), 0.125
    found = play(scaffold(lr=lr, epochs=2, server_lr=0.5), federation, START, 3, steps=2)
    x, control = START, np.zeros((3, 5))
    for _ in range(3):
        ends, c = [], control.mean(axis=0)
        for k, one in enumerate(federation):
            y, slopes = x, []
            for _ in range(4):
                slopes.append(one.gradient(y))
                y = y - lr * (slopes[-1] - control[k] + c)
            ends.append(y)
            control[k] = np.mean(slopes, axis=0)
        x = x + 0.5 * (np.mean(ends, axis=0) - x)
    kept = np.stack([vector(private) for private in found.private.values()])
    return every(
        close(found.personal, np.tile(x, (3, 1)), atol=1e-12),
        close(kept, control, atol=1e-12),
        close(vector(found.server.control), control.mean(axis=0), atol=1e-12),
    )


def steps_without_examples_do_not_count(scaffold: Callable[..., Any]) -> CheckResult:
    """5 batches of which 3 are padding are K = 2 steps: c_k⁺ is the mean of g(x) and g(x − ηg(x)), as c_k = c = 0."""
    (one,), lr = clients(1), 0.125
    params, algorithm = one.params(START), scaffold(lr=lr, epochs=1)
    first, second = one.batches(2)
    empty = {key: torch.zeros_like(value) for key, value in first.items()}
    down = algorithm.broadcast(first_server(algorithm, params, {0: params}, CTX), 0, CTX)
    private = algorithm.init_client(params, one.num_examples)
    result = algorithm.local_update(one.loss, down, private, [empty, first, empty, second, empty], CTX)
    slope = one.gradient(START)
    return close(vector(result.private), (slope + one.gradient(START - lr * slope)) / 2, atol=1e-12)


def a_cohort_moves_the_servers_control_by_its_share(scaffold: Callable[..., Any]) -> CheckResult:
    """5 clients, of which 2 own the head; 3 upload, one of them with the head.

    (4): the trunk's c moves by (d_0 + d_1 + d_2)/5, the head's by d_0/2; (3): x moves by the mean of y − x over 3 and
    over 1, times η_g = 2. Numbers of examples have no part.
    """
    (one,) = clients(1)
    params = one.params(START)
    trunk = {"trunk.w": params["trunk.w"]}
    algorithm = scaffold(server_lr=2.0)
    server = first_server(algorithm, params, {0: params, 1: trunk, 2: trunk, 3: params, 4: trunk}, CTX)
    drawn = np.random.default_rng(0)
    models, changes = drawn.standard_normal((3, 5)), drawn.standard_normal((3, 5))
    uploads = []
    for client, owned in ((0, params), (1, trunk), (2, trunk)):
        records = {"model": one.params(models[client]), "change": one.params(changes[client])}
        payload = {record: {name: values[name] for name in owned} for record, values in records.items()}
        uploads.append((client, Upload(payload, 1.0 + client)))
    server = algorithm.aggregate(server, uploads, CTX)
    means = np.concatenate([models[:, :3].mean(axis=0), models[0, 3:]])
    control = np.concatenate([changes[:, :3].sum(axis=0) / 5, changes[0, 3:] / 2])
    return every(
        close(vector(server.model), START + 2 * (means - START), atol=1e-12),
        close(vector(server.control), control, atol=1e-12),
    )


def running_statistics_take_no_step(scaffold: Callable[..., Any]) -> CheckResult:
    """Statistics of BatchNorm have no control variate, and x takes their plain mean whatever η_g is."""
    return averaged(scaffold(lr=0.1, epochs=1, server_lr=0.25), weights=(1, 1))


CHECKS = (
    it_ends_at_the_optimum_and_fedavg_does_not,
    rounds_by_hand,
    steps_without_examples_do_not_count,
    a_cohort_moves_the_servers_control_by_its_share,
    running_statistics_take_no_step,
)

GAIN = Claim(one_mean, steps())

"""TaskWeighted: what it hands to a weighting, and what it keeps to itself."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from fedmtl.algorithms.fedper import FedPer
from fedmtl.core.context import Context
from fedmtl.verify.beats_local import Claim, around
from fedmtl.verify.check import CTX, CheckResult, close, same_bits
from fedmtl.verify.planted import one_subspace
from fedmtl.verify.two_tasks import CONFLICT, LR, LinearLosses, play
from fedmtl.weightings import DWA, Equal, Uncertainty


def with_equal_weights_it_is_the_wrapped_algorithm(cls: Callable[..., Any]) -> CheckResult:
    """The mean over tasks is FedPer's own objective: θ after 3 rounds of 2 steps, bit for bit."""

    def alone(algorithm: Any, weighting: Any) -> Any:
        return _Alone(algorithm)

    losses = LinearLosses(CONFLICT, np.ones(2))
    expected = play(None, losses, rounds=3, wrap=alone, sizes=(3, 2)).theta
    return same_bits(play(Equal(), losses, rounds=3, wrap=cls, sizes=(3, 2)).theta, expected)


def mean_losses_count_examples(cls: Callable[..., Any]) -> CheckResult:
    """Batches of 6 and 2 examples with losses (1, 2) and (5, 2): L̄ = (2, 2), by examples and not by batches.

    DWA keeps L̄ of three rounds; θ stands still, as the losses do not depend on it.
    """

    class ByBatch(LinearLosses):
        def each(self, params: Any, batch: Any) -> Any:
            return torch.stack([1 + 4 * batch["x"][0, 0], torch.tensor(2.0)]) + 0 * params["trunk.w"].sum()

    seen: list[Any] = []

    class Watching(DWA):
        def update_state(self, state: Any, losses: Any) -> Any:
            seen.append(losses.tolist())
            return super().update_state(state, losses)

    play(Watching(), ByBatch(np.zeros((2, 3)), np.ones(2)), wrap=cls, sizes=(6, 2))
    return close(seen, [[2.0, 2.0]], atol=1e-6)


def what_a_weighting_trains_is_no_prediction(cls: Callable[..., Any]) -> CheckResult:
    """personal_params has the trunk and the two heads, 3 names; s_t is trained and private, 2 more."""
    algorithm = cls(FedPer(lr=LR, epochs=1), Uncertainty())
    params = {"trunk.w": torch.zeros(3), "head.a.b": torch.zeros(()), "head.b.b": torch.zeros(())}
    private = algorithm.init_client(params, 4)
    shown = algorithm.personal_params(algorithm.broadcast(algorithm.init_server(params, CTX), 0, CTX), private)
    return close([len(shown), len(private.inner)], [3, 4], atol=0)


class _Alone:
    """The wrapped algorithm without its wrapper, with a client's state where the wrapper has it."""

    def __init__(self, algorithm: Any) -> None:
        self._algorithm = algorithm

        self.traits = algorithm.traits
        self.init_server, self.broadcast = algorithm.init_server, algorithm.broadcast
        self.aggregate = algorithm.aggregate

    def personal_params(self, down: Any, private: Any) -> Any:
        return self._algorithm.personal_params(down, private.inner)

    def init_client(self, params: Any, num_examples: int) -> Any:
        return _Kept(self._algorithm.init_client(params, num_examples))

    def local_update(self, loss: Any, down: Any, private: Any, batches: Any, ctx: Context) -> Any:
        result = self._algorithm.local_update(loss, down, private.inner, batches, ctx)
        return result._replace(private=_Kept(result.private))


class _Kept:
    def __init__(self, inner: Any) -> None:
        self.inner = inner


CHECKS = (
    with_equal_weights_it_is_the_wrapped_algorithm,
    mean_losses_count_examples,
    what_a_weighting_trains_is_no_prediction,
)

GAIN = Claim(one_subspace, around(FedPer, lr=0.05), rounds=60)

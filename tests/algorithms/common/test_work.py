"""The declared local work, against the gradients that a client's round takes."""

from typing import Any

import pytest

import fedmtl.algorithms.common.local_training
from fedmtl.algorithms import Algorithm, Ditto, FedAvg, FedAvgM, FedPer, Local, Mocha, PFedMe
from fedmtl.algorithms.common.work import local_passes
from fedmtl.algorithms.traits import Traits
from fedmtl.data import Federation
from tests.conftest import tiny_plan
from tests.engines.jobs import training


def test_each_algorithm_takes_the_gradients_that_it_declares(
    algorithm: Algorithm[Any, Any], unlike: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradients of one model, counted where ``sgd`` takes them, are the passes times the client's batches. Models that
    are trained side by side are stacked, so that w is so many times the size of its first model. Of the client with a
    batch and of the one with three, which has other tasks and is another's source."""
    if isinstance(algorithm, Mocha):
        assert local_passes(algorithm) == algorithm.epochs
        return
    taken: list[int] = []
    real = fedmtl.algorithms.common.local_training.gradient_of

    def counting(loss: Any) -> Any:
        gradient = real(loss)

        def counted(w: Any, *others: Any) -> Any:
            models = [value.numel() // sizes[name] for name, value in w.items() if name in sizes]
            taken.append(models[0] if models else 1)
            return gradient(w, *others)

        return counted

    plan = tiny_plan(unlike, algorithm)
    sizes = {name: value.numel() for name, value in plan.initial.items()}
    jobs = [job for job in training(plan, unlike) if job.client in (0, 9)]
    assert [len(job.batches) for job in jobs] == [1, 3]
    monkeypatch.setattr(fedmtl.algorithms.common.local_training, "gradient_of", counting)
    for job in jobs:
        taken.clear()
        job.function(job.down, job.private, job.batches, job.ctx)
        passes = local_passes(algorithm)
        assert passes is not None and sum(taken) == passes * len(job.batches)


def test_by_hand() -> None:
    """Ditto(epochs=1): 1 pass of the shared model, 5 of the personal one."""
    assert local_passes(Ditto(epochs=1)) == 6
    assert local_passes(PFedMe(epochs=2, steps=5)) == 10
    assert local_passes(FedAvgM(FedPer(epochs=3))) == 3
    assert [local_passes(one) for one in (FedAvg(epochs=1), FedPer(), Local(epochs=2))] == [1, 5, 2]


def test_a_class_of_ones_own_may_say_it_or_not() -> None:
    class Mine:
        traits = Traits(local_passes=4)

    class Other:
        traits = Traits()

    assert local_passes(Mine()) == 4 and local_passes(Other()) is None

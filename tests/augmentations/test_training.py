"""Augmentations in runs: part of training steps alone, equal in a loop and a stack, and none by default."""

from typing import Any

import numpy as np
import pytest
import torch

from fedmtl.algorithms import FedAvg, FedEM, Mocha, Pooled
from fedmtl.augmentations import AugmentationTraits, Jitter, RandomFlip, RandomShift
from fedmtl.augmentations.steps import AugmentedInputs
from fedmtl.core.context import Context, context_of, training_step
from fedmtl.data import ArrayData, Synthetic, from_arrays
from fedmtl.data.batches import make_batches
from fedmtl.models import Linear
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment, from_dict
from fedmtl.runs.result import Result
from fedmtl.tasks import DenseClasses
from tests import toys


class Seen:
    """Labels are left alone, and what is measured is not changed: keeps what it was given."""

    traits = AugmentationTraits()

    def __init__(self) -> None:
        self.calls: list[torch.Tensor] = []

    def check(self, shape: tuple[int, ...], whole: bool) -> None: ...

    def augment(self, x: torch.Tensor, ctx: Context) -> torch.Tensor:
        self.calls.append(x.clone())
        return x * 0 + ctx.uniform(())


def data(sizes: tuple[int, ...] = (12, 7, 12)) -> ArrayData:
    draw = np.random.default_rng(0)
    return from_arrays(
        {
            client: {
                part: (draw.standard_normal((n, 1, 4, 4)), {"up": np.arange(n) % 2, "sum": draw.standard_normal(n)})
                for part, n in (("train", size), ("test", 5))
            }
            for client, size in enumerate(sizes)
        }
    )


DATA, BINARY = data(), Synthetic(clients=4, kind="binary")


def experiment(**settings: Any) -> Experiment:
    return toys.experiment(**{"data": DATA, "rounds": 2, "algorithm": FedAvg(lr=0.1, epochs=2), **settings})


@pytest.fixture(scope="module")
def loop() -> Result:
    return run(experiment(augment=["RandomShift(1)", Jitter(0.1)]))


def test_training_alone_is_augmented(loop: Result) -> None:
    """The first model is measured as without; later ones are others. No byte and no other seed's numbers."""
    plain, none = run(experiment()), run(experiment(augment=[]))
    assert none.summary["digests"] == plain.summary["digests"]
    values = [[(row["round"], row["value"]) for row in each.rows] for each in (plain, loop)]
    firsts = [[value for round, value in each if round == 0] for each in values]
    lasts = [[value for round, value in each if round == 2] for each in values]
    assert firsts[0] == firsts[1] and lasts[0] != lasts[1]
    assert loop.ledger == plain.ledger
    other = run(experiment(augment=["RandomShift(1)", Jitter(0.2)]))
    assert other.summary["digests"]["server_state"] != loop.summary["digests"]["server_state"]


def test_what_steps_see_and_measures_do_not() -> None:
    seen = Seen()
    result = run(experiment(augment=seen, rounds=1, algorithm=FedAvg(lr=0.1, epochs=2)))
    # 12, 7 and 12 rows in batches of 4, two epochs; the trial before is on an example of zeros.
    steps = [x for x in seen.calls if bool(x.any())]
    assert len(steps) == 2 * (3 + 2 + 3)
    trained = np.concatenate([each.train.x for each in DATA.load(0).clients.values()])
    rows = {row.tobytes() for x in steps for row in x.numpy() if row.any()}
    assert rows == {row.tobytes() for row in trained}
    assert result.rows


def test_loop_and_stack_draw_alike(loop: Result) -> None:
    """As Ray's workers do: tests/runs/test_preparation.py."""
    other = run(experiment(augment=["RandomShift(1)", Jitter(0.1)], engine="vmap"))
    assert other.ledger == loop.ledger
    for name, value in loop.state.items():
        torch.testing.assert_close(other.state[name], value, atol=1e-6, rtol=1e-5)


def test_a_step_s_loss_is_that_of_the_augmented_inputs() -> None:
    """By the experiment's seed, the round and the client; outside of a step the loss is the plain one."""
    federation, step = DATA.load(0), Jitter(0.3)
    plain, augmented = (experiment(augment=augment).make_plan(federation) for augment in ([], step))
    split, owned = federation.clients[0].train, ("sum", "up")
    (batch,) = make_batches(split.x, split.y, None, None)
    losses = []
    for ctx in (context_of(0, 1, 0), context_of(1, 1, 0), context_of(0, 2, 0)):
        with training_step(ctx):
            losses.append(augmented.loss(owned)(augmented.initial, batch))
        x = step.augment(batch["x"], ctx.fold("augment").fold(0))
        assert torch.equal(losses[-1], plain.loss(owned)(plain.initial, {**batch, "x": x}))
    assert len({float(loss) for loss in losses}) == 3
    assert torch.equal(augmented.loss(owned)(plain.initial, batch), plain.loss(owned)(plain.initial, batch))


@pytest.mark.parametrize("algorithm", [Pooled(lr=0.1, epochs=1), FedEM(epochs=1, components=2)], ids=repr)
def test_other_ways_to_train_are_augmented(algorithm: Any) -> None:
    """At the server, and by the losses of single examples, each with draws of its own."""
    runs = [run(experiment(algorithm=algorithm, augment=augment)) for augment in ([], ["Jitter(0.5)"])]
    digests = {each.summary["digests"]["server_state"] for each in runs}
    assert len(digests) == 2


def test_an_experiment_keeps_it() -> None:
    one = experiment(augment="RandomShift(1)")
    assert one.augment == (RandomShift(1),) and from_dict({"augment": one.to_dict()["augment"]}).augment == one.augment
    assert one.result_settings != experiment().result_settings
    object_given = experiment(augment=Seen())
    with pytest.raises(ValueError, match="was passed as an object"):
        from_dict({"augment": object_given.to_dict()["augment"]})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augment": "RandomShift(9)"}, r"augment: RandomShift\(most=9\) moves images of 4 × 4 pixels out of sight"),
        ({"augment": "WordDropout"}, "changes tokens, and inputs are numbers"),
        ({"augment": "Shift"}, "Unknown augmentation 'Shift'; known: RandomFlip"),
        ({"augment": 3}, "augmentation"),
        (
            {
                "augment": "Jitter",
                "algorithm": Mocha(),
                "model": Linear(intercept=False),
                "data": "Synthetic(kind='binary')",
            },
            "trains without steps on batches, which .Jitter.* would change; set augment=",
        ),
    ],
)
def test_what_does_not_fit(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(experiment(**settings))


def test_labels_at_places_and_moved_numbers() -> None:
    tasks = {"map": DenseClasses(3, (4, 4))}
    with pytest.raises(ValueError, match="moves the numbers of an example, and the labels of task 'map' are of places"):
        AugmentedInputs([RandomFlip()], tasks, (1, 4, 4), False)
    AugmentedInputs([Jitter()], tasks, (1, 4, 4), False)

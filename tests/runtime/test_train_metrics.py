"""Metrics that an algorithm adds to a client's training: in the bytes of each upload, counted, and rows of the run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmtl import Context, Ditto, Experiment, FedEM, FedPer, LocalResult, Result, Synthetic, run
from fedmtl.algorithms import Pooled
from fedmtl.core.types import Batch, LossFn, Params, Payload
from fedmtl.models import MLP


@dataclass(frozen=True)
class Measuring(FedPer):
    """FedPer that reports twice the number of a client's examples, and a number of its own choice."""

    name: str = "half"
    value: Any = 0.5

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        result = super().local_update(loss, down, private, batches, ctx)
        own = torch.tensor(self.value) if isinstance(self.value, float) else self.value
        return result._replace(metrics={"twice": 2 * result.upload.num_examples, self.name: own})


def experiment(**settings: Any) -> Experiment:
    data = Synthetic(
        clients=5,
        examples=9,
        test_examples=4,
        features=4,
        rank=2,
        kind="mixed",
        tasks_per_client=2,
        ragged=True,
    )
    base = {
        "algorithm": Measuring(epochs=1),
        "engine": "Loop",
        "runtime": "InProcess",
        "train_metrics": True,
        **settings,
    }
    return Experiment(data=data, model=MLP((3,)), rounds=2, cohort=4, batch_size=4, **base)


def values(result: Result, metric: str) -> dict[tuple[int, int | None], float]:
    return {(row["round"], row["client"]): row["value"] for row in result.training if row["metric"] == metric}


def sizes(of: Experiment) -> dict[int, int]:
    return {client: len(data.train.x) for client, data in of.load().clients.items()}


@pytest.mark.parametrize("codec", ["Dense", "Int8", "ErrorFeedback(TopK(keep=0.1))"])
@pytest.mark.parametrize("settings", [{}, {"engine": "VMap(chunk=2)"}, {"runtime": "Ray(workers=2)"}], ids=repr)
def test_they_arrive_as_they_are(codec: str, settings: dict[str, Any]) -> None:
    """Twice the examples of each client, whatever the codec does to the update; over all, Σ n (2n) / Σ n."""
    chosen = experiment(up_codec=codec, **settings)
    counts, result = sizes(chosen), run(chosen)
    found = values(result, "twice")
    for round in (1, 2):
        some = [client for at, client in found if at == round and client is not None]
        assert len(some) == 4 and all(found[round, client] == 2 * counts[client] for client in some)
        n = np.array([counts[client] for client in some])
        assert found[round, None] == pytest.approx((n @ (2 * n)) / n.sum())
    assert set(values(result, "half").values()) == {0.5}


@pytest.mark.parametrize("codec", ["Dense", "Int8", "TopK(keep=0.1)"])
def test_each_is_four_bytes_of_an_upload(codec: str) -> None:
    """Nothing else of the run differs; without the key no byte is sent, and no row is there."""
    settings = {"up_codec": codec, "down_codec": "Dense"}
    sent, kept = run(experiment(**settings)), run(experiment(**settings, train_metrics=False))
    assert kept.training == []
    for part in ("rows", "server_state"):
        assert sent.summary["digests"][part] == kept.summary["digests"][part]
    for one, other in zip(sent.ledger, kept.ledger, strict=True):
        more = 8 if (one["purpose"], one["direction"]) == ("train", "up") else 0
        expected = {**other, "packet_bytes": other["packet_bytes"] + more}
        assert one == expected | ({"ideal_bits": other["ideal_bits"] + 8 * more} if "ideal_bits" in other else {})


def test_they_stand_beside_the_training_loss() -> None:
    both = run(experiment(train_loss=True))
    assert {row["metric"] for row in both.training} == {"half", "train_loss", "twice"}
    assert values(both, "train_loss") == values(run(experiment(train_loss=True, train_metrics=False)), "train_loss")
    assert values(both, "twice") == values(run(experiment()), "twice")


@pytest.mark.parametrize("engine", ["Loop", "VMap(chunk=2)"])
def test_the_entropy_of_a_mixture(engine: str) -> None:
    """FedEM's π_k, M = 3, is uniform at first and sharper later: −Σ π log π is at most log 3, and no two are alike."""
    found = values(run(experiment(algorithm=FedEM(spread=1.0, lr=0.2), engine=engine)), "mixture_entropy")
    entropies = [value for (_, client), value in found.items() if client is not None]
    assert len(set(entropies)) == 8 and all(0 < value < np.log(3) for value in entropies)


def test_the_distance_of_a_personal_model() -> None:
    """Ditto's ‖v − w‖ of the w that was received: in round 1 v begins there. With η λ = 1 a step ends at w − η ∇f(v),
    as far from w as one step is long; without a pull v walks away for five passes."""
    free = values(run(experiment(algorithm=Ditto(lam=0.0, personal_epochs=5))), "distance")
    held = values(run(experiment(algorithm=Ditto(lam=20.0, personal_epochs=5))), "distance")
    assert held.keys() == free.keys() and all(0 < held[key] < free[key] for key in free if key[0] == 1)


@pytest.mark.parametrize("algorithm", [Ditto(epochs=1, personal_epochs=1), FedEM(epochs=1, spread=1.0)], ids=repr)
def test_engines_and_runtimes_agree(algorithm: Any) -> None:
    """Bit for bit where clients train one by one, to rounding where they are stacked."""
    expected = run(experiment(algorithm=algorithm)).training
    assert run(experiment(algorithm=algorithm, runtime="Ray(workers=2)")).training == expected and expected
    found = run(experiment(algorithm=algorithm, engine="VMap(chunk=2)")).training
    assert [{**row, "value": 0} for row in found] == [{**row, "value": 0} for row in expected]
    np.testing.assert_allclose([row["value"] for row in found], [row["value"] for row in expected], rtol=1e-4)


def test_a_method_that_adds_none_sends_none() -> None:
    plain = run(experiment(algorithm=Pooled(epochs=1)))
    assert plain.training == [] and run(experiment(algorithm=FedPer(epochs=1))).training == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a b"}, "The name of a metric is letters"),
        ({"name": "train_loss"}, "and not 'train_loss', which sgd counts; got 'train_loss'"),
        ({"value": torch.zeros(2)}, r"'half' is a scalar tensor, got \(2,\); give a metric for each number"),
        ({"value": 3}, "'half' is a scalar tensor, got 3"),
    ],
)
def test_what_is_no_metric_is_an_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(experiment(algorithm=Measuring(epochs=1, **changes)))


def test_a_number_that_is_not_finite_costs_no_update() -> None:
    """It is null in its row, and the mean over all is null."""
    value: Tensor = torch.tensor(float("nan"))
    result = run(experiment(algorithm=Measuring(epochs=1, value=value)))
    assert set(values(result, "half").values()) == {None} and len(values(result, "twice")) == 10

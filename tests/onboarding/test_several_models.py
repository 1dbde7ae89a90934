"""New clients of methods that send several models, against numpy: their weights by labels, predictions and bytes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fedmtl import Result, ShareMap, VMap, onboard, run
from fedmtl.algorithms import IFCA, Ensemble, FedAdam, FedEM, TaskWeighted
from fedmtl.models import MLP
from fedmtl.onboarding.outcome import Onboarded
from fedmtl.weightings import Uncertainty
from tests.onboarding.test_onboard import FEW, NEW, TRUNK, Held, clinics, experiment

Array = NDArray[np.float64]

MODEL = TRUNK + 3 * 3 + 3 + 3 + 1
"""Numbers of a model: the trunk, a head of three classes, and one of a number."""

BOTH = (2, 3)
"""The new clients."""


def ran(algorithm: Any, **changes: Any) -> Result:
    return run(experiment(Held(), algorithm=algorithm, rounds=1, **changes))


def number_task(found: Onboarded) -> Any:
    return found.plan.tasks["value"]


def outputs(model: Mapping[str, Any], x: Any) -> tuple[Array, Array]:
    """log p of the classes [n, 3], and the number [n], in standard deviations."""
    w = {name: np.asarray(value, np.float64) for name, value in model.items()}
    h = np.maximum(x @ w["trunk.1.weight"].T + w["trunk.1.bias"], 0)
    z = h @ w["head.kind.weight"].T + w["head.kind.bias"]
    number = h @ w["head.value.weight"].T + w["head.value.bias"]
    return z - np.log(np.exp(z).sum(1, keepdims=True)), number[:, 0]


def losses(model: Mapping[str, Any], split: Any, value: Any) -> Array:
    """ℓ(w, i) [n]: the mean of −log p of the class, and the square of the error of the number."""
    log_p, number = outputs(model, split.x)
    kind = -log_p[np.arange(len(log_p)), split.y["kind"].astype(int)]
    return (kind + (number - (split.y["value"] - value.mean) / value.std) ** 2) / 2


def one_of(found: Onboarded, client: int, task: str, way: str = "as sent") -> Any:
    return next(one for one in found.scores if (one.client, one.task, one.way) == (client, task, way))


def check_mixture(found: Onboarded, models: list[Any], weights: Array, client: int) -> None:
    """A client's scores and predictions are those of the weighted means of probabilities, and of numbers."""
    test, value = NEW.clients[client].test, number_task(found)
    each = [outputs(model, test.x) for model in models]
    p: Any = sum(v * np.exp(log_p) for v, (log_p, _) in zip(weights, each, strict=True))
    number = value.mean + value.std * sum(v * z for v, (_, z) in zip(weights, each, strict=True))
    predicted: Any = found.predict(client, test.x)
    np.testing.assert_allclose(predicted["kind"].probabilities, p, atol=1e-5)
    np.testing.assert_allclose(predicted["value"].values, number, atol=1e-4)
    assert one_of(found, client, "kind").value == pytest.approx((p.argmax(1) == test.y["kind"]).mean())
    assert one_of(found, client, "value").value == pytest.approx(
        np.sqrt(np.mean((number - test.y["value"]) ** 2)), rel=1e-4
    )


def test_fedem_mixes_the_components_by_em() -> None:
    """Five steps, from π = ⅓, of

        q_im = π_m exp(−ℓ(w_m, i)) / Σ_m' π_m' exp(−ℓ(w_m', i)),   π_m <- 1/n Σ_i q_im

    over the client's labelled training examples with the components held, Marfoq et al. 2021, Algorithm 1; a packet has
    all three. Loop, and stacked clients.
    """
    algorithm = FedEM(lr=0.1, epochs=1, components=3, spread=1.0)
    for engine in ("Loop", VMap(chunk=2)):
        result = ran(algorithm, engine=engine)
        found = onboard(result, NEW, labels=None, fine_tune=2, **{**FEW, "head_steps": 5})
        models = [{name: value[m] for name, value in result.state.items()} for m in range(3)]
        for client in BOTH:
            each = np.stack([losses(w, NEW.clients[client].train, number_task(found)) for w in models], 1)
            pi = np.full(3, 1 / 3)
            for _ in range(5):
                q = pi * np.exp(-each)
                pi = (q / q.sum(1, keepdims=True)).mean(0)
            got: Any = found.model(client)
            np.testing.assert_allclose(got._buffers["weights_kind"], pi, atol=1e-5)
            assert max(abs(pi - 1 / 3)) > 0.05
            check_mixture(found, models, pi, client)
        assert {(one.labels, one.way) for one in found.scores} == {("all", "as sent"), ("all", "from scratch")}
        assert {one.bytes_down for one in found.scores if one.client == 2} == {0, 32 + 4 * 3 * MODEL}
        assert "| as sent | from scratch |" in found.table()


def test_ifca_takes_the_cluster_of_least_loss() -> None:
    """j = argmin_j f(w_j) over the labelled training examples, Ghosh et al. 2020, (1); the client goes on from there: a
    head on this cluster's trunk, then all of it. A packet has all clusters."""
    result = ran(IFCA(lr=0.1, epochs=1, clusters=3, spread=1.0))
    found = onboard(result, NEW, labels=None, fine_tune=2, **FEW)
    clusters: Any = result.state
    chosen = set()
    for client in BOTH:
        split, value = NEW.clients[client].train, number_task(found)
        best = int(np.argmin([losses(w, split, value).mean() for w in clusters.models]))
        chosen.add(best)
        w = clusters.models[best]
        sent, head, tuned = (found.model(client, "all", way).state_dict() for way in ("as sent", "head", "fine-tuned"))
        assert all(torch.equal(sent[name], w[name]) for name in w)
        for name in w:
            assert torch.equal(head[name], w[name]) == name.startswith("trunk.")
            assert not torch.equal(tuned[name], head[name])
        check_mixture(onboard_as_sent(found), [w], np.ones(1), client)
    assert chosen != {0}, chosen
    assert {one.way for one in found.scores} == {"as sent", "head", "fine-tuned", "from scratch"}
    assert {one.bytes_down for one in found.scores if one.client == 2} == {0, 32 + 4 * 3 * MODEL}


def onboard_as_sent(found: Onboarded) -> Onboarded:
    """The same, of models as they were sent alone."""
    groups = [one._replace(models={k: v for k, v in one.models.items() if k[1] == "as sent"}) for one in found.groups]
    return replace(found, groups=groups)


def test_ensemble_is_the_mean_of_its_members() -> None:
    """Of class both "a" and "b" know, and of the number "a" alone, Guha et al. 2019; whatever the labels."""
    result = ran(Ensemble(lr=0.1, epochs=1))
    found = onboard(result, NEW, labels=(1, None), **FEW)
    members: Any = result.state
    models = [{name: value[k] for name, value in members.models.items()} for k in range(2)]
    for client in BOTH:
        test, value = NEW.clients[client].test, number_task(found)
        (a, number), (b, _) = (outputs(model, test.x) for model in models)
        predicted: Any = found.predict(client, test.x)
        np.testing.assert_allclose(predicted["kind"].probabilities, (np.exp(a) + np.exp(b)) / 2, atol=1e-5)
        np.testing.assert_allclose(predicted["value"].values, value.mean + value.std * number, atol=1e-4)
    assert {one.bytes_down for one in found.scores if one.client == 2} == {0, 32 + 4 * 2 * (MODEL + 2)}


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": FedAdam(FedEM(epochs=1, components=2))},
        {"algorithm": TaskWeighted(FedEM(epochs=1, components=2), Uncertainty())},
        {"algorithm": FedEM(epochs=1, components=2), "model": ShareMap(MLP((3,)), {"trunk.1.bias": "private"})},
        {"algorithm": IFCA(epochs=1), "model": ShareMap(MLP((3,)), {"head.*": "private"})},
    ],
    ids=["FedAdam", "TaskWeighted", "ShareMap of FedEM", "ShareMap of IFCA"],
)
def test_wrapped_methods_hand_it_on(changes: Any) -> None:
    """What the map keeps private is as first drawn, and is trained where the model is one."""
    found = onboard(ran(**changes), NEW, labels=1, **FEW)
    ways = {one.way for one in found.scores}
    assert ways == ({"as sent", "from scratch"} if "IFCA" not in repr(changes) else {"head", "from scratch"})
    assert len(found.predict("c", NEW.clients[2].test.x)["kind"].values) == len(NEW.clients[2].test.x)


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [
        (FedEM(epochs=1), "predicts with a mixture of models, none of which is of the new task 'wide'; leave out"),
        (IFCA(epochs=1), "chooses a model by its tasks, none of which is of the new task 'wide'; leave out the task"),
    ],
    ids=["FedEM", "IFCA"],
)
def test_a_new_task_has_no_head_among_several_models(algorithm: Any, message: str) -> None:
    data = clinics(wide=lambda z: z[:, 1] > 0)
    alone = {"new": (data.clients[3].train.x, {"wide": data.clients[3].train.y["wide"]})}
    result = ran(algorithm)
    with pytest.raises(ValueError, match=message):
        onboard(result, alone, labels=1, **FEW)
    if isinstance(algorithm, IFCA):  # beside a task of the run, by which it chooses
        y = data.clients[3].train.y
        both = {"new": (data.clients[3].train.x, {"wide": y["wide"], "kind": y["kind"]})}
        found = onboard(result, both, labels=1, **FEW)
        assert {one.way for one in found.scores if one.task == "wide"} == {"head", "from scratch"}

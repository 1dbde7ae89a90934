"""Maps by a U-Net and labels of steps by models of sequences: each place is predicted from what is there."""

import numpy as np
import pytest

from fedmtl.data import from_arrays
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.tasks import DenseClasses, DenseRegression, SequenceLabels

DRAW = np.random.default_rng(0)


def test_a_unet_segments_and_measures_depth() -> None:
    """Three classes by the brightness of a pixel, of which one column is void; the depth of it is the brightness.

    Client by client: that stacks of clients train a U-Net alike is tested with the models.
    """
    clients = {}
    for client in range(2):
        x = DRAW.standard_normal((20, 1, 8, 6)).astype(np.float32)
        mask = np.digitize(x[:, 0], [-0.5, 0.5]).astype(np.uint8)
        mask[:, :, 0] = 255
        clients[client] = (x, {"mask": mask, "depth": 5 + 2 * x[:, 0]})
    tasks = {"mask": DenseClasses(3, (8, 6), void=255), "depth": DenseRegression((8, 6), standardise=True)}
    data = from_arrays(clients, tasks=tasks)
    experiment = Experiment(
        data=data,
        model="UNet(channels=(8, 16))",
        algorithm="FedPer(lr=0.2, epochs=5)",
        rounds=4,
        batch_size=4,
        runtime="InProcess",
        engine="loop",
    )
    result = run(experiment)
    found, floors = result.summary["tasks"], result.summary["floors"]
    assert found["mask"]["value"] > floors["mask"]["value"] + 0.3
    assert found["depth"]["score"] > 0.7
    rows = [row for row in result.confusion if row["client"] is None]
    assert sum(row["count"] for row in rows) == 2 * 4 * 8 * 5  # a fifth of 20 is tested on, without void places


@pytest.mark.parametrize(("model", "engine"), [("GRU(per_step=True)", "vmap"), ("LSTM(per_step=True)", "loop")])
def test_steps_are_labelled_whatever_the_length(model: str, engine: str) -> None:
    """The sign of the signal at each step; sequences are of 3 to 8 steps, padded to 8."""
    clients = {}
    for client in range(2):
        x = DRAW.standard_normal((30, 1, 8)).astype(np.float32)
        tags = (x[:, 0] > 0).astype(int)
        tags[np.arange(8) >= DRAW.integers(3, 9, 30)[:, None]] = -100
        clients[client] = (x, {"tags": tags})
    data = from_arrays(clients, tasks={"tags": SequenceLabels(2, 8, padding=-100)})
    experiment = Experiment(
        data=data,
        model=model,
        algorithm="FedPer(lr=0.3, epochs=10)",
        rounds=2,
        batch_size=8,
        runtime="InProcess",
        engine=engine,
    )
    assert run(experiment).summary["tasks"]["tags"]["score"] > 0.8

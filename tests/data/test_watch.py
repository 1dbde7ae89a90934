"""Watch: what is tested on shares no recording with what is trained on."""

from collections.abc import Iterable
from importlib.util import find_spec

import numpy as np
import pytest

from fedmtl.data import Watch
from fedmtl.data import watch as module
from fedmtl.data.watch import EXERCISES, SHORTEST, read

pytestmark = pytest.mark.skipif(find_spec("seglearn") is None, reason="seglearn is an extra")
DATASETS = [
    Watch(),
    Watch(window=64, step=17, test_fraction=0.25),
    Watch(window=SHORTEST, step=300, test_fraction=0.01),
]


def origins(dataset: Watch, seed: int, clients: Iterable[int] = range(10)) -> dict[int, tuple[list[int], list[int]]]:
    """Which recording each window of each client comes from, found by the window's content: client -> (train, test).

    Asks ``split`` only for the constants. The person's every recording, whole, is standardised like this client's;
    then the first and the last sample of each window, six numbers each, are looked for in all of them.
    """
    recordings = read()
    found = {}
    federation, trained = dataset.load(seed), {client: train for client, (train, _) in dataset.split(seed).items()}
    for client in clients:
        data = federation.clients[client]
        seen = np.concatenate([recordings[i].signal for i in trained[client]])
        mean, std = seen.mean(0), seen.std(0)
        places: dict[bytes, int] = {}
        for i, recording in enumerate(recordings):
            if recording.client == client:
                own = set(samples(((recording.signal - mean) / std).astype(np.float32)))
                assert not places.keys() & own  # Content does tell recordings apart.
                places |= dict.fromkeys(own, i)
        first, last = ([[places[one] for one in samples(x.x[:, :, end])] for x in data] for end in (0, -1))
        assert first == last
        found[client] = first[0], first[1]
    return found


def samples(signal: np.ndarray) -> list[bytes]:
    """The rows of a signal [N, 6], float32."""
    assert signal.dtype == np.float32
    return np.ascontiguousarray(signal).view("V24").ravel().tolist()


@pytest.mark.parametrize("dataset", DATASETS, ids=repr)
def test_no_recording_is_both_trained_and_tested_on(dataset: Watch) -> None:
    split = dataset.split(1)
    for client, (train, test) in origins(dataset, 1).items():
        assert not set(train) & set(test)
        assert (sorted(set(train)), sorted(set(test))) == split[client]
        assert len(split[client][0]) + len(split[client][1]) == 14


def test_windows_are_all_full_windows_of_their_recording() -> None:
    """A recording of n samples has ⌊(n − window)/step⌋ + 1 of them, and labels are its own."""
    dataset, recordings = Watch(), read()
    (parts,) = origins(dataset, 0, clients=[6]).values()
    for split, ids in zip(dataset.load(0).clients[6], parts, strict=True):
        for i in set(ids):
            assert ids.count(i) == (len(recordings[i].signal) - 100) // 50 + 1
        np.testing.assert_array_equal(split.y["exercise"], [recordings[i].exercise for i in ids])
        np.testing.assert_array_equal(split.y["side"], [recordings[i].side for i in ids])


def test_everybody_trains_on_everything() -> None:
    """And with half the recordings tested on, is tested on everything; else on as many exercises as recordings."""
    for dataset, tested in ((Watch(), 7), (Watch(test_fraction=0.25), 4), (Watch(test_fraction=0.01), 1)):
        for data in dataset.load(0).clients.values():
            assert set(data.train.y["exercise"]) == set(range(7)) and set(data.train.y["side"]) == {0, 1}
            assert len(set(data.test.y["exercise"])) == tested


def test_arms_take_turns_in_the_test() -> None:
    recordings = read()
    for _, test in Watch().split(0).values():
        assert sum(recordings[i].side for i in test) in (3, 4)


def test_constants_are_those_of_the_persons_training_recordings() -> None:
    """With windows side by side (step = window) nearly all training samples are seen once: mean 0, std 1 per channel.

    The end of a recording that fills no window is left out, so only nearly. The test part is not standardised by
    itself, so it is off.
    """
    for data in Watch(window=20, step=20).load(0).clients.values():
        np.testing.assert_allclose(data.train.x.mean((0, 2)), 0, atol=0.02)
        np.testing.assert_allclose(data.train.x.std((0, 2)), 1, atol=0.02)
        assert np.abs(data.test.x.mean((0, 2))).max() > 0.05


def test_ten_people_do_seven_exercises_with_each_arm() -> None:
    """What the splitting rests on; the names are the file's own."""
    recordings = read()
    kinds = {(r.client, r.exercise, r.side) for r in recordings}
    assert len(recordings) == len(kinds) == 140
    assert kinds == {(c, e, s) for c in range(10) for e in range(7) for s in range(2)}
    assert min(len(r.signal) for r in recordings) == SHORTEST
    spec = find_spec("seglearn")
    assert spec is not None and spec.submodule_search_locations is not None
    path = f"{spec.submodule_search_locations[0]}/data/watch_dataset.npy"
    assert tuple(np.load(path, allow_pickle=True).item()["y_labels"]) == EXERCISES


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"window": 0}, "windows of 1 to 947 samples, .* got window=0"),
        ({"window": 948}, "windows of 1 to 947 samples, .* got window=948"),
        ({"step": 0}, "got step=0"),
        ({"test_fraction": 0.0}, r"fraction in \(0, 0.5\] .* got test_fraction=0.0"),
        ({"test_fraction": 0.6}, r"fraction in \(0, 0.5\] .* got test_fraction=0.6; .* one must be left to learn from"),
    ],
)
def test_what_it_refuses(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Watch(**fields)


def test_without_seglearn_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'fedmtl\[watch\]'"):
        Watch().load(0)

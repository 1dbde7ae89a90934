"""Ten people's shoulder exercises, felt by a smartwatch."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.random import rng
from fedmtl.core.types import ClientId
from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.data.source import DataSource
from fedmtl.tasks.base import Task
from fedmtl.tasks.binary import Binary
from fedmtl.tasks.multiclass import MultiClass

EXERCISES = ("PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW")
"""The classes, in the file's order and words."""

SHORTEST = 947
"""Samples in the shortest recording, at 50 Hz."""

TASKS: dict[str, Task] = {"exercise": MultiClass(len(EXERCISES), EXERCISES), "side": Binary()}


class Recording(NamedTuple):
    """One person doing one exercise some twenty times with one arm."""

    client: ClientId
    exercise: int
    side: int
    """1 the right arm, 0 the left."""
    signal: NDArray[Any]
    """ax, ay, az, wx, wy, wz: acceleration and angular velocity, float64 [samples, 6]."""


@dataclass(frozen=True)
class Watch:
    """140 recordings of ten people: which of seven exercises, and with which arm. A person is a client.

    Inputs [N, 6, window]: acceleration and angular velocity along three axes at 50 Hz. All clients own both
    tasks, ``exercise`` (``MultiClass(7)``) and ``side`` (``Binary``, 1: right).

    Windows overlap, so recordings are split first and cut into windows afterwards: no window that is tested on
    shares a sample, or a recording, with one that is trained on. Each person has every exercise twice, once with
    each arm, and never gives both to the test; so all clients train on all exercises, and with ``test_fraction`` ½
    is tested on all of them, each with the arm that this person's training has not seen.

    Each channel is standardised by the mean and standard deviation over the *person's own training recordings*:
    a constant over all clients' would have to be sent, and counted.

    Raises:
        ValueError: a window or step that does not fit, or a fraction outside (0, ½].
        ImportError: in ``load``, when seglearn, which carries the recordings, is missing.

    Source: Burns et al., Shoulder physiotherapy exercise recognition: machine learning the inertial signals from
    a smartwatch, Physiological Measurement 39(7), 2018, arXiv:1802.01489; as seglearn ships it.
    """

    window: int = 100
    """Samples in a window; 100 are two seconds."""
    step: int = 50
    """Samples from the start of one window to the start of the next."""
    test_fraction: float = 0.5
    """The part of each person's fourteen recordings that is tested on, rounded, at least one."""

    source: ClassVar[DataSource] = DataSource(
        name="watch",
        clients="10 people",
        tasks=tuple(TASKS),
        examples=140,
        address="https://github.com/dmbee/seglearn",
        licence="BSD 3-clause, as seglearn",
        citation="Burns et al., Shoulder physiotherapy exercise recognition: machine learning the inertial signals "
        "from a smartwatch, Physiological Measurement 39, 2018",
        package="seglearn",
    )

    def __post_init__(self) -> None:
        if not 1 <= self.window <= SHORTEST:
            raise ValueError(
                f"Watch cuts windows of 1 to {SHORTEST} samples, its shortest recording, got window={self.window}."
            )
        if not 1 <= self.step:
            raise ValueError(f"Watch moves on by at least one sample from window to window, got step={self.step}.")
        if not 0 < self.test_fraction <= 0.5:
            raise ValueError(
                f"Watch tests on a fraction in (0, 0.5] of the recordings, got test_fraction={self.test_fraction}; "
                "there are two of each exercise a person, and one must be left to learn from."
            )

    def load(self, seed: int) -> Federation:
        recordings = read()
        clients = {}
        for client, (train, test) in self.split(seed).items():
            seen = np.concatenate([recordings[i].signal for i in train])
            center, scale = seen.mean(0), seen.std(0)
            parts = []
            for ids in (train, test):
                cuts = [self._windows((recordings[i].signal - center) / scale) for i in ids]
                sizes = [len(cut) for cut in cuts]
                exercise = np.repeat([float(recordings[i].exercise) for i in ids], sizes)
                side = np.repeat([float(recordings[i].side) for i in ids], sizes)
                parts.append(Split(np.concatenate(cuts), {"exercise": exercise, "side": side}))
            clients[client] = ClientData(*parts)
        return Federation(dict(TASKS), (6, self.window), clients)

    def split(self, seed: int) -> Mapping[ClientId, tuple[list[int], list[int]]]:
        """Return each person's recordings for training and test, as positions in ``read()``: client -> (train, test).

        A person's exercises are shuffled and each gives one recording to the test, the arms taking turns, until
        the test has its number.
        """
        people: dict[ClientId, dict[tuple[int, int], int]] = {}
        for i, recording in enumerate(read()):
            people.setdefault(recording.client, {})[recording.exercise, recording.side] = i
        parts = {}
        for client, owned in sorted(people.items()):
            draw = rng(seed, 0, client, "split")
            order, first = draw.permutation(len(EXERCISES)).tolist(), int(draw.integers(2))
            tested = max(1, round(self.test_fraction * len(owned)))
            test = sorted(owned[exercise, (first + turn) % 2] for turn, exercise in enumerate(order[:tested]))
            parts[client] = (sorted(set(owned.values()) - set(test)), test)
        return parts

    def _windows(self, signal: NDArray[Any]) -> NDArray[np.float32]:
        """All full windows of a recording, float32 [N, 6, window]."""
        views = np.lib.stride_tricks.sliding_window_view(signal, self.window, axis=0)
        return np.ascontiguousarray(views[:: self.step], np.float32)


def read() -> list[Recording]:
    """The recordings, in the file's order. Its persons 1 to 10 are clients 0 to 9.

    The file is read without importing seglearn, whose code needs more of scikit-learn than its data does.

    Raises:
        ImportError: seglearn is not installed.
    """
    package = find_spec("seglearn")
    if package is None or package.origin is None:
        raise ImportError("Watch reads its recordings from seglearn, which is missing: pip install 'fedmtl[watch]'")
    path = Path(package.origin).parent / "data" / "watch_dataset.npy"
    raw = _unpickled(path).item()
    rows = zip(raw["subject"], raw["y"], raw["side"], raw["X"], strict=True)
    return [Recording(int(person) - 1, int(exercise), int(side), signal) for person, exercise, side, signal in rows]


class _Arrays(pickle.Unpickler):
    """Pickles of numpy's arrays and Python's own containers; any other class is refused, so that none runs code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):  # how the oldest pickles hold bytes
            return _encode
        home = module.replace("numpy._core", "numpy.core")
        if (home, name) not in (
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy.core.multiarray", "scalar"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        ):
            raise ValueError(f"Watch's file holds numbers only, got {module}.{name}; install seglearn again.")
        return super().find_class(module, name)


def _encode(text: str, encoding: str) -> bytes:
    return text.encode("latin1")


def _unpickled(path: Path) -> NDArray[Any]:
    """The array of objects in an ``.npy`` file: ``np.load`` would run what a pickle says."""
    with open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        read_header(file)
        return _Arrays(file, encoding="ASCII").load()

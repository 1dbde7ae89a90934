"""Thirty people, six activities, a phone at the waist."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.random import rng
from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.data.home import find_file
from fedmtl.data.partition import check_fraction
from fedmtl.data.scaling import scaled_alone
from fedmtl.data.source import DataFile, DataSource
from fedmtl.tasks.multiclass import MultiClass

ACTIVITIES = ("WALKING", "WALKING_UPSTAIRS", "WALKING_DOWNSTAIRS", "SITTING", "STANDING", "LAYING")
"""The classes, in the file's order and words."""


class HarWindows(NamedTuple):
    """Windows of all people, in the order of recording."""

    x: NDArray[np.float32]
    """Body acceleration, angular velocity and total acceleration along three axes at 50 Hz, [N, 9, 128]."""
    activity: NDArray[np.int64]
    person: NDArray[np.int64]
    """1 to 30."""
    bout: NDArray[np.int64]
    """Unbroken run of windows of one activity."""
    official_test: NDArray[np.bool_]
    """Windows of the nine people that the authors test on."""


@dataclass(frozen=True)
class HAR:
    """10,299 windows of the movements of thirty people: which of six activities is it? A person is a client.

    Inputs [N, 9, 128]: body acceleration, angular velocity and total acceleration along three axes, 2.56 s at 50 Hz;
    with ``summaries`` mean, standard deviation and energy of each, [N, 27]. The task ``activity`` is ``MultiClass(6)``.

    Windows overlap by half, so bouts, unbroken runs of windows of one activity, are divided and not windows: no tested
    window shares a sample with one that is trained on. Of each person and activity round(``test_fraction`` · bouts) are
    tested on, at least one and not all. Channels are standardised by the person's own training windows: a constant over
    all clients' would have to be sent, and counted.

    Source: Anguita et al., A public domain dataset for human activity recognition using smartphones, ESANN 2013.
    """

    summaries: bool = False
    """Inputs are 27 summaries of a window, for linear models; else its samples."""
    test_fraction: float = 0.25
    """The part of the bouts of each person and activity that is tested on."""
    validation: bool = False
    """True: those bouts are left out, and the same part of the others is tested on: for choices, such as of a rate."""

    source: ClassVar[DataSource] = DataSource(
        name="har",
        clients="30 people",
        tasks=("activity",),
        examples=10299,
        address="https://archive.ics.uci.edu/dataset/240/human+activity+recognition+using+smartphones",
        licence="non-commercial by the set's README; test and research only",
        citation="Anguita, Ghio, Oneto, Parra and Reyes-Ortiz, A public domain dataset for human activity recognition "
        "using smartphones, ESANN 2013",
        files=(
            DataFile(
                "har_inertial/har_inertial.npz",
                10431079,
                "bc44b99dab7bd1e937fa677961a61b04a6d9f852cbc0e2d37345cfa6e206d28b",
            ),
        ),
        packing="the inertial signals in one npz: X int16 [10299, 128, 9] with their scale, y, subject, official_test, "
        "and bout, the unbroken runs of windows of one activity.",
    )

    def __post_init__(self) -> None:
        check_fraction("HAR", self.test_fraction)

    def load(self, seed: int) -> Federation:
        windows = read()
        tested = self.tested(windows, seed)
        if self.validation:
            windows = HarWindows._make(column[~tested] for column in windows)
            tested = self.tested(windows, seed, "validation")
        x = summaries(windows.x) if self.summaries else windows.x
        clients, names = {}, {}
        for client, person in enumerate(np.unique(windows.person).tolist()):
            own = windows.person == person
            train, test = np.flatnonzero(own & ~tested), np.flatnonzero(own & tested)
            inputs = scaled_alone(x[train], x[test], (0,) if self.summaries else (0, 2))
            clients[client] = ClientData(
                *(
                    Split(part, {"activity": windows.activity[rows]})
                    for part, rows in zip(inputs, (train, test), strict=True)
                )
            )
            names[client] = f"person {person}"
        return Federation({"activity": MultiClass(6, ACTIVITIES)}, x.shape[1:], clients, names)

    def tested(self, windows: HarWindows, seed: int, purpose: str = "bouts") -> NDArray[np.bool_]:
        """Mask of the windows to test on: those of whole bouts of each person and activity.

        Of an activity with a single bout, none.
        """
        chosen = np.zeros(len(windows.bout), bool)
        for client, person in enumerate(np.unique(windows.person).tolist()):
            draw = rng(seed, 0, client, purpose)
            for activity in range(len(ACTIVITIES)):
                rows = np.flatnonzero((windows.person == person) & (windows.activity == activity))
                bouts = np.unique(windows.bout[rows])
                count = min(max(round(self.test_fraction * len(bouts)), 1), len(bouts) - 1)
                chosen[rows] = np.isin(windows.bout[rows], draw.permutation(bouts)[:count])
        return chosen


def summaries(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean, standard deviation and energy (mean square) of each channel, [N, 27]."""
    return np.concatenate([x.mean(2), x.std(2), (x**2).mean(2)], axis=1)


def read() -> HarWindows:
    """All windows, in the file's order.

    Raises:
        FileNotFoundError, ValueError: as ``find_file``.
    """
    with np.load(find_file(HAR.source, "har_inertial/har_inertial.npz"), allow_pickle=False) as raw:
        x = raw["X"].astype(np.float32) * np.float32(raw["scale"])
        activity, person, bout = (raw[name].astype(np.int64) for name in ("y", "subject", "bout"))
        official = raw["official_test"].astype(bool)
        return HarWindows(np.ascontiguousarray(x.swapaxes(1, 2)), activity, person, bout, official)

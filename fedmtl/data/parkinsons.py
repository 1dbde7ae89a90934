"""Voices of 42 people with Parkinson's disease."""

import csv
import gzip
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.data.home import find_file
from fedmtl.data.infer import infer_regression
from fedmtl.data.partition import check_fraction, hold_out
from fedmtl.data.scaling import scaled_together
from fedmtl.data.source import DataFile, DataSource

LEFT_OUT = ("subject#", "age", "sex", "test_time", "motor_UPDRS", "total_UPDRS")
"""Columns that are no inputs."""

SAME_DAY = 0.1
"""Days between recordings of two sessions, at least; those of one session are minutes apart."""


class Voices(NamedTuple):
    """Recordings of all people, in the file's order."""

    x: NDArray[np.float64]
    """[N, 16]."""
    motor: NDArray[np.float64]
    total: NDArray[np.float64]
    person: NDArray[np.int64]
    """1 to 42."""
    day: NDArray[np.float64]
    """Since the beginning of the trial, in days."""


@dataclass(frozen=True)
class Parkinsons:
    """5,875 voice recordings of 42 people with Parkinson's disease: how severe is it? A person is a client.

    Inputs [N, 16]: jitter, shimmer, noise and nonlinear measures of a voice. The tasks ``motor`` and ``total`` are
    ``Regression`` of two scores of the Unified Parkinson's Disease Rating Scale.

    The scores were interpolated over time within a person, so time, age and sex, which identify both, are left out. The
    some six recordings of a session have one score, so whole sessions are tested on. Inputs have mean 0 and standard
    deviation 1 over all training recordings: one scale for all clients, for which they would
    send sums and squares.

    Source: Tsanas, Little, McSharry and Ramig, IEEE Transactions on Biomedical Engineering 57, 2010; UCI 189.
    """

    test_fraction: float = 0.25
    """The part of a person's sessions that is tested on."""

    source: ClassVar[DataSource] = DataSource(
        name="parkinsons",
        clients="42 people",
        tasks=("motor", "total"),
        examples=5875,
        address="https://archive.ics.uci.edu/dataset/189/parkinsons+telemonitoring",
        licence="believed CC BY 4.0, as UCI's sets are",
        citation="Tsanas, Little, McSharry and Ramig, Accurate telemonitoring of Parkinson's disease progression by "
        "noninvasive speech tests, IEEE Transactions on Biomedical Engineering 57, 2010",
        files=(
            DataFile(
                "parkinsons_telemonitoring/parkinsons_updrs.csv.gz",
                280497,
                "feff9d02604f570b3de8f20a133a15fa6f70b3e7682676085702ffeebaec14bd",
            ),
        ),
        packing="parkinsons_updrs.data with its 22 columns, gzip-packed.",
    )

    def __post_init__(self) -> None:
        check_fraction("Parkinsons", self.test_fraction)

    def load(self, seed: int, agreed: bytes | None = None) -> Federation:
        """The federation; ``agreed`` as of ``Standardised``."""
        voices = read()
        people = np.unique(voices.person).tolist()
        rows = [self._divided(voices, person, seed, client) for client, person in enumerate(people)]
        x, prepared = scaled_together(
            [(voices.x[train], voices.x[test]) for train, test in rows], partial(self.load, seed), agreed
        )
        clients = {}
        for client, own in enumerate(rows):
            clients[client] = ClientData(
                *(
                    Split(part, {"motor": voices.motor[some], "total": voices.total[some]})
                    for part, some in zip(x[client], own, strict=True)
                )
            )
        tasks = {
            name: infer_regression(name, [score[train] for train, _ in rows])
            for name, score in (("motor", voices.motor), ("total", voices.total))
        }
        names = {client: f"person {person}" for client, person in enumerate(people)}
        return Federation(tasks, (voices.x.shape[1],), clients, names, prepared=prepared)

    def _divided(
        self, voices: Voices, person: int, seed: int, client: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        own = np.flatnonzero(voices.person == person)
        session = sessions(voices.day[own])
        train, test = hold_out(int(session.max()) + 1, self.test_fraction, seed, client)
        return own[np.isin(session, train)], own[np.isin(session, test)]


def sessions(day: NDArray[np.float64]) -> NDArray[np.int64]:
    """The session of each recording of one person, from 0: a new one begins ``SAME_DAY`` after the last recording."""
    order = np.argsort(day, kind="stable")
    number = np.zeros(len(day), np.int64)
    number[order[1:]] = np.cumsum(np.diff(day[order]) > SAME_DAY)
    return number


def read() -> Voices:
    """All recordings, in the file's order.

    Raises:
        FileNotFoundError, ValueError: as ``find_file``.
    """
    path = find_file(Parkinsons.source, "parkinsons_telemonitoring/parkinsons_updrs.csv.gz")
    with gzip.open(path, "rt", encoding="ascii", newline="") as file:
        head, *lines = csv.reader(file)
    table = np.array(lines, np.float64)
    inputs = [place for place, name in enumerate(head) if name not in LEFT_OUT]
    motor, total, person, day = (
        table[:, head.index(name)] for name in ("motor_UPDRS", "total_UPDRS", "subject#", "test_time")
    )
    return Voices(table[:, inputs], motor, total, person.astype(np.int64), day)

"""Examination scores of the pupils of 139 schools."""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.data.home import find_file
from fedmtl.data.infer import infer_regression
from fedmtl.data.partition import check_fraction, hold_out
from fedmtl.data.scaling import scaled_together
from fedmtl.data.source import DataFile, DataSource


@dataclass(frozen=True)
class School:
    """15,362 pupils of 139 London schools, 1985 to 1987: what is a pupil's examination score? A school is a client.

    Inputs [N, 27]: year, gender, verbal reasoning band and ethnic group, as 0 or 1, and what is known of the school;
    the file's 28th column is constant and left out. The task ``score`` is ``Regression``.

    Pupils are tested on at random, in each school the same part. Inputs have mean 0 and standard deviation 1 over all
    training pupils, and ``score`` is learnt in units of theirs: one scale for all clients, for which they send
    sums.

    Source: Inner London Education Authority; Argyriou, Evgeniou and Pontil, Machine Learning 73, 2008; as MALSAR has
    it.
    """

    test_fraction: float = 0.25
    """The part of a school's pupils that is tested on."""

    source: ClassVar[DataSource] = DataSource(
        name="school",
        clients="139 schools",
        tasks=("score",),
        examples=15362,
        address="https://github.com/jiayuzhou/MALSAR/blob/fb9751594983/data/school.mat",
        licence="none stated; test and research only",
        citation="Argyriou, Evgeniou and Pontil, Convex multi-task feature learning, Machine Learning 73, 2008",
        files=(
            DataFile(
                "school/school.mat",
                44759,
                "57fb3238fdd03a9aa17276e2ce18d9bbb5d128c3261e794fe6233b58b6909068",
                "https://raw.githubusercontent.com/jiayuzhou/MALSAR/fb9751594983/data/school.mat",
            ),
        ),
    )

    def __post_init__(self) -> None:
        check_fraction("School", self.test_fraction)

    def load(self, seed: int, agreed: bytes | None = None) -> Federation:
        """The federation; ``agreed`` as of ``Standardised``."""
        schools = read()
        rows = [hold_out(len(y), self.test_fraction, seed, client) for client, (_, y) in enumerate(schools)]
        pairs = [(x[train], x[test]) for (x, _), (train, test) in zip(schools, rows, strict=True)]
        x, prepared = scaled_together(pairs, partial(self.load, seed), agreed)
        y = [(y[train], y[test]) for (_, y), (train, test) in zip(schools, rows, strict=True)]
        task = infer_regression("score", [train for train, _ in y])
        clients = {
            client: ClientData(
                *(Split(part, {"score": score}) for part, score in zip(x[client], y[client], strict=True))
            )
            for client in range(len(schools))
        }
        names = {client: f"school {client + 1}" for client in clients}
        return Federation({"score": task}, (27,), clients, names, prepared=prepared)


def read() -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """x [N, 27] and the scores [N] of each school, in the file's order, without the constant column.

    Raises:
        FileNotFoundError, ValueError: as ``find_file``.
    """
    from scipy.io import loadmat  # SciPy's own start takes a fifth of a second

    raw: dict[str, Any] = loadmat(find_file(School.source, "school/school.mat"))
    pairs = zip(raw["X"].ravel(), raw["Y"].ravel(), strict=True)
    return [(x[:, :-1].astype(np.float64), y.ravel().astype(np.float64)) for x, y in pairs]

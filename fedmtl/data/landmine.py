"""Radar signatures of 29 minefields."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.data.home import find_file
from fedmtl.data.partition import check_fraction, hold_out
from fedmtl.data.scaling import scaled_together
from fedmtl.data.source import DataFile, DataSource
from fedmtl.tasks.binary import Binary

FIELDS = 29


@dataclass(frozen=True)
class Landmine:
    """14,820 radar signatures of 29 fields, 6.1 % of them of mines: is it a mine? A field is a client.

    Inputs [N, 9]: moments, correlations, energy ratios and a spatial variance of a signature. The task ``mine`` is
    ``Binary`` (1: a mine), so rare that its accuracy says little; compare the area under the curve.

    Fields 0 to 14 are foliated, 15 to 28 bare earth or desert. Signatures are tested on at random, mines and others of
    each field in the same part. Inputs have mean 0 and standard deviation 1 over all training signatures: one scale for
    all clients, for which they send sums and squares.

    Source: Xue, Liao, Carin and Krishnapuram, Multi-task learning for classification with Dirichlet process priors,
    JMLR 8, 2007.
    """

    test_fraction: float = 0.5
    """The part of a field's signatures that is tested on."""

    source: ClassVar[DataSource] = DataSource(
        name="landmine",
        clients="29 fields",
        tasks=("mine",),
        examples=14820,
        address="https://github.com/daizhongxiang/Federated_Bayesian_Optimization/blob/30a4548606f2/LandmineData.mat",
        licence="none stated; test and research only",
        citation="Xue, Liao, Carin and Krishnapuram, Multi-task learning for classification with Dirichlet process "
        "priors, JMLR 8, 2007",
        files=(
            DataFile(
                "landmine/landmine.npz",
                495007,
                "8c4800e1acf3b60ad514543c8f0abc5684bcd06d69ba3de67d0890f3f8af6c8c",
            ),
        ),
        packing="the 29 fields of LandmineData.mat one after another in one npz: X float32 [14820, 9], y uint8 (1: "
        "mine), task uint8 from 0.",
    )

    def __post_init__(self) -> None:
        check_fraction("Landmine", self.test_fraction)

    def load(self, seed: int, agreed: bytes | None = None) -> Federation:
        """The federation; ``agreed`` as of ``Standardised``."""
        x, y, field = read()
        rows = [self._divided(np.flatnonzero(field == client), y, seed, client) for client in range(FIELDS)]
        scaled, prepared = scaled_together(
            [(x[train], x[test]) for train, test in rows], partial(self.load, seed), agreed
        )
        clients = {
            client: ClientData(
                *(Split(part, {"mine": y[own]}) for part, own in zip(scaled[client], rows[client], strict=True))
            )
            for client in range(FIELDS)
        }
        names = {client: f"field {client}" for client in clients}
        return Federation({"mine": Binary()}, (9,), clients, names, prepared=prepared)

    def _divided(
        self, own: NDArray[np.int64], y: NDArray[np.int64], seed: int, client: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """A field's rows to train and to test on, class by class."""
        parts = []
        for label in (0, 1):
            rows = own[y[own] == label]
            # Classes of one client draw from streams of their own.
            parts.append(
                [rows[some] for some in hold_out(len(rows), self.test_fraction, seed, client + label * FIELDS)]
            )
        (train, test), (mines, tested) = parts
        return np.sort(np.concatenate([train, mines])), np.sort(np.concatenate([test, tested]))


def read() -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """x [N, 9], mine or not, and the field from 0, of all signatures.

    Raises:
        FileNotFoundError, ValueError: as ``find_file``.
    """
    with np.load(find_file(Landmine.source, "landmine/landmine.npz"), allow_pickle=False) as raw:
        return raw["X"].astype(np.float64), raw["y"].astype(np.int64), raw["task"].astype(np.int64)

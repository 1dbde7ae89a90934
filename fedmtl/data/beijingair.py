"""Air and weather at twelve stations of Beijing, hour by hour."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.data.home import find_file
from fedmtl.data.partition import check_fraction
from fedmtl.data.scaling import scaled_together
from fedmtl.data.source import DataFile, DataSource
from fedmtl.tasks.regression import Regression

POLLUTANTS = ("PM2_5", "PM10", "SO2", "NO2", "CO", "O3")
"""The tasks, and the first six variables of the file."""

MISSING = -32768


class Hours(NamedTuple):
    """All stations' measurements."""

    values: NDArray[np.float32]
    """[stations, variables, hours], NaN where missing; µg/m³, and for the weather °C, hPa, mm and m/s."""
    stations: tuple[str, ...]
    variables: tuple[str, ...]


@dataclass(frozen=True)
class BeijingAir:
    """Four years of hours at twelve stations: how much of six pollutants comes? A station is a client.

    Inputs [N, 11]: PM2.5, PM10, SO2, NO2, CO, O3, temperature, pressure, dew point, rain and wind speed in an hour. The
    tasks are ``Regression`` of the six pollutants ``ahead`` hours later, missing where they were not measured. Hours
    with an input that was not measured are left out.

    The last ``test_fraction`` of the time is tested on, and no hour of it is an input or a label of training. Of all
    hours every ``step``-th is an example, the first by the seed; as 7 and 24 have no divisor in common, all
    hours of the day come alike. Inputs have mean 0 and standard deviation 1 over all training hours of all stations:
    one scale for all clients, for which they send sums and squares.

    Source: Zhang et al., Cautionary tales on air-quality improvement in Beijing, Proceedings of the Royal Society A
    473, 2017; UCI 501.
    """

    ahead: int = 1
    """Hours from inputs to labels."""
    step: int = 7
    """Hours from one example to the next."""
    test_fraction: float = 0.25
    """The part of the four years that is tested on: the last."""

    source: ClassVar[DataSource] = DataSource(
        name="beijingair",
        clients="12 stations",
        tasks=POLLUTANTS,
        examples=420768,
        address="https://archive.ics.uci.edu/dataset/501/beijing+multi+site+air+quality+data",
        licence="believed CC BY 4.0, as UCI's sets are",
        citation="Zhang, Guo, Dong, He, Xu and Chen, Cautionary tales on air-quality improvement in Beijing, "
        "Proceedings of the Royal Society A 473, 2017",
        files=(
            DataFile(
                "beijing_air/beijing_air.npz",
                4363286,
                "f0c7fb04a43ca7fc48d2462f18e7c817217b4861946f366cc70d4b415f34e2c1",
            ),
        ),
        packing="the twelve tables of PRSA_Data_20130301-20170228 in one npz: X int16 [station, variable, hour], value "
        "= X * scale, -32768 where missing, with stations, variables and the wind's direction.",
    )

    def __post_init__(self) -> None:
        if not 1 <= self.ahead <= 24 * 7:
            raise ValueError(f"BeijingAir predicts 1 to 168 hours ahead, got ahead={self.ahead}.")
        if not 1 <= self.step <= 24 * 7:
            raise ValueError(f"BeijingAir takes every hour or up to every 168th, got step={self.step}; use 7.")
        check_fraction("BeijingAir", self.test_fraction)

    def load(self, seed: int, agreed: bytes | None = None) -> Federation:
        """The federation; ``agreed`` as of ``Standardised``."""
        hours = read()
        times = np.arange(seed % self.step, hours.values.shape[2] - self.ahead, self.step)
        cut = round((1 - self.test_fraction) * hours.values.shape[2])
        early, late = times[times + self.ahead < cut], times[times >= cut]
        parts = [[self._examples(station, some) for some in (early, late)] for station in hours.values]
        x, prepared = scaled_together([(train[0], test[0]) for train, test in parts], partial(self.load, seed), agreed)
        known = np.concatenate([train[1] for train, _ in parts]).astype(np.float64)
        clients = {
            client: ClientData(*(Split(x[client][part], _by_name(own[part][1])) for part in (0, 1)))
            for client, own in enumerate(parts)
        }
        tasks = {
            name: Regression(float(np.nanmean(column)), float(np.nanstd(column)))
            for name, column in zip(POLLUTANTS, known.T, strict=True)
        }
        names = dict(enumerate(hours.stations))
        return Federation(tasks, (hours.values.shape[1],), clients, names, prepared=prepared)

    def _examples(
        self, station: NDArray[np.float32], times: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Inputs and labels of one station, without the hours that lack an input or all labels."""
        x, y = station[:, times].T, station[: len(POLLUTANTS), times + self.ahead].T
        good = ~np.isnan(x).any(1) & ~np.isnan(y).all(1)
        return x[good], y[good]


def _by_name(labels: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    return {name: np.ascontiguousarray(labels[:, place]) for place, name in enumerate(POLLUTANTS)}


def read() -> Hours:
    """All measurements.

    Raises:
        FileNotFoundError, ValueError: as ``find_file``.
    """
    with np.load(find_file(BeijingAir.source, "beijing_air/beijing_air.npz"), allow_pickle=False) as raw:
        values = raw["X"].astype(np.float32)
        values[values == MISSING] = np.nan
        values *= raw["scale"][:, None]
        return Hours(values, tuple(raw["stations"].tolist()), tuple(raw["variables"].tolist()))

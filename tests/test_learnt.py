"""What an algorithm finds out about its clients is a result: in the run folder, in the result, and as a picture."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from fedmtl.algorithms import FedPer
from fedmtl.algorithms.traits import Traits
from fedmtl.analysis.report import style, write_report
from fedmtl.core.context import Context
from fedmtl.core.types import ClientId, Params, Upload
from fedmtl.core.uploads import mean_upload
from fedmtl.data import Synthetic
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.result import Result
from tests import toys
from tests.pictures import FILES, undrawn


class Seen(NamedTuple):
    trunk: Params
    rounds: dict[str, Tensor]
    """str(client) -> how many rounds it took part in."""


@dataclass(frozen=True)
class Counting:
    """FedPer, whose server counts for each client in how many rounds it took part."""

    traits = Traits(register_clients=True, diagnostics=True)

    lr: float = 0.05

    def _base(self) -> FedPer:
        return FedPer(lr=self.lr, epochs=1)

    def init_server(self, params: Params, ctx: Context) -> Seen:
        return Seen(self._base().init_server(params, ctx), {})

    def register_clients(self, server: Seen, owned: Mapping[ClientId, Params]) -> Seen:
        return server._replace(rounds={str(client): torch.zeros(()) for client in owned})

    def init_client(self, params: Params, num_examples: int) -> Params:
        return self._base().init_client(params, num_examples)

    def broadcast(self, server: Seen, client: ClientId, ctx: Context) -> Any:
        return self._base().broadcast(server.trunk, client, ctx)

    def local_update(self, *arguments: Any) -> Any:
        return self._base().local_update(*arguments)

    def aggregate(self, server: Seen, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Seen:
        given = list(uploads)
        rounds = dict(server.rounds)
        for client, _ in given:
            rounds[str(client)] = rounds[str(client)] + 1
        return Seen(mean_upload(given, "trunk"), rounds)

    def personal_params(self, down: Any, private: Params) -> Params:
        return self._base().personal_params(down, private)

    def diagnostics(self, server: Seen) -> dict[str, Tensor]:
        counts = torch.stack([server.rounds[client] for client in sorted(server.rounds, key=int)])
        gaps = counts - counts[:, None]
        return {"rounds": counts, "gap of rounds": torch.where(gaps.isfinite() & (gaps != 0), gaps, torch.nan)}


def experiment(rounds: int = 5, **settings: Any) -> Experiment:
    data = Synthetic(clients=12, examples=6, test_examples=4, features=4, rank=2, classes=3)
    return toys.experiment(name="learnt", data=data, algorithm=Counting(), rounds=rounds, cohort=4, **settings)


def counted(result: Result) -> list[float]:
    """How many rounds each client trained in, from the ledger."""
    trained = [row["client"] for row in result.ledger if row["purpose"] == "train" and row["direction"] == "up"]
    return [float(trained.count(client)) for client in range(12)]


@pytest.mark.parametrize("runtime", ["InProcess", "Ray"])
def test_it_is_a_result(tmp_path: Path, runtime: str) -> None:
    """Of 5 rounds of 4 of 12 clients, some took part oftener; the file says null where there is no number."""
    result = run(experiment(runtime=runtime), tmp_path / "run")
    assert result.diagnostics["rounds"].tolist() == counted(result)
    assert result.diagnostics["rounds"].sum() == 20
    told = json.loads((tmp_path / "run" / "diagnostics.json").read_text())
    assert told["rounds"] == {"clients": list(range(12)), "values": counted(result)}
    gap = np.array(told["gap of rounds"]["values"], object)
    assert gap.shape == (12, 12) and all(gap[k, k] is None for k in range(12))


def test_a_server_of_every_client_survives_a_kill(tmp_path: Path) -> None:
    """State that enrol made is read back from the checkpoint: three rounds and two more are five."""
    whole = run(experiment())

    class Killed(Exception):
        pass

    def kill(progress: Any) -> None:
        if progress.round == 3:
            raise Killed

    with pytest.raises(Killed):
        run(experiment(), tmp_path / "run", on_round=kill)
    again = run(experiment(), tmp_path / "run", resume=True)
    assert again.summary["digests"] == whole.summary["digests"]
    np.testing.assert_array_equal(again.diagnostics["gap of rounds"], whole.diagnostics["gap of rounds"])
    finished = run(experiment(), tmp_path / "run", resume=True)
    np.testing.assert_array_equal(finished.diagnostics["rounds"], whole.diagnostics["rounds"])


def test_an_algorithm_that_finds_nothing_out(tmp_path: Path) -> None:
    result = run(Experiment(**{**vars(experiment(1)), "algorithm": FedPer()}), tmp_path / "run")
    assert result.diagnostics == {} and not (tmp_path / "run" / "diagnostics.json").exists()


def test_a_matrix_becomes_a_heat_map(tmp_path: Path) -> None:
    """Which is drawn alone of the report's pictures."""
    run(experiment(1), tmp_path / "run")

    def files_of(figure: Figure) -> dict[str, bytes]:
        return FILES | (style.files_of(figure, ["png"]) if any(axes.images for axes in figure.axes) else {})

    with undrawn(), patch("fedmtl.analysis.report.figure.files_of", files_of):
        files = [path.name for path in write_report([tmp_path / "run"], tmp_path / "out")]
    (picture,) = [file for file in files if file.startswith("diagnostics-") and file.endswith(".png")]
    assert picture.endswith("gap-of-rounds.png")
    assert (tmp_path / "out" / picture).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert f"({picture})" in (tmp_path / "out" / "report.md").read_text()

"""Callbacks see every row and change nothing; one that raises is switched off, and the run goes on."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from fedmtl.analysis.log import log_runs
from fedmtl.callbacks.base import MissingPackage, RunInfo
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import from_dict
from fedmtl.runs.presets import load_experiment
from tests.callbacks.tiny import TINY, Stop, experiment, stop_after


@dataclass
class Keep:
    """Keeps what it is given."""

    calls: list[tuple[str, Any]] = field(default_factory=list)

    def start(self, run: RunInfo) -> RunInfo:
        self.calls.append(("start", run))
        return run

    def rows(self, writer: RunInfo, table: str, rows: Sequence[dict[str, Any]]) -> None:
        self.calls.append((table, list(rows)))

    def end(self, writer: RunInfo, summary: Mapping[str, Any] | None) -> None:
        self.calls.append(("end", summary))

    def all(self, kind: str) -> list[Any]:
        return [row for name, rows in self.calls if name == kind for row in rows]


@dataclass(frozen=True)
class Raising:
    """Raises in one of its methods."""

    where: str
    keep: Keep = field(default_factory=Keep)

    def __getattribute__(self, name: str) -> Any:
        if name == object.__getattribute__(self, "where"):
            raise_it: Any = _raise
            return raise_it
        if name in ("start", "rows", "end"):
            return getattr(object.__getattribute__(self, "keep"), name)
        return object.__getattribute__(self, name)


def _raise(*arguments: Any) -> None:
    raise KeyError("no disk\nof mine")


@pytest.mark.parametrize("out", [True, False], ids=["folder", "memory"])
@pytest.mark.parametrize(
    "settings", [(), ("engine=vmap", "evaluate_every=2"), ("algorithm=Pooled",), ("valid_fraction=0.25",)]
)
def test_all_rows_once(tmp_path: Path, out: bool, settings: tuple[str, ...]) -> None:
    keep = Keep()
    result = run(experiment(*settings), tmp_path / "run" if out else None, callbacks=[keep])
    assert keep.all("rounds") == result.rows and keep.all("ledger") == result.ledger
    assert keep.all("measures") == result.measures and keep.all("confusion") == result.confusion
    names = [name for name, _ in keep.calls]
    assert (names[0], names[-1], names.count("start"), names.count("end")) == ("start", "end", 1, 1)
    assert keep.calls[-1][1] == result.summary
    assert keep.calls[0][1].folder == (tmp_path / "run" if out else None)


VALIDATING = "valid_fraction=0.25", "rounds=6", "patience=2"


@pytest.mark.parametrize(
    "settings",
    [(), ("evaluate_every=2",), VALIDATING, (*VALIDATING, "algorithm.lr=0.001"), ("valid_fraction=0.25", "rounds=1")],
)
def test_after_the_fact_as_live(tmp_path: Path, settings: tuple[str, ...]) -> None:
    """The same calls in the same order; with validation parts the last exchange tests the best round, 0 to the last."""
    live, later = Keep(), Keep()
    run(experiment(*settings), tmp_path / "run", callbacks=[live])
    assert list(log_runs([tmp_path / "run"], [later])) == [tmp_path / "run"]
    assert later.calls[1:-1] == live.calls[1:-1]
    assert later.calls[0][1].id == live.calls[0][1].id and later.calls[0][1].label == live.calls[0][1].label
    assert later.calls[-1][1]["digests"] == live.calls[-1][1]["digests"]


def test_a_stopped_run_is_closed_and_a_resumed_one_begins_with_its_first_row(tmp_path: Path) -> None:
    first, second, whole = Keep(), Keep(), Keep()
    with pytest.raises(Stop):
        run(experiment(), tmp_path / "run", on_round=stop_after(2), callbacks=[first])
    assert first.calls[-1] == ("end", None)
    result = run(experiment(), tmp_path / "run", resume=True, callbacks=[second])
    assert second.all("rounds") == result.rows and second.all("ledger") == result.ledger
    assert second.calls[0][1].id == first.calls[0][1].id
    run(experiment(), tmp_path / "run", resume=True, callbacks=[whole])  # of a finished run
    assert whole.calls[1:-1] == second.calls[1:-1] and whole.calls[-1][1]["digests"] == result.summary["digests"]


@pytest.mark.parametrize("where", ["start", "rows", "end"])
def test_one_that_raises_is_named_once(where: str, caplog: pytest.LogCaptureFixture) -> None:
    good, plain = Keep(), run(experiment())
    result = run(experiment(), callbacks=[Raising(where), good])
    assert result.summary["digests"] == plain.summary["digests"] and good.all("rounds") == result.rows
    messages = [record.message for record in caplog.records if "callback" in record.message]
    assert len(messages) == 1 and "raised KeyError: 'no disk\\nof mine'; it is switched off" in messages[0]


def test_no_result_and_no_resume_depends_on_callbacks(tmp_path: Path) -> None:
    plain = experiment()
    logged = replace(plain, callbacks=("CSV", Keep()))
    assert logged.result_settings == plain.result_settings
    assert logged.to_dict()["callbacks"] == [{"name": "CSV", "path": "", "others": True}]
    assert from_dict(logged.to_dict()).callbacks == logged.callbacks[:1]
    with pytest.raises(Stop):
        run(plain, tmp_path / "run", on_round=stop_after(1))
    assert run(logged, tmp_path / "run", resume=True).summary["digests"] == run(plain).summary["digests"]


def test_a_missing_package_is_one_line_before_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Callbacks that were started before it are closed."""
    keep = Keep()
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    with pytest.raises(MissingPackage, match=r"callback MLflow needs .* pip install 'fedmtl\[mlflow\]'"):
        run(experiment(), callbacks=[keep, "MLflow"])
    assert [name for name, _ in keep.calls] == ["start", "end"]


class Unpicklable(Keep):
    """One that holds an open file, say."""

    def __reduce__(self) -> Any:
        raise TypeError("cannot be pickled")


def test_ray_gets_no_callback() -> None:
    keep = Unpicklable()
    result = run(experiment("runtime=Ray(workers=1)", "rounds=1"), callbacks=[keep])
    assert keep.all("rounds") == result.rows


# By name


def preset(folder: Path, callbacks: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(f"callbacks = {callbacks}\n{TINY.read_text()}")
    return path


def test_a_preset_names_callbacks(tmp_path: Path) -> None:
    made = load_experiment(preset(tmp_path, '["CSV", { name = "TensorBoard", clients = false }]'))
    assert [repr(each) for each in made.callbacks] == [
        "CSV(path='', others=True)",
        "TensorBoard(logdir='', clients=False)",
    ]


@pytest.mark.parametrize("callback", ["\"CSV(path='/etc/x')\"", '{ name = "MLflow", uri = "http://elsewhere" }'])
def test_a_file_alone_sends_nothing_elsewhere(tmp_path: Path, callback: str) -> None:
    path = preset(tmp_path, f"[{callback}]")
    with pytest.raises(ValueError, match="leads out of the run's own folder, and a file alone may not; give the"):
        load_experiment(path)
    assert load_experiment(path, ["callbacks=[\"CSV(path='x.csv')\"]"]).callbacks[0].path == "x.csv"


def test_ones_own_callback_comes_from_an_allowed_module(tmp_path: Path) -> None:
    (tmp_path / "mine_of_callbacks.py").write_text(
        "class Mine:\n"
        "    def start(self, run): return open('seen.txt', 'w')\n"
        "    def rows(self, writer, table, rows): writer.write(f'{len(rows)}\\n')\n"
        "    def end(self, writer, summary): writer.close()\n"
    )
    own = ["callbacks=mine_of_callbacks:Mine"]
    with pytest.raises(ValueError, match="no module 'mine_of_callbacks' may be imported"):
        load_experiment(TINY, own)
    made = load_experiment(TINY, own, allow=[str(tmp_path / "mine_of_callbacks.py")])
    assert type(made.callbacks[0]).__name__ == "Mine"


def test_what_is_no_callback_is_refused() -> None:
    with pytest.raises(ValueError, match="A callback has the methods start, rows, end; got 3"):
        experiment("callbacks=[3]")
    with pytest.raises(ValueError, match="Unknown callback 'Tensorbored'; known: TensorBoard"):
        experiment("callbacks=Tensorbored")

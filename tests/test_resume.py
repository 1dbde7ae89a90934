"""Runs that are killed and go on: the same bits as a run that was left alone, and no other run's."""

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from fedmtl.algorithms import FedAvg, FedPer, FedRep, Local, MaTFL, Pooled
from fedmtl.client.state.base import LostState, StateError
from fedmtl.codecs import FP16, ErrorFeedback, Int8, TopK
from fedmtl.core.files import Folder
from fedmtl.core.trees import sha256
from fedmtl.engines import Loop
from fedmtl.models import MLP
from fedmtl.protocol.plan import Plan
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.progress import Progress
from fedmtl.runs.result import Result
from fedmtl.runtime import InProcess
from fedmtl.runtime.local import LocalGrid
from tests import toys
from tests.engines.remembered import remembered
from tests.toys import mixed

DATA = mixed(examples=12, ragged=True)
ROUNDS = 3

METHODS: dict[str, dict[str, Any]] = {
    "FedPer": {"algorithm": FedPer(lr=0.05, epochs=1)},
    "FedPer, Int8": {"algorithm": FedPer(lr=0.05, epochs=1), "up_codec": Int8(block=8), "engine": "loop"},
    "FedRep, ErrorFeedback": {"algorithm": FedRep(head_epochs=1), "up_codec": ErrorFeedback(TopK(0.25))},
    "FedPer, EF21": {"algorithm": FedPer(lr=0.05, epochs=1), "up_codec": "EF21(TopK(0.25))", "engine": "loop"},
    "FedAvg, changes down": {
        "algorithm": FedAvg(epochs=1),
        "down_codec": "TernGrad(8)",
        "valid_fraction": 0.2,
        "engine": "loop",
    },
    "MaTFL, Int8 down": {"algorithm": MaTFL(epochs=1), "down_codec": Int8(block=8), "engine": "loop"},
    "FedPer, chain": {
        "algorithm": FedPer(lr=0.05, epochs=1),
        "up_codec": ["ClipNorm(0.5)", "ServerGaussianNoise(0.01)", "GaussianNoise(0.01)", "ErrorFeedback(TopK(0.25))"],
    },
    "FedRep, layers": {
        "algorithm": FedRep(head_epochs=1),
        "up_codec": "PerLayer({'*weight': ErrorFeedback(TopK(0.25)), '*bias': ErrorFeedback(FP16)})",
        "engine": "loop",
    },
    "Pooled": {"algorithm": Pooled(epochs=1), "engine": "loop"},
    "Local": {"algorithm": Local(epochs=1), "engine": "loop"},
}
"""Private heads; randomness up; a memory in the codec; one on both sides; one on the server, for each set of tasks;
randomness down, and clients that share tensors; noise up and on the mean; two memories; gathered data; none."""


@pytest.fixture(autouse=True, scope="module")
def computed_once() -> Iterator[None]:
    """Clients' functions are pure: with engine loop, one that gets equal bits in another run is computed once. All else
    is made anew in each run, as it would be in another process."""
    make, memories = Experiment._make_plan, defaultdict[str, Any](dict)

    def with_memory(self: Experiment, schema: Any) -> Plan:
        plan, same = make(self, schema), repr((self.data, self.model, self.algorithm, self.seed, self.train_loss))
        return remembered(plan, memories[same]) if self.engine == Loop() else plan

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Experiment, "_make_plan", with_memory)
        yield


def experiment(**changes: Any) -> Experiment:
    values: dict[str, Any] = {
        "data": DATA,
        "algorithm": FedPer(lr=0.05, epochs=1),
        "rounds": ROUNDS,
        "cohort": 3,
        "batch_size": 3,  # the order of examples matters to all clients
        "evaluate_every": 2,
        "engine": "VMap",
    }
    return toys.experiment(**{**values, **changes})


class Killed(Exception):
    """Stands for the end of the process."""


def kill_after(round: int) -> Callable[[Progress], None]:
    def on_round(progress: Progress) -> None:
        if progress.round == round:
            raise Killed

    return on_round


def rows_but_seconds(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def summary_but_seconds(folder: Path) -> dict[str, Any]:
    summary = json.loads((folder / "summary.json").read_text())
    # Rows and summary have seconds, and a checksum over them.
    del summary["seconds"], summary["checksum"], summary["files"]["rounds.columns"]["checksum"]
    return summary


def private_states(folder: Path) -> dict[str, bytes]:
    return contents(folder / "checkpoint" / "clients")


def contents(folder: Path) -> dict[str, bytes]:
    """But for what is kept to run a last round again: it has other names in each process."""
    files = [path for path in folder.rglob("*") if path.is_file() and ".undo-" not in path.name]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def assert_same_run(one: tuple[Result, Path], other: tuple[Result, Path]) -> None:
    """Digests, every byte of the ledger, every private state, and rows and summary but for measured seconds."""
    (result, folder), (whole, whole_folder) = one, other
    assert result.summary["digests"] == whole.summary["digests"]
    assert sha256(result.state) == sha256(whole.state)
    assert (folder / "ledger.jsonl").read_bytes() == (whole_folder / "ledger.jsonl").read_bytes()
    assert rows_but_seconds(folder) == rows_but_seconds(whole_folder)
    assert summary_but_seconds(folder) == summary_but_seconds(whole_folder)
    assert private_states(folder) == private_states(whole_folder)
    central = "Pooled" in result.summary["algorithm"]
    assert any(name.endswith(".rows") for name in private_states(folder)) != central
    if (whole_folder / "model.safetensors").exists():
        assert (folder / "model.safetensors").read_bytes() == (whole_folder / "model.safetensors").read_bytes()
    assert contents(folder).keys() == contents(whole_folder).keys()


def copying(folder: Path, copies: Path) -> Callable[[Progress], None]:
    """Have a copy of a run's folder after each round, as the end of the process would leave it: nothing is tidied up.

    They are ``copies / "1"`` and so on, and ``copies / "test"`` after the test of the best round.
    """

    def on_round(progress: Progress) -> None:
        shutil.copytree(folder, copies / ("test" if progress.tests else f"{progress.round}"))

    return on_round


def after(folder: Path, round: int | str) -> Path:
    """The copy of an undisturbed run's folder after a round."""
    return folder.with_name(f"{folder.name}-after") / f"{round}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Result, Path]]:
    """Undisturbed runs, by method, with copies of their folders after each round."""
    done: dict[str, tuple[Result, Path]] = {}

    def get(method: str) -> tuple[Result, Path]:
        if method not in done:
            folder = tmp_path_factory.mktemp("whole") / "run"
            on_round = copying(folder, after(folder, 0).parent)
            done[method] = run(experiment(**METHODS[method]), folder, on_round=on_round), folder
        return done[method]

    return get


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was killed after its second round, to be copied."""
    folder = tmp_path_factory.mktemp("killed")
    with pytest.raises(Killed):
        run(experiment(), folder, on_round=kill_after(2))
    return folder


# Killed, and resumed


@pytest.mark.parametrize("round", [1, 2, 3, 4])
@pytest.mark.parametrize("method", ["FedPer, Int8", "FedRep, ErrorFeedback", "Pooled"])
def test_a_run_killed_after_any_round_ends_in_the_same_bits(
    method: str, round: int, tmp_path: Path, whole: Any
) -> None:
    """Round 4 is the last measurement: the run is killed after it, and before the summary is written. The folder is
    the undisturbed run's at that time."""
    undisturbed = whole(method)
    folder = Path(shutil.copytree(after(undisturbed[1], round), tmp_path / "run"))
    assert not (folder / "summary.json").exists()
    seen: list[int] = []
    result = run(
        experiment(**METHODS[method]), folder, resume=True, on_round=lambda progress: seen.append(progress.round)
    )
    assert seen == list(range(round + 1, ROUNDS + 2))  # nothing is run twice
    assert_same_run((result, folder), undisturbed)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_killed_after_every_round_ends_in_the_same_bits(method: str, tmp_path: Path, whole: Any) -> None:
    for round in range(1, ROUNDS + 2):
        with pytest.raises(Killed):
            run(experiment(**METHODS[method]), tmp_path, resume=True, on_round=kill_after(round))
    assert_same_run((run(experiment(**METHODS[method]), tmp_path, resume=True), tmp_path), whole(method))


At = Callable[[int], None]
"""Called with a number of exchanges, from 1."""


@contextmanager
def in_exchange(at: At) -> Iterator[None]:
    """The clients have done the round and kept their states; the server never receives it."""
    exchange, count = LocalGrid.send_and_receive, 0

    def after_it(grid: LocalGrid, messages: list[Message], *, timeout: float | None = None) -> list[Message]:
        nonlocal count
        replies = exchange(grid, messages, timeout=timeout)
        if all(message.metadata.message_type != "query" for message in messages):
            count += 1
            at(count)
        return replies

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalGrid, "send_and_receive", after_it)
        yield


@contextmanager
def before_checkpoint(at: At) -> Iterator[None]:
    """Rows and ledger have their new lines; the checkpoint still says that they end before."""
    write, count = Folder.write, 0

    def after_it(folder: Folder, name: str, data: bytes, **settings: Any) -> None:
        nonlocal count
        if name == "checkpoint/server.state":
            count += 1
            at(count)
        write(folder, name, data, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Folder, "write", after_it)
        yield


@contextmanager
def before_summary(at: At) -> Iterator[None]:
    """The model is written, the summary is not."""
    write = Folder.write

    def after_it(folder: Folder, name: str, data: bytes, **settings: Any) -> None:
        if name == "summary.json":
            at(ROUNDS + 1)
        write(folder, name, data, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Folder, "write", after_it)
        yield


def killing(round: int) -> At:
    def at(count: int) -> None:
        if count == round:
            raise Killed

    return at


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Copies of an undisturbed run's folder in the middle of its rounds, by method: ``in_exchange/1`` and so on."""
    done: dict[str, Path] = {}

    def get(method: str) -> Path:
        if method not in done:
            folder, found = (tmp_path_factory.mktemp("middle") / name for name in ("run", "copies"))
            with ExitStack() as stack:
                for when in (in_exchange, before_checkpoint):
                    stack.enter_context(when(partial(copy, folder, found / when.__name__)))
                run(experiment(**METHODS[method]), folder)
            done[method] = found
        return done[method]

    return get


def copy(folder: Path, copies: Path, count: int) -> None:
    shutil.copytree(folder, copies / f"{count}")


@pytest.mark.parametrize(
    ("when", "round"),
    [(in_exchange, t) for t in (1, 2, 3, 4)] + [(before_checkpoint, t) for t in (1, 2, 3, 4)] + [(before_summary, 4)],
    ids=lambda value: getattr(value, "__name__", value),
)
@pytest.mark.parametrize("method", ["FedRep, ErrorFeedback", "Pooled"])
def test_a_run_killed_in_the_middle_of_a_round_ends_in_the_same_bits(
    method: str, when: Any, round: int, tmp_path: Path, whole: Any, copies: Any
) -> None:
    """In the second round, and before the summary, the process raises; in the others it ends and tidies nothing up."""
    if round == 2 or when is before_summary:
        with when(killing(round)), pytest.raises(Killed):
            run(experiment(**METHODS[method]), tmp_path)
    else:
        shutil.copytree(copies(method) / when.__name__ / f"{round}", tmp_path, dirs_exist_ok=True)
    assert not (tmp_path / "summary.json").exists()
    result = run(experiment(**METHODS[method]), tmp_path, resume=True)
    assert_same_run((result, tmp_path), whole(method))


@pytest.mark.parametrize("junk", [b'{"round": 3, "client": 0, "task"', b"\0" * 100, b"\xff\xfe\n\n{}\n"])
def test_what_was_written_after_the_last_checkpoint_is_cut_off(
    junk: bytes, tmp_path: Path, whole: Any, killed: Path
) -> None:
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    for name in ("rounds.columns", "ledger.columns"):
        with open(tmp_path / name, "ab") as file:
            file.write(junk)
    assert_same_run((run(experiment(), tmp_path, resume=True), tmp_path), whole("FedPer"))


def test_a_state_folder_of_its_own_is_gone_on_from(tmp_path: Path, whole: Any) -> None:
    changes: dict[str, Any] = {**METHODS["FedPer, Int8"], "runtime": InProcess(str(tmp_path / "states"))}
    with pytest.raises(Killed):
        run(experiment(**changes), tmp_path / "run", on_round=kill_after(2))
    result = run(experiment(**changes), tmp_path / "run", resume=True)
    assert result.summary["digests"] == whole("FedPer, Int8")[0].summary["digests"]
    (folder,) = (tmp_path / "states").iterdir()  # one run, one folder
    run(experiment(**{**changes, "runtime": InProcess(str(tmp_path / "other"))}))
    (other,) = (tmp_path / "other").iterdir()
    assert contents(folder) == contents(other) and len(contents(folder)) >= 2 * 3  # a cohort's, two versions each
    assert private_states(tmp_path / "run") == {}


def test_runs_that_share_a_state_folder_do_not_share_states(tmp_path: Path, whole: Any) -> None:
    for _ in range(2):
        result = run(experiment(**METHODS["FedPer, Int8"], runtime=InProcess(str(tmp_path))))
        assert result.summary["digests"] == whole("FedPer, Int8")[0].summary["digests"]
    assert len(list(tmp_path.iterdir())) == 2


# Finished


@pytest.mark.parametrize("method", METHODS)
def test_a_finished_run_is_read_and_not_run_again(method: str, whole: Any) -> None:
    first, folder = whole(method)
    before = contents(folder)
    seen: list[Progress] = []
    again = run(experiment(**METHODS[method]), folder, resume=True, on_round=seen.append)
    assert seen == []
    assert again.summary == first.summary  # seconds too
    assert again.rows == first.rows and again.ledger == first.ledger
    assert sha256(again.state) == sha256(first.state)
    assert contents(folder) == before


# Whose folder it is


@pytest.mark.parametrize("finished", [True, False])
def test_a_folder_with_a_run_is_refused_without_resume_and_left_alone(finished: bool, begun: Path, whole: Any) -> None:
    folder = whole("FedPer")[1] if finished else begun
    before = contents(folder)
    with pytest.raises(ValueError) as error:
        run(experiment(), folder)
    assert str(error.value) == f"{str(folder)!r} holds a run; resume it (--resume), or give another folder (--out)."
    assert contents(folder) == before


def test_a_finished_run_whose_checkpoint_was_deleted_is_not_written_over(tmp_path: Path, whole: Any) -> None:
    """Checkpoints are what people delete to save space; rows and summary are what they keep."""
    shutil.copytree(whole("FedPer")[1], tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "checkpoint")
    kept = contents(tmp_path)
    with pytest.raises(ValueError, match="holds a run"):
        run(experiment(seed=1), tmp_path)
    assert contents(tmp_path) == kept


CHANGED: dict[str, Any] = {
    "data": mixed(clients=6, examples=12),
    "model": MLP((4,)),
    "algorithm": FedPer(lr=0.04, epochs=1),
    "up_codec": FP16(),
    "down_codec": FP16(),
    "rounds": 4,
    "cohort": 2,
    "batch_size": 5,
    "evaluate_every": 1,
    "seed": 1,
}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed after its first round."""
    folder = tmp_path_factory.mktemp("begun")
    with pytest.raises(Killed):
        run(experiment(), folder, on_round=kill_after(1))
    return folder


@pytest.mark.parametrize("key", CHANGED)
@pytest.mark.parametrize("finished", [True, False])
def test_another_experiment_is_refused_by_name_and_the_run_left_alone(
    key: str, finished: bool, begun: Path, whole: Any
) -> None:
    folder = whole("FedPer")[1] if finished else begun
    before = contents(folder)
    with pytest.raises(ValueError) as error:
        run(experiment(**{key: CHANGED[key]}), folder, resume=True)
    assert f"holds a run with {key} = " in str(error.value)
    assert "give another folder (--out) for another" in str(error.value)
    assert contents(folder) == before


def test_one_client_a_round_is_not_everybody_a_round(tmp_path: Path) -> None:
    """Python takes cohort 1 and 1.0 for equal; here they are one client and all of them."""
    with pytest.raises(Killed):
        run(experiment(cohort=1.0), tmp_path, on_round=kill_after(1))
    with pytest.raises(ValueError, match="holds a run with cohort = 1.0, got 1:"):
        run(experiment(cohort=1), tmp_path, resume=True)


def test_how_a_run_goes_on_may_change(tmp_path: Path, whole: Any) -> None:
    """Name, waiting and workers are no part of what is learnt; nor is the engine, but for rounding."""
    method = METHODS["FedPer, Int8"]
    with pytest.raises(Killed):
        run(experiment(**method), tmp_path, on_round=kill_after(2))
    other = experiment(**{**method, "name": "other", "runtime": "Ray(workers=7, wait_seconds=5)"})
    result = run(other, tmp_path, resume=True, in_process=True)
    assert result.summary["digests"] == whole("FedPer, Int8")[0].summary["digests"]
    assert result.summary["name"] == "other"


def test_resuming_where_nothing_is_begins(tmp_path: Path, whole: Any) -> None:
    result = run(experiment(), tmp_path / "new", resume=True)
    assert_same_run((result, tmp_path / "new"), whole("FedPer"))


def test_what_others_keep_in_the_folder_stays(tmp_path: Path) -> None:
    """``--out .`` in somebody's project, where a folder named checkpoint is nothing unusual."""
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "months_of_training.pt").write_bytes(b"precious")
    (tmp_path / "checkpoint" / "clients").mkdir()
    (tmp_path / "checkpoint" / "clients" / "contracts.pdf").write_bytes(b"signed")
    (tmp_path / "notes.txt").write_text("mine")
    try:
        run(experiment(rounds=1), tmp_path)
    except (ValueError, OSError):
        pass  # to refuse the folder is as good
    assert (tmp_path / "checkpoint" / "months_of_training.pt").read_bytes() == b"precious"
    assert (tmp_path / "checkpoint" / "clients" / "contracts.pdf").read_bytes() == b"signed"
    assert (tmp_path / "notes.txt").read_text() == "mine"


# Damage


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-5], lambda data: b"", lambda data: data[:-1] + bytes([data[-1] ^ 1])]
)
def test_a_damaged_checkpoint_of_the_server_is_one_clear_error(
    damage: Callable[[bytes], bytes], tmp_path: Path, killed: Path
) -> None:
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "checkpoint" / "server.state"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StateError, match=r"server.state'.*truncated or damaged.*Restore .*another folder \(--out\)"):
        run(experiment(), tmp_path, resume=True)


def test_a_damaged_state_of_a_client_is_refused_and_goes_on_where_that_is_allowed(tmp_path: Path) -> None:
    everybody = experiment(cohort=1.0)
    with pytest.raises(Killed):
        run(everybody, tmp_path, on_round=kill_after(2))
    damaged = []
    for path in (tmp_path / "checkpoint" / "clients").glob("*.versions"):
        versions = np.fromfile(path, np.int64)
        if versions[3] == 2:  # the file of client 3's set of tasks
            rows = np.memmap(path.with_suffix(".rows"), np.uint8, "r+").reshape(5, -1)
            rows[3, 0] ^= 1
            damaged.append(path)
    assert len(damaged) == 1
    with pytest.raises(LostState, match=r"\(3\) cannot be used: that of round 2 is damaged.*--restart-clients"):
        run(everybody, tmp_path, resume=True)
    result = run(everybody, tmp_path, resume=True, restart_clients=True)
    assert result.summary["rounds"] == ROUNDS and np.isfinite(result.summary["mean_score"])


def kept(folder: Path) -> dict[str, bytes]:
    """What a refused attempt must leave as it is: all but private states, and the note on the last attempt."""
    found = contents(folder)
    return {name: data for name, data in found.items() if "clients" not in name and name != "failure.json"}


@pytest.fixture(scope="module")
def of_all(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of runs of all clients that were killed after their second round, by method, to be copied."""
    done: dict[str, Path] = {}

    def get(method: str) -> Path:
        if method not in done:
            folder = tmp_path_factory.mktemp("all")
            with pytest.raises(Killed):
                run(experiment(**METHODS[method], cohort=1.0), folder, on_round=kill_after(2))
            done[method] = folder
        return done[method]

    return get


@pytest.mark.parametrize("how", ["clients deleted", "a file deleted", "another state_dir", "state_dir emptied"])
@pytest.mark.parametrize("method", ["FedPer", "FedRep, ErrorFeedback", "Local"])
def test_private_state_that_is_lost_is_refused_and_goes_on_where_that_is_allowed(
    method: str, how: str, tmp_path: Path, of_all: Any
) -> None:
    changes: dict[str, Any] = {**METHODS[method], "cohort": 1.0}
    if "state_dir" in how:
        changes["runtime"] = InProcess(str(tmp_path / "states"))
        with pytest.raises(Killed):
            run(experiment(**changes), tmp_path / "run", on_round=kill_after(2))
    else:
        shutil.copytree(of_all(method), tmp_path / "run")
    states = tmp_path / "run" / "checkpoint" / "clients"
    if how == "clients deleted":
        shutil.rmtree(states)
    elif how == "a file deleted":
        sorted(states.glob("*.versions"))[0].unlink()
    elif how == "another state_dir":
        changes["runtime"] = InProcess(str(tmp_path / "mistyped"))
    else:
        shutil.rmtree(tmp_path / "states")
    before = kept(tmp_path / "run")
    with pytest.raises(LostState, match="cannot be used: .*no state since then is in .*--restart-clients") as error:
        run(experiment(**changes), tmp_path / "run", resume=True)
    assert "\n" not in str(error.value)
    assert kept(tmp_path / "run") == before
    assert "--restart-clients" in json.loads((tmp_path / "run" / "failure.json").read_text())["reason"]
    result = run(experiment(**changes), tmp_path / "run", resume=True, restart_clients=True)
    assert result.summary["rounds"] == ROUNDS and np.isfinite(result.summary["mean_score"])


def test_a_method_without_private_state_needs_none(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"algorithm": FedAvg(epochs=1)}
    with pytest.raises(Killed):
        run(experiment(**changes), tmp_path, on_round=kill_after(2))
    shutil.rmtree(tmp_path / "checkpoint" / "clients")
    result = run(experiment(**changes), tmp_path, resume=True)
    assert result.summary["digests"] == run(experiment(**changes)).summary["digests"]


def test_lost_lines_are_noticed(tmp_path: Path, killed: Path) -> None:
    """A file that is shorter than the checkpoint says has lost something; it is not made up for with zeros."""
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    os.truncate(tmp_path / "ledger.columns", (tmp_path / "ledger.columns").stat().st_size - 10)
    with pytest.raises(ValueError, match="ledger.columns"):
        run(experiment(), tmp_path, resume=True)


@pytest.mark.parametrize("name", ["rounds.columns", "ledger.columns"])
def test_a_flipped_byte_is_noticed_on_resume(name: str, tmp_path: Path, killed: Path) -> None:
    """Anywhere in the file: at its begin, in the middle, at its end."""
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    data = (tmp_path / name).read_bytes()
    for place in (0, 9, 20, len(data) // 2, len(data) - 1):
        (tmp_path / name).write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(ValueError, match=rf"{name}, block \d+ at byte \d+.*damaged"):
            run(experiment(), tmp_path, resume=True)
    (tmp_path / name).write_bytes(data)
    run(experiment(), tmp_path, resume=True)


def test_the_tables_of_another_run_are_not_gone_on_from(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        with pytest.raises(Killed):
            run(experiment(seed=seed), tmp_path / name, on_round=kill_after(2))
    data = (tmp_path / "b" / "ledger.columns").read_bytes()
    (tmp_path / "a" / "ledger.columns").write_bytes(data + bytes(10_000))
    with pytest.raises(ValueError, match="ledger.columns"):
        run(experiment(), tmp_path / "a", resume=True)

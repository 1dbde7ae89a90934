"""What is a run, what is not, and what is left of one that was killed."""

from pathlib import Path

import pytest
import tomli_w

from fedmtl.analysis import find_runs, read_run
from fedmtl.runs.experiment import Experiment
from tests.analysis.run_folders import write_run

FEDPER = {"name": "FedPer", "lr": 0.1}
SCORES = {"digit": [0.1, 0.5]}


def small_run(folder: Path, summary: bool = True) -> Path:
    """One client, measured once: two blocks of metrics and one of the ledger, whose every byte is tried."""
    return write_run(folder, FEDPER, {"digit": [0.5]}, clients=[0], evaluate=7, summary=summary)


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a", FEDPER, SCORES, seed=3, up=5))
    assert run.seed == 3
    assert run.experiment["algorithm"] == FEDPER
    assert run.rows[0]["value"] == 0.1
    assert [t["packet_bytes"] for t in run.transfers if t["direction"] == "up" and t["purpose"] == "train"] == [5, 5]
    assert run.summary["label"] == "FedPer(lr=0.1) / Dense()"


@pytest.mark.parametrize("file", ["rounds.columns", "ledger.columns"])
def test_a_last_block_that_was_cut_is_left_out_and_no_other(tmp_path: Path, file: str) -> None:
    """Cut anywhere, what is left of the file's only or last block is no error, and everything before it is read."""
    folder = small_run(tmp_path / "a", summary=False)
    data, whole = (folder / file).read_bytes(), read_run(folder)
    for cut in range(1, len(data)):
        (folder / file).write_bytes(data[:cut])
        left = read_run(folder)
        rows, all_rows = (left.rows, whole.rows) if file == "rounds.columns" else (left.transfers, whole.transfers)
        assert rows == all_rows[: len(rows)] and len(rows) < len(all_rows)


@pytest.mark.parametrize("file", ["rounds.columns", "ledger.columns"])
def test_every_flipped_byte_is_an_error_that_names_the_file(tmp_path: Path, file: str) -> None:
    folder = small_run(tmp_path / "a")
    data = (folder / file).read_bytes()
    for place in range(len(data)):
        for flip in (1, 0x80):
            (folder / file).write_bytes(data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :])
            with pytest.raises(ValueError, match=rf"{file}, block \d+ .*(damaged|cut).*begin anew"):
                read_run(folder)


def test_a_run_of_an_earlier_fedmtl_is_told_from_no_run(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", FEDPER, SCORES)
    for name in ("rounds", "ledger"):
        (folder / f"{name}.columns").rename(folder / f"{name}.jsonl")
    with pytest.raises(FileNotFoundError, match="a run of an earlier fedmtl"):
        read_run(folder)


def test_a_folder_that_is_no_run_is_an_error_that_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"experiment\.toml, rounds\.columns, ledger\.columns missing.*fedmtl run"
    ):
        read_run(tmp_path)
    folder = write_run(tmp_path / "a", FEDPER, SCORES)
    (folder / "ledger.columns").unlink()
    with pytest.raises(FileNotFoundError, match=r"not a run: ledger\.columns missing"):
        read_run(folder)


def test_an_experiment_that_is_broken_or_not_resolved_is_an_error(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", FEDPER, SCORES)
    (folder / "experiment.toml").write_text('seed = 0\nrounds = 1\n[data]\nname = "Toy"\n')
    with pytest.raises(ValueError, match="lacks algorithm, up_codec, down_codec"):
        read_run(folder)
    (folder / "experiment.toml").write_text("seed = ")
    with pytest.raises(ValueError, match="is not TOML"):
        read_run(folder)


@pytest.mark.parametrize("up_codec", ["Dense", "ErrorFeedback(codec=TopK(keep=0.05))"])
def test_a_killed_run_is_labelled_as_its_summary_would_have_been(tmp_path: Path, up_codec: str) -> None:
    experiment = Experiment(algorithm="FedPer(lr=0.05)", up_codec=up_codec)
    folder = write_run(tmp_path / "a", FEDPER, SCORES, summary=False)
    (folder / "experiment.toml").write_text(tomli_w.dumps(experiment.to_dict()))
    summary = read_run(folder).summary
    assert summary["label"] == experiment.label
    assert summary["up_codec"] == repr(experiment.up_codec)


def test_runs_are_found_at_any_depth_once_and_in_order(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / name, FEDPER, SCORES) for name in ("b", "a/deep/down", "a/x")]
    (tmp_path / "a" / "notes").mkdir()
    (tmp_path / "a" / "notes" / "experiment.toml").write_text("")
    assert find_runs([tmp_path]) == sorted(paths)
    assert find_runs([paths[0], tmp_path / "a", tmp_path / "a" / ".." / "b"]) == sorted(paths)


def test_a_folder_without_a_run_is_an_error_even_beside_one_that_has(tmp_path: Path) -> None:
    write_run(tmp_path / "a", FEDPER, SCORES)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"No run in .*empty.*fedmtl run"):
        find_runs([tmp_path / "a", tmp_path / "empty"])
    with pytest.raises(FileNotFoundError, match=r"nowhere is not a folder"):
        find_runs([tmp_path / "nowhere"])

"""Whose files are in a folder: those of the user stay as they are, links in a stranger's run folder too."""

import errno
import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fedmtl.analysis.read import read_run
from fedmtl.analysis.report import write_report
from fedmtl.export.shrink import shrink
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.progress import Progress
from fedmtl.runs.run_folder import MANIFEST, claim, read_manifest, write_manifest, write_outputs
from fedmtl.runtime import InProcess
from tests.forks import run as run_process


def experiment(**changes: object) -> Experiment:
    values = {"data": "synthetic(clients=4,examples=6,tasks=2,rank=2)", "rounds": 3, "runtime": "InProcess"}
    values |= {"model": "MLP(hidden=(3,))", "algorithm": "FedPer(epochs=1)"}
    return Experiment(**{**values, **changes})  # pyright: ignore[reportArgumentType]


class Killed(Exception):
    """Stands for the end of the process."""


def kill(progress: Progress) -> None:
    raise Killed


def begun(folder: Path, **changes: object) -> Path:
    """A run that ended after its first round, in an empty folder. The one without changes is run once, and copied."""
    if not changes and _BEGUN:
        for name, data in _BEGUN.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return folder
    with pytest.raises(Killed):
        run(experiment(**changes), folder, on_round=kill)
    if not changes:
        _BEGUN.update(
            {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        )
    return folder


_BEGUN: dict[str, bytes] = {}
"""Name -> content of each file."""


def contents(folder: Path) -> dict[str, bytes | str]:
    """Every file, and where every link leads."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


# Folders that are no run's


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize(
    "name",
    ["notes.txt", "rounds.jsonl", "summary.json", "checkpoint/server.state", "checkpoint/clients/1/a", ".hidden"],
)
def test_a_folder_with_files_of_the_users_own_is_refused_and_stays(name: str, resume: bool, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError) as error:
        run(experiment(), tmp_path, resume=resume)
    assert repr(name.split("/")[0]) in str(error.value) and repr(str(tmp_path)) in str(error.value)
    assert "--out" in str(error.value)
    assert contents(tmp_path) == {name: b"mine"} and (tmp_path / name).read_text() == "mine"


def test_a_run_of_an_earlier_version_is_named_as_such(tmp_path: Path) -> None:
    run(experiment(), tmp_path)
    (tmp_path / MANIFEST).unlink()
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="a run of an earlier fedmtl: finish it with that version"):
        run(experiment(), tmp_path, resume=True)
    assert contents(tmp_path) == before


def without_checkpoint(folder: Path) -> None:
    """The folder of a run that was killed before its first round was saved."""
    (folder / "checkpoint" / "server.state").unlink()
    manifest = read_manifest(folder)
    assert manifest is not None and manifest.begun
    write_manifest(folder, replace(manifest, begun=False))


def test_a_checkpoint_that_is_gone_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """It began anew in silence, over the rows and private states of the rounds that were done."""
    begun(tmp_path)
    (tmp_path / "checkpoint" / "server.state").unlink()
    before = contents(tmp_path)
    for resume in (True, False):
        with pytest.raises(ValueError, match=r"server.state' is gone.*restore the file, .*another folder \(--out\)"):
            run(experiment(), tmp_path, resume=resume)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "change", [lambda text: text[:-9], lambda text: text.replace("summary", "thesis"), lambda _: "[]"]
)
def test_a_damaged_manifest_is_refused(change: Callable[[str], str], tmp_path: Path) -> None:
    begun(tmp_path)
    (tmp_path / MANIFEST).write_text(change((tmp_path / MANIFEST).read_text()))
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=f"{MANIFEST}' is damaged"):
        run(experiment(), tmp_path, resume=True)
    assert contents(tmp_path) == before


def test_files_of_the_users_own_beside_those_of_a_run_stay(tmp_path: Path) -> None:
    """They came while it ran; states and packets that have other names than fedmtl's too."""
    begun(tmp_path)
    without_checkpoint(tmp_path)  # so that it begins anew and tidies up
    mine = {"notes.txt", "checkpoint/best.pt", "checkpoint/clients/3/contract.pdf", "checkpoint/clients/a.rows"}
    for name in mine:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    run(experiment(), tmp_path)
    assert all((tmp_path / name).read_text() == "mine" for name in mine)


def test_a_folder_with_nothing_but_a_cut_off_start_is_begun_in(tmp_path: Path) -> None:
    (tmp_path / "fedmtl.lock").write_text("")
    (tmp_path / f".{MANIFEST}.tmp-{'0' * 32}").write_text("{")
    run(experiment(), tmp_path)
    assert f".{MANIFEST}.tmp-{'0' * 32}" not in contents(tmp_path)


def test_what_a_cut_off_write_left_is_tidied_up_on_resume(tmp_path: Path) -> None:
    begun(tmp_path)
    ours = {f".summary.json.tmp-{'1' * 32}", f"checkpoint/.server.state.tmp-{'2' * 32}"}
    mine = {f".thesis.tmp-{'1' * 32}", ".summary.json.tmp-backup"}
    for name in ours | mine:
        (tmp_path / name).write_text("half")
    run(experiment(), tmp_path, resume=True)
    assert mine <= contents(tmp_path).keys() and not ours & contents(tmp_path).keys()


# Outputs, in any folder


def test_a_report_replaces_its_own_files_and_no_other(tmp_path: Path, no_pictures: None) -> None:
    run(experiment(), tmp_path / "run")
    for _ in range(2):
        write_report([tmp_path / "run"], tmp_path / "run")
    assert "report.md" in contents(tmp_path / "run") and run(experiment(), tmp_path / "run", resume=True)
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper" / "table.csv").write_text("mine")
    with pytest.raises(ValueError, match="table.csv' is no file of fedmtl's, and is not replaced"):
        write_report([tmp_path / "run"], tmp_path / "paper")
    assert contents(tmp_path / "paper") == {"table.csv": b"mine"}


def test_shrunk_models_replace_their_own_files_and_no_other(tmp_path: Path) -> None:
    run(experiment(), tmp_path / "run")
    for _ in range(2):
        shrink(tmp_path / "run", export=tmp_path / "export")
    assert len(contents(tmp_path / "export")) > 4
    (tmp_path / "mine" / "0").mkdir(parents=True)
    name = next(name for name in contents(tmp_path / "export") if name.endswith(".small"))
    (tmp_path / "mine" / "0" / Path(name).name).write_text("mine")
    with pytest.raises(ValueError, match="no file of fedmtl's"):
        shrink(tmp_path / "run", export=tmp_path / "mine")
    assert list(contents(tmp_path / "mine").values()) == [b"mine"]


@pytest.mark.parametrize("name", ["report.md", "size.csv"])
def test_outputs_do_not_follow_links(name: str, tmp_path: Path) -> None:
    (tmp_path / "thesis").write_text("precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to(tmp_path / "thesis")
    with pytest.raises(ValueError, match="no file of fedmtl's"):
        write_outputs(tmp_path / "out", {name: b"ours"})
    assert (tmp_path / "thesis").read_text() == "precious"


def test_claims_add_up(tmp_path: Path) -> None:
    claim(tmp_path, ["a", "b"])
    claim(tmp_path, ["b", "c"])
    manifest = read_manifest(tmp_path)
    assert manifest is not None and manifest.files == ("a", "b", "c") and not manifest.run


# Links in a stranger's run folder


NAMES = ["rounds.columns", "ledger.columns", "experiment.toml", "fedmtl.manifest", "checkpoint/server.state"]
NAMES += ["checkpoint/run", "checkpoint/clients/ROWS", "checkpoint/clients/VERSIONS", "checkpoint/clients/UNDO"]


def resolve(folder: Path, name: str) -> Path:
    """The file of a name; private states have names of their own."""
    kinds = {"ROWS": "*.rows", "VERSIONS": "*.versions", "UNDO": "*.undo-*"}
    last = name.rpartition("/")[2]
    return sorted((folder / name).parent.glob(kinds[last]))[0] if last in kinds else folder / name


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_resuming_writes_through_no_link(name: str, hard: bool, tmp_path: Path) -> None:
    path = resolve(begun(tmp_path / "run"), name)
    victim = tmp_path / "thesis.tex"
    shutil.copy(path, victim)  # the right bytes, so that nothing else is wrong with it
    with open(victim, "ab") as file:
        file.write(b"" if "clients" in name else b"\n" * 10_000)
    precious = victim.read_bytes()
    path.unlink()
    if hard:
        path.hardlink_to(victim)
    else:
        path.symlink_to(victim)
    try:
        run(experiment(), tmp_path / "run", resume=True)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert hard  # a file with two names may be read, or replaced by a new one
    assert victim.read_bytes() == precious


@pytest.mark.parametrize("name", ["checkpoint", "checkpoint/clients"])
@pytest.mark.parametrize("begin_anew", [True, False])
def test_folders_that_are_links_are_not_entered(name: str, begin_anew: bool, tmp_path: Path) -> None:
    begun(tmp_path / "run")
    if begin_anew:
        without_checkpoint(tmp_path / "run")
    shutil.move(tmp_path / "run" / name, tmp_path / "elsewhere")
    (tmp_path / "run" / name).symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    before = contents(tmp_path / "elsewhere")
    for resume in (True, False):
        with pytest.raises(ValueError, match="link"):
            run(experiment(), tmp_path / "run", resume=resume)
    assert contents(tmp_path / "elsewhere") == before


# Checkpoints with other words than fedmtl's


@pytest.mark.parametrize("word", ["", "not it\n", "../../escaped", "/etc", "a" * 31, "A" * 32, "a" * 10_000])
def test_a_run_is_named_by_32_digits_and_letters(word: str, tmp_path: Path) -> None:
    states = tmp_path / "deep" / "er" / "states"
    begun(tmp_path / "run", runtime=InProcess(str(states)))
    (tmp_path / "run" / "checkpoint" / "run").write_text(word)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="holds the run's name, 32 digits") as error:
        run(experiment(runtime=InProcess(str(states))), tmp_path / "run", resume=True)
    assert len(str(error.value)) < 500 and contents(tmp_path) == before


@pytest.mark.parametrize("text", ["", "not = it = \n", "\xff", "name = 'x'\n"])
def test_a_damaged_experiment_is_one_line(text: str, tmp_path: Path) -> None:
    begun(tmp_path)
    (tmp_path / "experiment.toml").write_text(text, encoding="latin1")
    with pytest.raises(ValueError) as error:
        run(experiment(), tmp_path, resume=True)
    assert "\n" not in str(error.value) and "--out" in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000])
def test_a_damaged_summary_is_named_and_the_way_out_holds(text: str, tmp_path: Path) -> None:
    first = run(experiment(), tmp_path)
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(ValueError, match="summary.json' is damaged.*delete it"):
        run(experiment(), tmp_path, resume=True)
    (tmp_path / "summary.json").unlink()
    assert run(experiment(), tmp_path, resume=True).summary["digests"] == first.summary["digests"]
    assert json.loads((tmp_path / "summary.json").read_text())["digests"] == first.summary["digests"]


def test_a_changed_character_of_a_summary_is_noticed(tmp_path: Path) -> None:
    """Digits are other digits: what stays valid JSON says something else of a finished run, unless its checksum is
    looked at. Another format is another release's, which is said before the checksum is looked at."""
    first = run(experiment(), tmp_path)
    text = (tmp_path / "summary.json").read_text()
    assert run(experiment(), tmp_path, resume=True).summary == first.summary
    places = [place for place, character in enumerate(text) if character.isdigit()]
    for place in places[:: max(1, len(places) // 40)]:
        changed = text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]
        if json.loads(changed) == json.loads(text):
            continue  # the last digit of measured seconds: the same number in float64
        (tmp_path / "summary.json").write_text(changed)
        message = "is damaged" if json.loads(changed)["format"] == json.loads(text)["format"] else "has format"
        with pytest.raises(ValueError, match=f"summary.json'? {message}"):
            run(experiment(), tmp_path, resume=True)
        with pytest.raises(ValueError, match=f"summary.json {message}"):
            read_run(tmp_path)


def lying(folder: Path, **changes: object) -> None:
    """A checkpoint with a right checksum and other words; it begins with magic, the note's length, schema, the note."""
    path = folder / "checkpoint" / "server.state"
    data = path.read_bytes()
    length = struct.unpack_from("<4sI8s", data)[1]
    note = json.loads(data[16 : 16 + length]) | changes
    text = json.dumps({key: value for key, value in note.items() if value is not GONE}).encode()
    data = struct.pack("<4sI8s", b"fmst", len(text), data[8:16]) + text + data[16 + length : -4]
    path.write_bytes(data + struct.pack("<I", zlib.crc32(data)))


GONE = object()


@pytest.mark.parametrize(
    "changes",
    [
        *[{"round": value} for value in (10**6, -5, 1.5, "2", None, GONE, True)],
        *[{key: GONE} for key in ("seconds", "marks", "ledger", "message_bytes", "trained", "rows_digest", "score")],
        {"marks": {}},
        {"marks": {"../../../evil": [0, 0, "00"], "rounds": [0, 0, "00"]}},
        {"marks": {"rounds": [-1, 0, "00"], "ledger": [0, 0, "00"]}},
        {"marks": {"rounds": [0, 0, "zz"], "ledger": [0, 0, "00"]}},
        {"marks": 7},
        {"seconds": {"train": "long"}},
        {"message_bytes": {"up": -1, "down": 0}},
        {"trained": "?"},
        {"trained": 5},
        {"ledger": []},
    ],
    ids=lambda words: str(words).replace(str(GONE), "gone"),  # an object prints its address
)
def test_a_checkpoint_that_says_what_no_run_writes_is_one_line(changes: dict[str, object], tmp_path: Path) -> None:
    lying(begun(tmp_path / "run"), **changes)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"server.state' says what no run writes .*--out") as error:
        run(experiment(), tmp_path / "run", resume=True)
    assert "\n" not in str(error.value) and len(str(error.value)) < 600
    assert contents(tmp_path) == before


# A disk that is full


def test_a_full_disk_is_one_line_and_the_run_goes_on_to_the_same_digests(tmp_path: Path) -> None:
    """A limit on the length of files stands for it: writes fail beyond it as they do where no space is left."""
    code = (
        "import resource, sys\n"
        "sys.path.insert(0, {root!r})\n"
        "from tests.runs.test_run_folder import experiment, run\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, -1))\n"
        "try:\n"
        "    run(experiment(rounds=8), {out!r}, resume=True)\n"
        "except OSError as error:\n"
        "    assert '\\n' not in str(error) and 'too large' in str(error) and {out!r} in str(error), error\n"
        "    assert 'all that was saved before is whole' in str(error) or 'cannot be written' in str(error), error\n"
        "    sys.exit(5)\n"
    )
    ended = set()
    for limit in (200, 700, 1500, 2500, 4000, 10**6):
        names = {"root": str(Path(__file__).parents[2]), "out": str(tmp_path / "run"), "limit": limit}
        done = run_process(code=code.format(**names))
        assert done.returncode in (0, 5), done.stderr
        ended.add(done.returncode)
    assert ended == {0, 5}
    whole = run(experiment(rounds=8)).summary["digests"]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["digests"] == whole


def test_space_that_cannot_be_had_is_an_error_before_a_page_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mapped page without space behind it ends the process with SIGBUS, in Ray's workers too."""
    begun(tmp_path / "run")

    def full(descriptor: int, start: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(
            OSError, match=r"No space left on device: .*checkpoint/clients/.*; all that was saved"
        ) as error:
            run(experiment(), tmp_path / "run", resume=True)
    assert error.value.errno == errno.ENOSPC
    result = run(experiment(), tmp_path / "run", resume=True)
    assert result.summary["digests"] == run(experiment()).summary["digests"]

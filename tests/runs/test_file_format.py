"""The version of a run's files: in each of them, and one clear error for the files of another release."""

import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from xxhash import xxh3_128_hexdigest, xxh32_intdigest

from fedmtl import Experiment, run
from fedmtl.analysis.read import read_run
from fedmtl.analysis.sizes import read_markdown
from fedmtl.core.file_format import FORMAT, OtherFormat, check_format
from fedmtl.core.trees import sha256
from fedmtl.data.synthetic import Synthetic


def experiment() -> Experiment:
    return Experiment(name="tiny", data=Synthetic(clients=4), algorithm="Ditto", rounds=2, runtime="InProcess")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which each test has a copy."""
    out = tmp_path_factory.mktemp("whole") / "run"
    run(experiment(), out)
    return out


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "run")


def state(path: Path) -> tuple[bytes, dict[str, object], bytes]:
    """Head, note and the rest of a checkpoint."""
    data = path.read_bytes()
    length = struct.unpack_from("<4sI8s", data)[1]
    return data[:16], json.loads(data[16 : 16 + length]), data[16 + length : -4]


def test_each_file_has_it(folder: Path) -> None:
    for name in ("rounds", "ledger"):
        assert (folder / f"{name}.columns").read_bytes()[:4] == b"fmb%d" % FORMAT
        assert {json.loads(line)["format"] for line in (folder / f"{name}.jsonl").open()} == {FORMAT}
    for name in ("summary.json", "fedmtl.manifest"):
        assert json.loads((folder / name).read_text())["format"] == FORMAT
    assert state(folder / "checkpoint" / "server.state")[1]["format"] == FORMAT


def old_summary(folder: Path) -> None:
    """As the first release wrote it: without a number, its checksum right."""
    content = json.loads((folder / "summary.json").read_text())
    del content["checksum"], content["format"]
    check = xxh3_128_hexdigest(json.dumps(content, sort_keys=True).encode())
    (folder / "summary.json").write_text(json.dumps({**content, "checksum": check}))


@pytest.mark.parametrize("version", [1, 3])
def test_a_summary_of_another_version_is_not_damaged(folder: Path, version: int) -> None:
    """Its checksum may be of another kind, so the version is read first."""
    text = (folder / "summary.json").read_text()
    (folder / "summary.json").write_text(text.replace('"format": 2', f'"format": {version}'))
    with pytest.raises(OtherFormat, match=f"has format {version}, and this release of fedmtl reads format 2: read it"):
        read_run(folder)
    with pytest.raises(OtherFormat, match=f"summary.json has format {version}"):
        run(experiment(), folder, resume=True)


def old_table(folder: Path) -> None:
    path = folder / "ledger.columns"
    data = path.read_bytes()
    lengths = b"fmb1" + data[4:12]
    path.write_bytes(lengths + struct.pack("<I", xxh32_intdigest(lengths)) + data[16:])


def old_manifest(folder: Path) -> None:
    values = json.loads((folder / "fedmtl.manifest").read_text()) | {"format": 1}
    del values["check"]
    check = zlib.crc32(json.dumps(values, sort_keys=True).encode())
    (folder / "fedmtl.manifest").write_text(json.dumps({**values, "check": check}))


def old_checkpoint(folder: Path) -> None:
    path = folder / "checkpoint" / "server.state"
    head, note, rest = state(path)
    del note["format"]
    text = json.dumps(note).encode()
    data = struct.pack("<4sI8s", b"fmst", len(text), head[8:16]) + text + rest
    path.write_bytes(data + struct.pack("<I", zlib.crc32(data)))
    (folder / "summary.json").unlink()


@pytest.mark.parametrize("change", [old_summary, old_table])
def test_an_old_file_is_not_reported(folder: Path, change: Callable[[Path], None]) -> None:
    change(folder)
    with pytest.raises(
        OtherFormat, match=r"has format 1, .* reads format 2: read it with the release .*--out"
    ) as error:
        read_run(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("change", [old_summary, old_manifest, old_checkpoint])
def test_an_old_run_is_not_resumed(folder: Path, change: Callable[[Path], None]) -> None:
    change(folder)
    with pytest.raises(OtherFormat, match=r"has format 1, .* reads format 2: read it with the release .*--out"):
        run(experiment(), folder, resume=True)


@pytest.mark.parametrize("found", [1, 3, "2", None, True, 10**40])
def test_another_version_is_refused_in_one_short_line(found: object) -> None:
    with pytest.raises(OtherFormat, match="a.json has format") as error:
        check_format("a.json", found)
    assert len(str(error.value)) < 250


@pytest.mark.parametrize("found", ['{"formats": {"int8": {}}}', '{"format": 3, "formats": {"int8": {}}}'])
def test_sizes_of_another_release_are_not_reported(tmp_path: Path, found: str) -> None:
    """Without a number, as the first release wrote them, and of a later one."""
    (tmp_path / "size.json").write_text(found)
    with pytest.raises(OtherFormat, match=r"size.json has format [13], .* reads format 2: shrink again") as error:
        read_markdown(tmp_path / "size.json")
    assert "\n" not in str(error.value)


def test_server_state_is_hashed_whole() -> None:
    """Ditto's server state is its trunk alone; FedAvgM's holds a momentum too, which the digest depends on."""
    for algorithm in ("Ditto", "FedAvgM"):
        result = run(Experiment(data=Synthetic(clients=4), algorithm=algorithm, rounds=2, runtime="InProcess"))
        assert result.summary["digests"]["server_state"] == sha256(result.state)
    assert sha256(result.state) != sha256(result.state[0])

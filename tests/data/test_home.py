"""The data home: a file is there with the right bytes, or the error says which file, which command, and whence."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from fedmtl.core.files import cache_folder
from fedmtl.data.home import data_home, find_file, is_there
from fedmtl.data.source import DataFile
from fedmtl.registry.components import REGISTRY, find
from tests.data.homes import needs, small_source

CONTENT = b"some bytes of a data set"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEDMTL_DATA", str(tmp_path))
    return tmp_path


def put(home: Path, content: bytes) -> Path:
    (home / "small").mkdir(exist_ok=True)
    (home / "small" / "small.bin").write_bytes(content)
    return home / "small" / "small.bin"


def test_the_home_is_named_or_in_the_cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data_home() == home
    monkeypatch.delenv("FEDMTL_DATA")
    assert data_home() == cache_folder() / "data"
    monkeypatch.setenv("FEDMTL_DATA", "")
    assert data_home() == cache_folder() / "data"


def test_a_right_file_is_found(home: Path) -> None:
    source = small_source(CONTENT)
    assert not is_there(source)
    place = put(home, CONTENT)
    assert find_file(source, "small/small.bin") == place
    assert is_there(source)


@pytest.mark.parametrize(
    ("address", "get"), [("", "says how to place it"), ("https://example.org/f", "fetch small`, ")]
)
def test_an_absent_file(home: Path, address: str, get: str) -> None:
    with pytest.raises(FileNotFoundError, match="needs small/small.bin") as error:
        find_file(small_source(CONTENT, address), "small/small.bin")
    text = str(error.value)
    for part in ("Data set small", str(home / "small/small.bin"), "`fedmtl data fetch small`", "FEDMTL_DATA", get):
        assert part in text
    assert "https://example.org/small" in text and "\n" not in text


def test_a_changed_file_is_seen_though_it_was_right_before(home: Path) -> None:
    source = small_source(CONTENT)
    put(home, CONTENT)
    find_file(source, "small/small.bin")
    other = CONTENT[::-1]
    path = put(home, other)
    wanted = rf"another file than data set small reads: its SHA-256 is {hashlib.sha256(other).hexdigest()}, expected "
    with pytest.raises(ValueError, match=wanted + hashlib.sha256(CONTENT).hexdigest()):
        find_file(source, "small/small.bin")
    path.write_bytes(CONTENT[:5])
    with pytest.raises(ValueError, match=r"it has 5 bytes, expected 24\. Delete it and run `fedmtl data fetch small`"):
        find_file(source, "small/small.bin")
    assert not is_there(source)


def test_a_copy_of_the_system_stands_for_the_file(home: Path, tmp_path: Path) -> None:
    source = small_source(CONTENT)
    packed = b"the same content, packed by another"
    place = tmp_path / "system.bin"
    copy = DataFile(str(place), len(packed), hashlib.sha256(packed).hexdigest())
    source = replace(source, files=(replace(source.files[0], copy=copy),))
    assert not is_there(source)
    place.write_bytes(packed)
    assert is_there(source) and find_file(source, "small/small.bin") == place
    own = put(home, CONTENT)
    assert find_file(source, "small/small.bin") == own


@pytest.mark.parametrize("name", REGISTRY["data"])
def test_every_data_set_declares_its_source(name: str) -> None:
    source = find("data", name).source
    assert source.name == name and source.licence and source.clients
    if source.files:
        assert source.address.startswith("https://") and source.citation
    for file in source.files:
        assert len(bytes.fromhex(file.sha256)) == 32 and file.size > 0
        assert file.address.startswith("http") or source.packing.endswith(".")


@pytest.mark.parametrize("name", [name for name in REGISTRY["data"] if find("data", name).source.files])
def test_every_data_set_without_its_file_says_so(name: str, home: Path) -> None:
    """At ``load``, and not before: a preset is read where the data are not."""
    if is_there(find("data", name).source):
        pytest.skip("a package of the system has it")
    dataset = find("data", name)()
    with pytest.raises(
        FileNotFoundError, match=rf"Data set {name} needs .*`fedmtl data fetch {name}`.*source is https"
    ):
        dataset.load(0)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=needs(find("data", name).source))
        for name in REGISTRY["data"]
        if find("data", name).source.examples is not None
    ],
)
def test_declared_facts_are_those_of_the_data(name: str) -> None:
    """Names of tasks, and the number before the word for clients."""
    source = find("data", name).source
    federation = find("data", name)().load(0)
    if source.tasks:
        assert set(federation.tasks) == set(source.tasks)
    number = source.clients.split()[0]
    assert number == "any" or int(number) == len(federation.clients)

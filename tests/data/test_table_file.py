"""Tables on disk: CSV and Parquet give the same federation, and a file that is none is one clear error."""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmtl.data import TableFile
from fedmtl.registry.components import describe, make
from fedmtl.tasks import Regression
from tests.data.test_contract import digest
from tests.data.test_frame import table


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    table().to_csv("sites.csv", index=False)
    table().to_parquet("sites.parquet")
    return tmp_path


def file(path: str = "sites.csv", **options: Any) -> TableFile:
    return TableFile(path, **{"client": "site", "tasks": ["churn", "ltv"], **options})


def test_csv_and_parquet_are_one(here: Path) -> None:
    table().to_csv("index.csv")  # with row numbers in a first column that has no name
    (here / "mark.csv").write_bytes(b"\xef\xbb\xbf" + (here / "sites.csv").read_bytes())
    one = file().load(0)
    assert one.client_names == {0: "east", 1: "north", 2: "south"} and one.input_shape == (5,)
    for path in ("sites.parquet", "index.csv", "mark.csv"):
        other = file(path).load(0)
        assert digest(other) == digest(one) and other.recipe == one.recipe


def test_clients_of_csv_keep_their_zeros(here: Path) -> None:
    """007 is a name; 7, 8 and 9 are numbers."""
    table(site=["007", "008", "9"] * 30).to_csv("codes.csv", index=False)
    table(site=["7", "8", "9"] * 30).to_csv("numbers.csv", index=False)
    assert file("codes.csv").load(0).client_names == {0: "007", 1: "008", 2: "9"}
    federation = file("numbers.csv").load(0)
    assert list(federation.clients) == [7, 8, 9] and federation.client_names == {}


def test_a_table_holds_it_and_makes_it_again(here: Path) -> None:
    data = file(kinds={"ltv": Regression(mean=3.0, std=2.0)}, features=["age"])
    assert make("data", describe("data", data)) == data
    assert data.load(0).tasks["ltv"] == Regression(mean=3.0, std=2.0)
    written = make("data", {"name": "tablefile", "path": "sites.csv", "tasks": ["ltv"], "kinds": {"ltv": "Regression"}})
    assert written.kinds == (("ltv", Regression()),)


def test_a_changed_file_is_refused(here: Path) -> None:
    sha256 = hashlib.sha256((here / "sites.csv").read_bytes()).hexdigest()
    data = file(sha256=sha256)
    data.load(0)
    with open("sites.csv", "a") as opened:
        opened.write("north,30,True,pro,left,\n")
    with pytest.raises(ValueError, match=f"^sites.csv: the file has changed: its SHA-256 was {sha256[:12]}"):
        data.load(0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "t.csv: the file is empty"),
        ("t.csv", b"site,age,churn,ltv\n", "holds no row"),
        ("t.csv", b"site,age,age,churn,ltv\na,1,2,1,3\n", "2 columns 'age'; rename or drop"),
        ("t.csv", b"site,,churn,ltv\na,1,2,1\n", "column 2 of its first line has no name"),
        ("t.csv", b"\xff\xfe\x00", "t.csv: the file is no table"),
        ("t.csv", b"site,age,churn,ltv\na,1,1,3\na,1,1,3,4,5\n", "the file is no table .*; save it again as CSV"),
        ("t.csv", b"site;age;churn;ltv\na;1;1;3\n", "has no column 'site'; it has 'site;age;churn;ltv'"),
        ("t.parquet", b"site,age\n", "the file is no table .*; save it again as PARQUET"),
        ("t.xlsx", b"PK", "ends with .csv or .parquet, got 't.xlsx'"),
    ],
)
def test_files_that_are_no_tables(here: Path, name: str, content: bytes, message: str) -> None:
    (here / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        file(name).load(0)
    assert "\n" not in str(error.value)


def test_a_file_larger_than_memory_is_not_read(here: Path) -> None:
    """A sparse file of a byte more than the machine has."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with open("large.csv", "wb") as opened:
        opened.truncate(memory + 1)
    with pytest.raises(ValueError, match=r"^large.csv: the file has [\d.]+ GB and this machine [\d.]+ GB of memory"):
        file("large.csv").load(0)


def test_other_errors_begin_with_the_file(here: Path) -> None:
    with pytest.raises(ValueError, match=r"^sites.csv: The table has no column 'agee'.* Did you mean age\?"):
        file(features=["agee"]).load(0)
    with pytest.raises(ValueError, match="kinds names 'lvt', which is no task.* Did you mean ltv"):
        file(kinds={"lvt": Regression()})
    with pytest.raises(FileNotFoundError):
        file("none.csv").load(0)


def test_gaps_in_a_file(here: Path) -> None:
    """An empty cell, NA and a code of one's own are one and the same."""
    lines = ["site,age,ltv", *(f"{'ab'[row % 2]},{row},{row / 2}" for row in range(20))]
    for cell in ("", "NA", "-1"):
        Path("gaps.csv").write_text("\n".join([*lines, f"a,20,{cell}"]) + "\n")
        data = TableFile("gaps.csv", "site", ("ltv",), missing="-1").load(0)
        assert data.sizes.sum() == 20
        assert np.isfinite(np.concatenate([part.y["ltv"] for one in data.clients.values() for part in one])).all()

"""``fedmtl predict``: a CSV of examples in, a CSV of predictions out."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fedmtl import MLP, Experiment, FedPer, from_arrays, load_result, run
from fedmtl.cli import app


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of arrays of three numbers, of two named clients: a class with names, and a number."""
    draw = np.random.default_rng(0)
    clients = {}
    for name in ("site7", "site9"):
        x = draw.standard_normal((40, 3))
        clients[name] = (x, {"kind": np.where(x[:, 0] > 0, "plus, or so", "minus"), "value": 5 + x[:, 1]})
    out = tmp_path_factory.mktemp("predict") / "run"
    experiment = Experiment(
        data=from_arrays(clients), model=MLP(hidden=(4,)), rounds=3, runtime="InProcess", algorithm=FedPer(lr=0.1)
    )
    run(experiment, out)
    return out


def predict(*arguments: str | Path) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["predict", *map(str, arguments)])
    return found.exit_code, found.output


def test_predictions_are_those_of_python(folder: Path, tmp_path: Path) -> None:
    """With a header and without, to a file and to the terminal."""
    x = np.random.default_rng(1).standard_normal((20, 3))
    lines = "\n".join(",".join(map(repr, row)) for row in x.tolist())
    (tmp_path / "bare.csv").write_text(lines)
    (tmp_path / "new.csv").write_text("a,b,c\n" + lines + "\n\n")
    code, output = predict(folder, "--client", "site7", tmp_path / "new.csv", "--out", tmp_path / "found.csv")
    assert code == 0 and "20 examples" in output, output
    text = (tmp_path / "found.csv").read_text()
    code, output = predict(folder, "--client", "site7", tmp_path / "bare.csv")
    assert code == 0 and output == text
    wanted = load_result(folder).predict("site7", x).table()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == ["kind", "kind_probability", "value"] == list(wanted)
    assert [row["kind"] for row in rows] == wanted["kind"].tolist()
    assert np.allclose([float(row["value"]) for row in rows], wanted["value"], rtol=1e-6)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,2\n", "line 1: 2 columns, but an example of the run has 3 features"),
        ("a,b,c\n1,2,3\n1,2,x\n", "line 3, column 3: 'x' is no number"),
        ("1,2,3\n1,,3\n", "line 2, column 2: the entry is empty"),
        ("1,2,3\n1,nan,3\n", "inputs hold NaN or infinity in 1 row"),
        ("a,b,c\n", "holds no example"),
        ("", "holds no example"),
        ("1,2,3\n4,5,6,7\n", "line 2: 4 columns"),
        (b"\xff\xfe1,2,3\n", "is no CSV in UTF-8"),
    ],
)
def test_a_file_that_does_not_fit(folder: Path, tmp_path: Path, content: str | bytes, message: str) -> None:
    """One line, exit code 2, and no file of predictions."""
    file = tmp_path / "new.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    code, output = predict(folder, "--client", "site7", file, "--out", tmp_path / "found.csv")
    assert code == 2 and output.startswith("error: ") and message in output.replace("\n", " "), output
    assert not (tmp_path / "found.csv").exists()


def test_a_client_and_files_that_are_not_there(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("1,2,3\n")
    code, output = predict(folder, "--client", "site8", tmp_path / "new.csv")
    assert code == 2 and "no client 'site8'; its 2 are site7, site9. Did you mean site7 or site9?" in output
    code, output = predict(folder, "--client", "site7", tmp_path / "other.csv")
    assert code == 2 and "other.csv" in output
    code, output = predict(tmp_path, "--client", "site7", tmp_path / "new.csv")
    assert code == 2 and "is not a finished run" in output
    code, output = predict(folder, "--client", "site7", tmp_path / "new.csv", "--out", tmp_path / "no" / "found.csv")
    assert code == 2 and "make the folder that is missing" in output


SITES = """site,age,plan,churn,ltv
north,33,pro,yes,10.5
north,51,free,no,1.0
north,27,pro,yes,12.0
north,44,free,no,0.5
north,38,pro,yes,9.0
south,61,free,no,2.0
south,29,pro,yes,11.0
south,35,free,no,1.5
south,58,free,no,
south,41,pro,yes,8.5
"""


def test_a_table_is_read_by_the_recipe_of_its_run(tmp_path: Path) -> None:
    """Two commands: columns by name, in any order, one of no use; a category that is new has no input. Predictions are
    those of Python, of the rows as a table and as the recipe's inputs."""
    import pandas as pd

    (tmp_path / "sites.csv").write_text(SITES)
    out = tmp_path / "run"
    settings = ["--set", "rounds=2", "--set", "runtime=InProcess", "--set", "model.hidden=[4]"]
    table = ["--data", str(tmp_path / "sites.csv"), "--client", "site", "--task", "churn", "--task", "ltv"]
    found = CliRunner().invoke(app, ["run", *table, *settings, "--out", str(out)])
    assert found.exit_code == 0, found.output
    (tmp_path / "sites.csv").unlink()  # a run folder is enough
    (tmp_path / "new.csv").write_text("plan,note,age\npro,x,30\nfree,y,60\ngold,z,45\n")
    code, output = predict(out, "--client", "south", tmp_path / "new.csv")
    assert code == 0, output
    rows = list(csv.DictReader(io.StringIO(output)))
    assert list(rows[0]) == ["churn", "churn_probability", "ltv"]
    result = load_result(out)
    new = pd.DataFrame({"plan": ["pro", "free", "gold"], "age": [30, 60, 45]})
    wanted = result.predict("south", new)
    assert [row["churn"] for row in rows] == [str(value) for value in wanted["churn"].values]
    assert np.allclose([float(row["ltv"]) for row in rows], wanted["ltv"].values, rtol=1e-6)
    (tmp_path / "new.csv").write_text("plan\npro\n")
    code, output = predict(out, "--client", "south", tmp_path / "new.csv")
    assert code == 2 and "'age'" in output
    (tmp_path / "new.csv").write_text("plan,age\npro,\n")
    code, output = predict(out, "--client", "south", tmp_path / "new.csv")
    assert code == 2 and "'age' is missing" in output
    (tmp_path / "empty.csv").write_text("")
    code, output = predict(out, "--client", "south", tmp_path / "empty.csv")
    assert code == 2 and "error: " in output

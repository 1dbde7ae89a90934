"""School and Landmine: data, measures and scripts of ``simulations/reproduce``."""

import importlib
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu

from fedmtl.data import landmine, school
from fedmtl.data.source import DataSource
from simulations.reproduce import loaders
from simulations.reproduce.loaders import LANDMINE_SMALL, Landmine, Ranked, School, locate
from tests.data.homes import missing

SCRIPTS = Path(__file__).parents[2] / "simulations" / "reproduce"


FIELDS = 12
"""Fields of a script that is run, of 29."""
SCHOOL, LANDMINE = school.School.source, landmine.Landmine.source


def data(source: DataSource) -> None:
    """Skip where the file is not."""
    if missing(source):
        pytest.skip(missing(source))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """script -> what it defines and what it prints when run with --quick, on every fourth school or on twelve fields.
    What it does to ``sys.path`` is undone; the loaders have as few from then on."""

    def few_schools(rows: Any = loaders.school_rows) -> Any:
        return rows()[::4]

    def few_fields(rows: Any = loaders.landmine_rows) -> Any:
        x, y, field = rows()
        return x[field < FIELDS], y[field < FIELDS], field[field < FIELDS]

    def play(name: str, *more: str) -> tuple[dict[str, Any], str]:
        monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
        for module in (loaders, importlib.import_module("loaders")):  # of this file, and of the scripts
            monkeypatch.setattr(module, "school_rows", few_schools)
            monkeypatch.setattr(module, "landmine_rows", few_fields)
        monkeypatch.setattr(sys, "argv", [name, "--quick", *more])
        defined = runpy.run_path(str(SCRIPTS / name))
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(SCRIPTS / name), run_name="__main__")
        assert end.value.code == 0
        return defined, capsys.readouterr().out

    return play


def cells(output: str, method: str, table: int) -> list[str]:
    """A method's row in the first or a later table."""
    rows = [line for line in output.splitlines() if line.startswith(f"| {method} |")]
    return [cell.strip() for cell in rows[table].strip("|").split("|")[1:]]


def test_absent_data_say_where_they_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDMTL_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"no .*school\.mat.*fedmtl data fetch school.*MALSAR"):
        School().load(0)
    with pytest.raises(FileNotFoundError, match=r"no .*small\.mat.*gingsmith.*SHA-256 456e9e96"):
        locate(LANDMINE_SMALL)
    (tmp_path / "landmine_small").mkdir()
    (tmp_path / "landmine_small" / "small.mat").write_bytes(b"other")
    with pytest.raises(ValueError, match=r"small\.mat has SHA-256 .*expected 456e9e96"):
        locate(LANDMINE_SMALL)


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    """Mann and Whitney's U over n₁ n₀ is the area; here with ties, over two ragged batches.

    The first batch ends with a row of padding, the second has a label NaN: neither may count.
    """
    draw = np.random.default_rng(0)
    z, c = draw.integers(0, 4, 12).astype(np.float32), draw.integers(0, 2, 12)
    y = (c + 2 * np.arange(12)).astype(np.float32)
    y[9] = np.nan
    task = Ranked(15)
    padded = (np.append(z[:5], 9.0), np.append(y[:5], y[0]), np.append(np.ones(5), 0.0))
    batches = [padded, (z[5:], y[5:], np.ones(7))]
    parts = [
        task.sums(torch.tensor(a, dtype=torch.float32)[:, None], torch.tensor(b, dtype=torch.float32), torch.tensor(m))
        for a, b, m in batches
    ]
    sums = torch.stack(parts).sum(0).numpy()
    seen = np.arange(12) != 9
    u = mannwhitneyu(z[seen & (c == 1)], z[seen & (c == 0)]).statistic
    assert sums[0] == 11
    assert task.metric(sums) == pytest.approx(u / ((seen & (c == 1)).sum() * (seen & (c == 0)).sum()))
    assert np.isnan(task.metric(sums + sums)), "two clients have no common order"
    assert np.isnan(task.metric(np.zeros(31)))


def test_the_loss_is_of_the_class_alone() -> None:
    """log(1 + e^z) − cz at (z, c) = (1, 1) and (2, 0), whatever the rows: (log(1 + e) − 1 + log(1 + e²)) / 2."""
    expected = (np.log1p(np.e) - 1 + np.log1p(np.e**2)) / 2
    for y in ([1.0, 0.0], [7.0, 4.0]):
        loss = Ranked(5).loss(torch.tensor([[1.0], [2.0]]), torch.tensor(y), torch.ones(2))
        assert float(loss) == pytest.approx(expected)


def test_landmine_parts() -> None:
    """29 fields, 80 rows each to learn from, all 14,820 − 29 · 80 others to test on, and no mine is lost."""
    data(LANDMINE)
    clients = Landmine(80).load(3).clients
    train, test = ([getattr(c, part) for c in clients.values()] for part in ("train", "test"))
    assert {len(split.x) for split in train} == {80} and len(clients) == 29
    assert sum(len(split.x) for split in test) == 14820 - 29 * 80
    mines = sum(split.y["mine"].sum() for split in train) + sum((split.y["mine"] % 2).sum() for split in test)
    assert mines == landmine.read()[1].sum()
    assert all(split.y["mine"].sum() >= 1 for split in train)
    x = np.concatenate([split.x for split in train])
    np.testing.assert_allclose(x[:, :9].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(x[:, :9].std(0), 1, atol=1e-5)
    assert (x[:, 9] == 1).all()
    other = Landmine(80).load(4).clients[0].train.x
    assert not np.array_equal(other, clients[0].train.x)


def test_school_parts() -> None:
    """15,362 pupils of 139 schools; validation splits the training pupils and no other."""
    data(SCHOOL)
    whole, held_out = School().load(0), School(validation=True).load(0)
    assert len(whole.clients) == 139
    for k, client in whole.clients.items():
        n = len(client.train.x) + len(client.test.x)
        assert len(client.train.x) == round(0.75 * n)
        inner = held_out.clients[k]
        own = np.concatenate([inner.train.y["score"], inner.test.y["score"]])
        np.testing.assert_array_equal(own, client.train.y["score"])
    assert sum(len(c.train.x) + len(c.test.x) for c in whole.clients.values()) == 15362


def test_landmine_halves() -> None:
    """The two halves have no signature in common, and all together; tests are the rest of a half."""
    data(LANDMINE)
    halves = [Landmine(40, half).load(3) for half in ("tuning", "results")]
    counts = [sum(len(part.x) for c in half.clients.values() for part in (c.train, c.test)) for half in halves]
    assert sum(counts) == 14820 and abs(counts[0] - counts[1]) <= 2 * 29
    own, other = (Landmine(40, half)._half(np.arange(100), 5) for half in ("tuning", "results"))
    assert sorted([*own, *other]) == list(range(100)) and len(own) == 50
    with pytest.raises(ValueError, match="from 10 to 160, got 200"):
        Landmine(200, "results")
    with pytest.raises(ValueError, match="halves 'tuning' and 'results'"):
        Landmine(20, "other")  # type: ignore[arg-type]


def test_landmine_quick(quick: Any) -> None:
    """10 steps a round of MR-MTL, written out in numpy, give the areas that the script prints for its 2 splits."""
    data(LANDMINE)
    _, output = quick("landmine.py", "--only", "MR-MTL")
    lr, lam, rounds = map(float, re.findall(r"[\d.]+", cells(output, "MR-MTL", 0)[0]))
    areas = []
    for split in range(2):
        clients = Landmine(40, "results").load(split).clients.values()
        x = np.stack([c.train.x for c in clients]).astype(np.float64)
        y = np.stack([c.train.y["mine"] for c in clients])
        w = np.zeros((FIELDS, 10))
        for _ in range(int(rounds)):
            mean = w.mean(0)
            for _ in range(10):
                p = 1 / (1 + np.exp(-np.einsum("knd,kd->kn", x, w)))
                w = w - lr * (np.einsum("kn,knd->kd", p - y, x) / 40 + lam * (w - mean))
        parts = []
        for own, c in zip(w, clients, strict=True):
            z, mine = c.test.x @ own, c.test.y["mine"] % 2 == 1
            parts.append(mannwhitneyu(z[mine], z[~mine]).statistic / (mine.sum() * (~mine).sum()))
        areas.append(np.mean(parts))
    shown = cells(output, "MR-MTL", 1)[0]
    mean, std = map(float, re.findall(r"\d\.\d+", shown)[:2])
    assert mean == pytest.approx(np.mean(areas), abs=2e-4)
    assert std == pytest.approx(np.std(areas, ddof=1), abs=2e-4)
    assert re.fullmatch(r"[+-]\d\.\d{4} \[.*\]", cells(output, "MR-MTL", 2)[0])


def test_explained_variance() -> None:
    """Schools with scores (0, 2, 4) and (10, 14), Σ e² of 2 and 4.

    Around the mean 6 of all: 36 + 16 + 4 + 16 + 64 = 136, so 1 − 6/136. Within: 1 − 2/8 and 1 − 4/8, whose mean is
    0.625, and by pupils (3 · 0.75 + 2 · 0.5) / 5 = 0.65.
    """
    sys.path.insert(0, str(SCRIPTS))
    try:
        explained = runpy.run_path(str(SCRIPTS / "school.py"))["explained"]
    finally:
        sys.path.remove(str(SCRIPTS))
    found = explained([np.array([0.0, 2.0, 4.0]), np.array([10.0, 14.0])], np.array([2.0, 4.0]))
    assert found == pytest.approx((1 - 6 / 136, 0.625, 0.65))


def test_school_quick(quick: Any) -> None:
    """Ridge of all pupils, from scikit-learn; and Local after 2 rounds explains something, less than ridge does."""
    data(SCHOOL)
    from sklearn.linear_model import Ridge

    federation = School().load(0)
    defined, output = quick("school.py", "--only", "FedAvg")
    clients = federation.clients.values()
    model = Ridge(alpha=10.0).fit(
        np.concatenate([c.train.x for c in clients]), np.concatenate([c.train.y["score"] for c in clients])
    )
    scores = np.concatenate([c.test.y["score"] for c in clients])
    squares = (model.predict(np.concatenate([c.test.x for c in clients])) - scores) ** 2
    expected = 1 - squares.sum() / ((scores - scores.mean()) ** 2).sum()
    assert defined["solved"](federation, 10.0, True).total == pytest.approx(expected, abs=1e-4)
    by_all, local = (float(cells(output, name, 0)[0].split()[0]) for name in ("ridge, all pupils", "Local"))
    assert 0 < local < by_all
    assert cells(output, "Pooled", 1)[-1] == ""

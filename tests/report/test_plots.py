"""What is in the pictures; that they please was judged by eye."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from fedmtl.report import plots
from fedmtl.report.looks import DASHES, MARKERS, NEUTRAL, looks
from fedmtl.study import Group, group_runs, read_run
from tests.study.run_folders import write_run

FP16 = {"name": "FP16"}


def study(folder: Path, seeds: int = 2, **settings: Any) -> list[Group]:
    """FedPer dense and squeezed, and Local without a byte, two seeds each, 0.1 apart; three rounds."""
    found = []
    for name, codec, count in (("FedPer", None, 500), ("FedPer", FP16, 250), ("Local", None, 0)):
        for seed in range(seeds):
            scores = {"slant": [0.0 + seed / 10, 0.25 + seed / 10, 0.5 + seed / 10, 0.625 + seed / 10]}
            path = folder / f"{name}-{codec is None}-{seed}"
            found.append(
                write_run(
                    path, {"name": name}, scores, seed=seed, up=count, up_codec=codec,
                    metrics={"slant": ("rmse", False)}, **settings,
                )
            )  # fmt: skip
    return group_runs(map(read_run, found))


def line(axes: Axes, color: str, dashes: Any) -> np.ndarray:
    """Points of the one line that has this color and these dashes, [points, 2]."""
    (found,) = [x for x in axes.lines if x.get_color() == color and x.get_linestyle() == dashes]
    return np.column_stack([np.asarray(found.get_xdata(), float), np.asarray(found.get_ydata(), float)])


def size(figure: Figure) -> tuple[int, int]:
    """Width and height in the header of the PNG."""
    content = plots.png(figure)
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_the_overview_shows_mean_scores_over_rounds_and_bytes(tmp_path: Path) -> None:
    """Mean of both seeds is 0.05 above the first. Two clients send 500 bytes a round: 1000, 2000, 3000."""
    groups = study(tmp_path)
    left, right = plots.overview(groups).axes
    look = looks(groups)["FedPer"]
    means = [0.05, 0.3, 0.55, 0.675]
    np.testing.assert_allclose(line(left, look.color, "-"), np.column_stack([range(4), means]))
    np.testing.assert_allclose(line(right, look.color, "-")[1:], np.column_stack([[1000, 2000, 3000], means[1:]]))
    assert np.isnan(line(right, look.color, "-")[0, 0]), "0 bytes have no place on a logarithmic axis"
    np.testing.assert_allclose(line(right, look.color, ":")[1:, 0], [500, 1000, 1500])
    assert right.get_xscale() == "log"
    assert left.get_ylabel() == plots.SCORE
    assert right.get_xlabel() == plots.BYTES


def test_who_sends_nothing_is_a_horizontal_line_in_bytes(tmp_path: Path) -> None:
    """Local's final mean is 0.675."""
    left, right = plots.overview(study(tmp_path)).axes
    (local,) = [x for x in right.lines if x.get_color() == NEUTRAL["Local"][0]]
    assert np.asarray(local.get_ydata()) == pytest.approx([0.675, 0.675])
    assert local.get_linestyle() == "--"
    assert "Local, 0 B" in [text.get_text() for text in right.texts]
    assert len(line(left, NEUTRAL["Local"][0], "-")) == 4


def test_bands_are_the_95_percent_interval(tmp_path: Path) -> None:
    """Three seeds 0.1 apart: std 0.1, so every band is 2 t · 0.1 / √3 high, t = 4.3027. Two seeds have no band."""
    groups = study(tmp_path, seeds=3)
    assert not plots.overview(study(tmp_path / "two")).axes[0].collections
    left, _ = plots.overview(groups).axes
    assert len(left.collections) == 3
    for band in left.collections:
        points = np.asarray(band.get_paths()[0].vertices)
        at_round_2 = points[np.isclose(points[:, 0], 2), 1]
        assert np.ptp(at_round_2) == pytest.approx(2 * 4.30265 * 0.1 / np.sqrt(3), rel=1e-5)


def test_a_task_s_picture_is_in_its_unit_and_says_which_way_is_better(tmp_path: Path) -> None:
    """rmse is 1 - score: 0.95, 0.7, 0.45, 0.325."""
    groups = study(tmp_path)
    left, _ = plots.task_picture(groups, "slant").axes
    assert left.get_ylabel() == "rmse (lower is better)"
    np.testing.assert_allclose(line(left, looks(groups)["FedPer"].color, "-")[:, 1], [0.95, 0.7, 0.45, 0.325])


def test_the_tradeoff_has_a_point_for_each_group_that_sends(tmp_path: Path) -> None:
    (axes,) = plots.tradeoff(study(tmp_path)).axes
    markers = [np.asarray(x.get_xydata()) for x in axes.lines if x.get_marker() in tuple(MARKERS)]
    points = [(float(x), float(y)) for ((x, y),) in markers]
    assert sorted(points) == [(1500, pytest.approx(0.675)), (3000, pytest.approx(0.675))]


def test_every_client_is_a_point(tmp_path: Path) -> None:
    """Final 0.625 and 0.725 over two seeds; client 1 scores 0.1 less than client 0. Three groups of four points."""
    (axes,) = plots.clients(study(tmp_path)).axes
    clouds = [np.sort(np.asarray(c.get_offsets())[:, 0]) for c in axes.collections if isinstance(c, PathCollection)]
    assert len(clouds) == 3
    for cloud in clouds:
        np.testing.assert_allclose(cloud, [0.525, 0.625, 0.625, 0.725])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["FedPer", "FedPer\nFP16 ↑", "Local"]


def test_pictures_have_their_size_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    """150 dots an inch; a legend of one line."""
    groups = study(tmp_path)
    assert size(plots.overview(groups)) == (1725, 615)
    assert size(plots.tradeoff(groups)) == (1275, 615)
    assert size(plots.clients(groups)) == (1275, 420)
    assert plots.png(plots.overview(groups)) == plots.png(plots.overview(groups))


def test_pictures_of_next_to_nothing_can_be_drawn(tmp_path: Path) -> None:
    """One seed that sends nothing and was measured once; a task nobody labelled; a killed run without a row."""
    alone = read_run(write_run(tmp_path / "a", {"name": "Local"}, {"digit": [0.5]}))
    unlabelled = read_run(write_run(tmp_path / "b", {"name": "FedPer"}, {"digit": [None, None]}, up=9))
    empty = read_run(write_run(tmp_path / "c", {"name": "FedRep"}, {"digit": [0.5]}, summary=False))
    empty.rows.clear()
    for groups in (group_runs([alone]), group_runs([unlabelled]), group_runs([alone, unlabelled, empty])):
        for draw in (plots.overview, plots.tradeoff, plots.clients):
            assert size(draw(groups))[0] > 1000
        assert size(plots.task_picture(groups, "digit"))[0] > 1000


def test_settings_of_matplotlib_outside_stay_as_they_were(tmp_path: Path) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    plots.png(plots.overview(study(tmp_path)))
    assert dict(matplotlib.rcParams) == before


def test_one_algorithm_has_one_colour_and_each_codec_its_dashes(tmp_path: Path) -> None:
    look = looks(study(tmp_path))
    dense, squeezed, local = look["FedPer"], look["FedPer · FP16 ↑"], look["Local"]
    assert (dense.color, dense.marker) == (squeezed.color, squeezed.marker)
    assert (dense.dashes, squeezed.dashes) == DASHES[:2]
    assert dense.fill != squeezed.fill
    assert local.color == NEUTRAL["Local"][0]


def test_no_two_of_many_groups_look_alike(tmp_path: Path) -> None:
    names = [f"A{i}" for i in range(40)] + ["Local", "Pooled"]
    found = [
        read_run(write_run(tmp_path / f"{name}{size}", {"name": name}, {"digit": [0.5]}, batch_size=size))
        for name in names
        for size in (4, 8)
    ]
    assert len(set(map(str, looks(group_runs(found)).values()))) == 84


def test_clients_that_have_no_place_on_the_axis_are_counted(tmp_path: Path) -> None:
    """Scores 0.5, 0.4, 0.3, 0.2 and -100: quartiles 0.2 and 0.4, so the axis begins at 0.2 - 3 · 0.2."""
    run = read_run(write_run(tmp_path / "a", {"name": "Local"}, {"digit": [0.5]}, clients=range(6)))

    def notes() -> str:
        return " ".join(text.get_text() for text in plots.clients(group_runs([run])).axes[0].texts).strip()

    assert notes() == ""
    for measured in run.rows:
        measured["score"] = {4: -100.0, 5: None}.get(measured["client"], measured["score"])
    assert notes() == "◂ 1 more, 1 diverged"
    assert plots.clients(group_runs([run])).axes[0].get_xlim()[0] == pytest.approx(-0.4)

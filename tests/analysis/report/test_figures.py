"""The numbers and labels in the figures, and the files that they become; that they please was judged by eye."""

import csv
import hashlib
import io
import os
import struct
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from fedmtl.analysis import group_runs, read_run
from fedmtl.analysis.along import along
from fedmtl.analysis.report import write_report
from fedmtl.analysis.report.along import along_picture
from fedmtl.analysis.report.clients import clients
from fedmtl.analysis.report.curves import BYTES, SCORE, overview
from fedmtl.analysis.report.figure import Picture
from fedmtl.analysis.report.line_styles import DASHES, MARKERS, NEUTRAL, LineStyle, line_styles
from fedmtl.analysis.report.matrices import client_matrix
from fedmtl.analysis.report.numbers import to_csv
from fedmtl.analysis.report.style import COLUMN, DPI, SMALL, WIDE, files_of, lay_out, style
from fedmtl.analysis.report.tasks import tasks
from fedmtl.analysis.report.tradeoff import points_of as points
from fedmtl.analysis.report.tradeoff import savings, tradeoff
from fedmtl.runs.axis import Axis
from tests.analysis.report.studies import many, study
from tests.analysis.run_folders import write_run
from tests.pictures import drawn_as, drawn_in_turn

ROOT = Path(__file__).parents[3]


def drawn(picture: Picture | None) -> Picture:
    assert picture is not None
    return picture


def line(axes: Axes, look: LineStyle) -> np.ndarray:
    """Points of the one line of a look, [points, 2]."""
    (found,) = [
        x
        for x in axes.lines
        if x.get_color() == look.color and x.get_marker() == look.marker and x.get_fillstyle() == look.fill
    ]
    return np.asarray(found.get_xydata(), float)


def texts(figure: Figure) -> list[Text]:
    """The texts that are drawn: of an axis, the labels of ticks within its limits."""
    with style():
        figure.draw_without_rendering()
    return shown(figure)


def shown(figure: Figure) -> list[Text]:
    """The texts of a figure that was drawn."""
    unseen = {
        id(tick.label1)
        for axes in figure.axes
        for axis, (low, high) in ((axes.xaxis, sorted(axes.get_xlim())), (axes.yaxis, sorted(axes.get_ylim())))
        for tick in axis.get_major_ticks()
        if not low <= tick.get_loc() <= high
    }
    found = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_visible() and text.get_text()]
    return [text for text in found if id(text) not in unseen]


def check_labels(figure: Figure) -> None:
    """No text covers another, none is clipped, and all can be read, where they are drawn in a file."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    with style():
        lay_out(figure)
        figure.draw(renderer)
    seen = shown(figure)
    found = [text.get_window_extent(renderer) for text in seen]  # in pixels
    for (one, box), (other, its) in combinations(zip(seen, found, strict=True), 2):
        common = min(box.x1, its.x1) - max(box.x0, its.x0), min(box.y1, its.y1) - max(box.y0, its.y0)
        assert min(common) < 1.5, f"{one.get_text()!r} covers {other.get_text()!r} by {common} pixels"
    for text, box in zip(seen, found, strict=True):
        assert box.x0 > -1 and box.y0 > -1 and box.x1 < figure.bbox.x1 + 1 and box.y1 < figure.bbox.y1 + 1, text
        assert float(text.get_fontsize()) >= 7
    assert figure.get_figwidth() in (COLUMN, WIDE)


def table(picture: Picture) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(picture.numbers))))


# Curves


def test_the_overview_shows_mean_scores_over_bytes_and_rounds(tmp_path: Path) -> None:
    """Mean of three seeds is 0.1 above the first. Two clients send 500 bytes a round: 1000, 2000, 3000."""
    groups = study(tmp_path)
    picture = drawn(overview(groups))
    left, right = picture.figure.axes
    look, means = line_styles(groups), [0.1, 0.35, 0.6, 0.725]
    np.testing.assert_allclose(line(right, look["FedPer"]), np.column_stack([range(4), means]))
    np.testing.assert_allclose(line(left, look["FedPer"])[1:], np.column_stack([[1000, 2000, 3000], means[1:]]))
    assert np.isnan(line(left, look["FedPer"])[0, 0]), "0 bytes have no place on a logarithmic axis"
    np.testing.assert_allclose(line(left, look["FedPer · FP16 ↑"])[1:, 0], [500, 1000, 1500])
    assert left.get_xscale() == "log"
    assert (left.get_ylabel(), left.get_xlabel(), right.get_xlabel()) == (SCORE, BYTES, "rounds")
    assert left.get_ylim() == right.get_ylim()


def test_lines_are_named_at_their_ends_and_there_is_no_legend(tmp_path: Path) -> None:
    figure = drawn(overview(study(tmp_path), target=0.5)).figure
    assert not figure.legends
    names = [text.get_text() for text in texts(figure)]
    assert {"FedPer", "FedPer · FP16 ↑", "Local", "Local, 0 B", "target 0.5"} <= set(names)
    check_labels(figure)


def test_what_sends_nothing_is_a_horizontal_line_over_bytes(tmp_path: Path) -> None:
    """Local's final mean is 0.725."""
    left, _ = drawn(overview(study(tmp_path))).figure.axes
    (local,) = [x for x in left.lines if x.get_color() == NEUTRAL["Local"][0]]
    assert np.asarray(local.get_ydata()) == pytest.approx([0.725, 0.725])


def test_bands_are_the_intervals_of_the_table(tmp_path: Path) -> None:
    """Seeds 0.1 apart: std 0.1, and t = 4.3027 for two degrees of freedom: half 0.24841."""
    groups = study(tmp_path)
    _, right = drawn(overview(groups)).figure.axes
    assert len(right.collections) == 3
    for band in right.collections:
        vertices = np.asarray(band.get_paths()[0].vertices)
        at_round_2 = vertices[np.isclose(vertices[:, 0], 2), 1]
        assert np.ptp(at_round_2) == pytest.approx(2 * 4.3026527 * 0.1 / 3**0.5)
    assert groups[0].score().half == pytest.approx(4.3026527 * 0.1 / 3**0.5)


def test_each_task_has_a_panel_in_its_unit(tmp_path: Path) -> None:
    """rmse is 1 - score: 0.9, 0.65, 0.4, 0.275."""
    groups = study(tmp_path)
    picture = drawn(tasks(groups))
    (axes,) = picture.figure.axes
    assert axes.get_title("left") == "slant: rmse ↓"
    np.testing.assert_allclose(line(axes, line_styles(groups)["FedPer"])[:, 1], [0.9, 0.65, 0.4, 0.275])
    assert {row["task"] for row in table(picture)} == {"slant"}


def test_an_unfinished_run_is_in_no_picture_and_moves_no_axis(tmp_path: Path) -> None:
    groups = study(tmp_path)
    limits = [axes.get_ylim() for axes in drawn(overview(groups)).figure.axes]
    metrics = {"slant": ("rmse", False)}
    killed = write_run(tmp_path / "killed", {"name": "FedRep"}, {"slant": [-575.0]}, summary=False, metrics=metrics)
    more = group_runs([*(run for group in groups for run in group.runs), read_run(killed)])
    picture = drawn(overview(more))
    assert [axes.get_ylim() for axes in picture.figure.axes] == limits
    assert "FedRep" not in str([text.get_text() for text in texts(picture.figure)])
    assert {row["name"] for row in table(picture)} == {"FedPer", "FedPer · FP16 ↑", "Local"}


@pytest.mark.parametrize(("methods", "count"), [(1, 4), (3, 1), (3, 4), (7, 5), (12, 1)])
def test_labels_overlap_nothing_for_random_ends(methods: int, count: int, tmp_path: Path) -> None:
    """Up to 24 groups, some of equal scores; more than 16 have a legend."""
    scores = np.random.default_rng(methods).choice([0.3, 0.5, 0.501, 0.52, 0.9], methods)
    groups = many(tmp_path, scores.tolist(), count)
    figure = drawn(overview(groups, 0.5)).figure
    check_labels(figure)
    check_labels(drawn(tasks(groups)).figure)
    assert bool(figure.legends) == (methods > 8)


# Score against bytes


def test_the_tradeoff_has_a_point_for_each_group_that_sends(tmp_path: Path) -> None:
    groups = study(tmp_path)
    picture = drawn(tradeoff(groups, 0.7))
    (axes,) = picture.figure.axes
    marks = [np.asarray(x.get_xydata()) for x in axes.lines if x.get_marker() in tuple(MARKERS)]
    assert sorted((float(x), float(y)) for ((x, y),) in marks) == [
        (1500, pytest.approx(0.725)), (3000, pytest.approx(0.725)),
    ]  # fmt: skip
    assert not picture.figure.legends
    names = [text.get_text() for text in texts(picture.figure)]
    assert {"FedPer", "FedPer · FP16 ↑", "Local, 0 B", "target 0.7"} <= set(names)
    assert "2.0× fewer bytes, +.000" in names
    check_labels(picture.figure)


def test_what_is_saved_is_the_difference_of_the_verdict(tmp_path: Path) -> None:
    """4000 · 2 clients · 2 rounds against 300: 13.33 times, and 0.01 more over the one seed."""
    (saving,) = savings(points(many(tmp_path, [0.5])))
    assert saving.factor == pytest.approx(4000 / 300) and saving.difference == pytest.approx(0.01)
    assert saving.words == "13× fewer bytes, +.010"


def test_the_pareto_line_leaves_out_what_gathers_the_data(tmp_path: Path) -> None:
    """Pooled is best and nearly free; of the others, A reaches 0.4 for 2000 bytes and B 0.6 for 8000, C is behind B."""
    for name, up, score in (("Pooled", 1, 0.9), ("A", 1000, 0.4), ("B", 4000, 0.6), ("C", 5000, 0.5)):
        write_run(tmp_path / name, {"name": name}, {"digit": [0.0, score]}, up=up)
    groups = group_runs(read_run(tmp_path / name) for name in "Pooled A B C".split())
    picture = drawn(tradeoff(groups))
    assert {row["name"] for row in table(picture) if row["pareto"] == "1"} == {"A", "B"}
    (steps,) = [x for x in picture.figure.axes[0].lines if x.get_gid() == "pareto"]
    assert np.asarray(steps.get_xydata())[:2].tolist() == [[2000, 0.4], [8000, 0.6]]


@pytest.mark.parametrize("methods", [2, 4, 6])
def test_names_of_points_overlap_nothing(methods: int, tmp_path: Path) -> None:
    scores = np.random.default_rng(methods).uniform(0.4, 0.6, methods)
    check_labels(drawn(tradeoff(many(tmp_path, scores.tolist()), 0.5)).figure)


# Along an axis


def test_a_line_for_each_method_along_an_axis(tmp_path: Path) -> None:
    """Scores 0.5 and 0.7 of A, 0.6 twice of B, of three seeds each; every line is named at its end."""
    found = []
    for name, finals in (("A", (0.5, 0.7)), ("B", (0.6, 0.6))):
        for alpha, final in zip((0.1, 1.0), finals, strict=True):
            for seed in range(3):
                folder = tmp_path / f"{name}-{alpha}-{seed}"
                data = {"name": "Toy", "alpha": alpha}
                scores = {"digit": [0.1, final + (seed - 1) / 1000]}
                found.append(read_run(write_run(folder, {"name": name}, scores, seed=seed, data=data)))
    (lines,) = along(found, Axis("data.alpha", (0.1, 1.0), "label skew"))
    picture = along_picture(lines)
    assert [float(row["score"]) for row in table(picture)] == pytest.approx([0.5, 0.7, 0.6, 0.6])
    assert [row["label skew"] for row in table(picture)] == ["0.1", "1", "0.1", "1"]
    np.testing.assert_allclose(np.asarray(picture.figure.axes[0].lines[0].get_xydata()), [[0, 0.5], [1, 0.7]])
    assert {"A", "B", "label skew"} <= {text.get_text() for text in texts(picture.figure)}
    check_labels(picture.figure)


# Clients and pairs of them


def test_every_client_is_a_point(tmp_path: Path) -> None:
    """Final 0.625, 0.725 and 0.825 over three seeds; client 1 scores 0.1 less than client 0. Three groups of six."""
    picture = drawn(clients(study(tmp_path)))
    (axes,) = picture.figure.axes
    clouds = [np.sort(np.asarray(c.get_offsets())[:, 0]) for c in axes.collections if isinstance(c, PathCollection)]
    assert len(clouds) == 3
    for cloud in clouds:
        np.testing.assert_allclose(cloud, [0.525, 0.625, 0.625, 0.725, 0.725, 0.825])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["FedPer", "FedPer · FP16 ↑", "Local"]
    assert len(table(picture)) == 18
    check_labels(picture.figure)


def test_clients_that_have_no_place_on_the_axis_are_counted(tmp_path: Path) -> None:
    """Scores 0.5, 0.4, 0.3, 0.2 and -100: quartiles 0.2 and 0.4, so the axis begins at 0.2 - 3 · 0.2."""
    run = read_run(write_run(tmp_path / "a", {"name": "Local"}, {"digit": [0.5]}, clients=range(6)))

    def notes() -> str:
        return " ".join(text.get_text() for text in drawn(clients(group_runs([run]))).figure.axes[0].texts).strip()

    assert notes() == ""
    for measured in run.rows:
        measured["score"] = {4: -100.0, 5: None}.get(measured["client"], measured["score"])
    assert notes() == "◂ 1 more, 1 diverged"
    assert drawn(clients(group_runs([run]))).figure.axes[0].get_xlim()[0] == pytest.approx(-0.4)


def test_a_matrix_of_clients(tmp_path: Path) -> None:
    names = [f"clinic {i}" for i in range(30)]
    rows = [[None if i == k else i - k / 2 for k in range(30)] for i in range(30)]
    picture = client_matrix("diagnostics-1-gap", "gap", "gap", names, rows)
    check_labels(picture.figure)
    assert table(picture)[1] == {"client": "clinic 0", "other": "clinic 1", "value": "-0.5"}


# Nothing is drawn of nothing


def test_there_is_no_picture_with_nothing_in_it(tmp_path: Path) -> None:
    """A run of one measurement, one client, no bytes; and one whose task nobody labelled."""
    one = read_run(write_run(tmp_path / "a", {"name": "Local"}, {"digit": [0.5]}, clients=[0]))
    other = read_run(write_run(tmp_path / "b", {"name": "FedPer"}, {"digit": [None, None]}, up=9))
    for groups in (group_runs([one]), group_runs([other])):
        assert [draw(groups) for draw in (overview, tradeoff, tasks, clients)] == [None] * 4


# Looks


def test_one_algorithm_has_one_colour_and_each_codec_its_dashes(tmp_path: Path) -> None:
    look = line_styles(study(tmp_path))
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
    assert len(set(map(str, line_styles(group_runs(found)).values()))) == 84


def test_a_method_has_its_colour_in_all_reports(tmp_path: Path) -> None:
    """Whatever else is compared: FedPer alone, beside an algorithm of a user's own, and beside FedAvg."""
    for name in ("FedAvg", "FedPer", "AAA"):
        write_run(tmp_path / name, {"name": name}, {"digit": [0.5]})
    sets = [["FedPer"], ["AAA", "FedPer"], ["FedAvg", "FedPer"], ["AAA", "FedAvg", "FedPer"]]
    seen = {str(line_styles(group_runs(read_run(tmp_path / n) for n in names))["FedPer"]) for names in sets}
    assert len(seen) == 1


# Files


def test_a_figure_is_png_pdf_and_svg_and_its_numbers_csv(tmp_path: Path) -> None:
    groups = study(tmp_path)
    picture = drawn(overview(groups))
    files = picture.files("1-")
    assert set(files) == {"1-overview.png", "1-overview.pdf", "1-overview.svg", "1-overview.csv"}
    png, pdf = files["1-overview.png"], files["1-overview.pdf"]
    assert png[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">I", png[16:20]) == (WIDE * DPI,)
    assert pdf.startswith(b"%PDF-") and b"/Type3" not in pdf and b"CreationDate" not in pdf
    root = ET.fromstring(files["1-overview.svg"])
    letters = ["".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"FedPer", "FedPer · FP16 ↑", "Local", BYTES} <= set(letters)
    rows = [row for row in table(picture) if row["name"] == "FedPer"]
    assert files["1-overview.csv"].decode() == to_csv(picture.numbers)
    curve = groups[0].score_curve()
    assert [float(row["score"]) for row in rows] == curve.mean and curve.half is not None
    assert [float(row["ci95"]) for row in rows] == curve.half
    assert [int(row["train_bytes"]) for row in rows] == [0, 1000, 2000, 3000]


def test_equal_figures_are_equal_files_in_any_process(tmp_path: Path) -> None:
    """In this process, and in one with another seed of Python's hashes, where sets have another order. Importing the
    reports imports no heavy package there. Each picture is drawn in one format or in all."""
    code = (
        "import sys, hashlib, pathlib; from fedmtl.analysis.report import write_report; out = sys.argv[2]\n"
        "print({'matplotlib', 'scipy.stats', 'scipy.special'} & sys.modules.keys())\n"
        "sys.path.insert(0, sys.argv[3]); from tests.pictures import drawn_in_turn\n"
        "with drawn_in_turn(): found = write_report([sys.argv[1]], out)\n"
        "for path in found: print(path.name, hashlib.sha256(path.read_bytes()).hexdigest())"
    )
    study(tmp_path / "runs")
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    command = [sys.executable, "-c", code, str(tmp_path / "runs"), str(tmp_path / "other"), str(ROOT)]
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    other = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    with drawn_in_turn():
        written = write_report([tmp_path / "runs"], tmp_path / "here")
    drawn_pdfs = [path.name for path in written if path.suffix == ".pdf" and path.stat().st_size > 1000]
    assert drawn_pdfs == ["overview.pdf", "tradeoff.pdf"]
    here = [f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in written]
    assert other.splitlines() == ["set()", *here] and "tradeoff.pdf" in other


def test_a_name_with_a_dollar_sign_is_no_formula(tmp_path: Path) -> None:
    runs = [read_run(write_run(tmp_path / n, {"name": n}, {"digit": [0.1, 0.5]}, up=5)) for n in ("A", "Local")]
    groups = group_runs(runs, {runs[0].folder: r"cost $\x$ & _more_"})
    with drawn_as("svg"):
        svg = drawn(overview(groups)).files()["overview.svg"].decode()
    assert r"cost $\x$ &amp; _more_" in svg and SMALL >= 7


def test_a_figure_is_drawn_once_for_each_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``savefig`` draws twice where there is a layout, to lay out and to print. All formats have the same panels, and
    settings of matplotlib outside stay as they were."""
    before = dict(matplotlib.rcParams)
    seen: list[list[tuple[float, ...]]] = []
    draw = Figure.draw

    def counted(figure: Figure, renderer: Any) -> None:
        draw(figure, renderer)
        seen.append([axes.get_position().bounds for axes in figure.axes])

    groups = study(tmp_path)
    drawn(overview(groups))
    picture = drawn(clients(groups))
    monkeypatch.setattr(Figure, "draw", counted)
    picture.files()
    assert dict(matplotlib.rcParams) == before
    assert len(seen) == 3 and seen[0] == seen[1] == seen[2]
    assert files_of(picture.figure, ["svg"]).keys() == {"svg"} and len(seen) == 4

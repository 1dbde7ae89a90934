"""A report's files."""

import csv
import re
from pathlib import Path

import pytest

from fedmtl.analysis.report import write_report
from tests.analysis.report.test_latex import parse
from tests.analysis.run_folders import write_run
from tests.pictures import drawn_as, drawn_in_turn


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """FedPer ends at 0.75 and Local at 0.5, with each of three seeds; FedPer's two clients send 500 bytes once."""
    for name, final, count in (("FedPer", 0.75, 500), ("Local", 0.5, 0)):
        for seed in (0, 1, 2):
            folder, scores = tmp_path / "runs" / f"{name}-{seed}", {"digit": [0.0, final]}
            write_run(folder, {"name": name, "lr": 0.1}, scores, seed=seed, up=count)
    return tmp_path / "runs"


def in_all(formats: str, *names: str) -> set[str]:
    return {f"{name}.{format}" for name in names for format in formats.split()}


def test_a_report_is_a_page_tables_and_pictures(runs: Path, tmp_path: Path) -> None:
    """The one task's metric is the score, so that the overview is its picture. Written over itself it is the same."""
    out = tmp_path / "deep" / "report"
    with drawn_in_turn():
        written = write_report([runs], out, target=0.7)
    tables, pictures = in_all("csv md tex", "table", "gains", "bytes"), in_all("png pdf svg csv", *PICTURES)
    assert {path.name for path in written} == {"report.md"} | tables | pictures
    assert written[-1] == out / "report.md"
    assert sorted(out.iterdir()) == sorted([*written, out / "fedmtl.manifest"]), "nothing else is left behind"
    for path in written:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")
    first = {path: path.read_bytes() for path in written}
    with drawn_in_turn():
        assert {path: path.read_bytes() for path in write_report([runs], out, target=0.7)} == first


PICTURES = ("overview", "tradeoff", "clients")


@pytest.mark.usefixtures("no_pictures")
def test_the_page_says_what_was_found_and_what_was_counted(runs: Path, tmp_path: Path) -> None:
    text = write_report([runs], tmp_path / "out", target=0.7)[-1].read_text(encoding="utf-8")
    assert "## Toy(clients=2)" in text
    assert "| FedPer | 3 | 5 | 0.750 ± 0.000 | 0.750 ± 0.000 | 0 B | 1.00 kB | 1.00 kB | 0 B | 1.00 kB |" in text
    assert "- FedPer − Local: +0.250 [+0.250, +0.250] over 3 seeds" in text
    assert "- FedPer: `FedPer(lr=0.1) / Dense()`, seeds 0, 1, 2" in text
    assert "headers included" in text
    assert "\n\n\n" not in text
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert shown == [f"{name}.png" for name in PICTURES]
    linked = set(re.findall(r"\[(?:PDF|SVG|CSV)\]\(([^)]+)\)", text))
    assert linked == in_all("pdf svg csv", *PICTURES)
    assert all((tmp_path / "out" / name).is_file() for name in [*shown, *linked])


@pytest.mark.usefixtures("no_pictures")
def test_tables_have_the_same_numbers_in_each_format(runs: Path, tmp_path: Path) -> None:
    write_report([runs], tmp_path / "out")
    page, tex = ((tmp_path / "out" / f"table.{suffix}").read_text(encoding="utf-8") for suffix in ("md", "tex"))
    assert page in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    (table,) = parse(tex)
    assert table[0][:4] == ["experiment", "seeds", "local passes", "mean score ↑"]
    assert table[1][:4] == ["FedPer", "3", "5", "0.750 ± 0.000"]
    gains = list(csv.DictReader((tmp_path / "out" / "gains.csv").read_text().splitlines()))
    assert [(row["name"], row["score_gain"], row["digit_gain_low"]) for row in gains] == [("FedPer", "0.25", "0.25")]


@pytest.mark.usefixtures("no_pictures")
def test_a_single_run_has_no_word_on_what_it_has_not(tmp_path: Path) -> None:
    """One seed: no interval, no difference, no trade-off; one client: no boxes. The way to a floor is there."""
    write_run(tmp_path / "run", {"name": "FedPer"}, {"digit": [0.0, 0.5]}, up=9, clients=[0])
    written = write_report([tmp_path / "run"], tmp_path / "out")
    names = {path.name for path in written}
    assert names == {"report.md"} | in_all("csv md tex", "table", "bytes") | in_all("png pdf svg csv", "overview")
    text = written[-1].read_text(encoding="utf-8")
    for word in ("nterval", "over seeds", "Differences", "federate", "diverged", "constant guess", "baseline among"):
        assert word not in text, word
    assert "The same `fedmtl run` command with `--baseline` adds the floor" in text


@pytest.mark.usefixtures("no_pictures")
def test_a_run_shows_the_floor_that_lies_in_it(tmp_path: Path) -> None:
    write_run(tmp_path / "run", {"name": "FedPer"}, {"digit": [0.0, 0.5]}, up=9)
    write_run(tmp_path / "run" / "baseline", {"name": "Local"}, {"digit": [0.0, 0.25]})
    text = write_report([tmp_path / "run"], tmp_path / "run")[-1].read_text(encoding="utf-8")
    assert "- FedPer − Local: +0.250 over 1 seed" in text and "--baseline" not in text


@pytest.mark.usefixtures("no_pictures")
def test_each_problem_has_a_section_and_pictures_of_its_own(runs: Path, tmp_path: Path) -> None:
    write_run(runs / "other", {"name": "FedPer"}, {"gait": [0.5]}, data={"name": "Watch"})
    written = write_report([runs], tmp_path / "out")
    names = [path.name for path in written]
    assert "1-overview.png" in names
    assert "2-clients.svg" in names
    text = written[-1].read_text(encoding="utf-8")
    assert text.index("## Toy(clients=2)") < text.index("(1-overview.png)") < text.index("## Watch()")
    assert "--baseline` adds the floor" in text.split("## Watch()")[1]


@pytest.mark.usefixtures("no_pictures")
def test_of_many_tasks_some_have_panels_and_the_caption_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedmtl.analysis.report.tasks.MAX_TASKS", 2)
    write_run(tmp_path / "run", {"name": "Local"}, {f"t{i}": [0.5, 0.6] for i in range(5)})
    written = write_report([tmp_path / "run"], tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / "tasks.csv").read_text().splitlines()))
    assert {row["task"] for row in rows} == {"t0", "t1"}
    assert "; the first 2 of 5 tasks" in written[-1].read_text(encoding="utf-8")


def test_runs_that_do_not_count_are_rows_and_in_no_picture(runs: Path, tmp_path: Path) -> None:
    """The pictures are those of the report without them, but for the names of more groups; nothing reaches −575."""
    with drawn_as("png"):
        before = {path.name: path.read_bytes() for path in write_report([runs], tmp_path / "before")}
    for seed in (3, 4):
        write_run(runs / f"Local-{seed}", {"name": "Local", "lr": 0.1}, {"digit": [0.0, -575.0]}, seed=seed)
    write_run(runs / "killed", {"name": "FedPer", "lr": 0.1}, {"digit": [0.0, 0.3]}, seed=3, up=7, summary=False)
    write_run(runs / "none", {"name": "FedRep", "lr": 9.0}, {"digit": [0.0, float("nan")]}, up=900)
    with drawn_as("png"):
        written = {path.name: path.read_bytes() for path in write_report([runs], tmp_path / "after")}
    for name, content in before.items():
        if name.endswith(".png"):
            assert written[name] == content, name
    text = written["report.md"].decode()
    assert "| FedPer | 3 of 4 seeds · 1 unfinished (round 1 of 1) | 5 | 0.750 ± 0.000" in text
    assert "| FedRep | 0 of 1 seed · 1 diverged at round 1 | 6 | – | – | – | – | – | – |" in text
    assert "| Local | 3 of 5 seeds · 2 diverged at round 1 | 5 | 0.500 ± 0.000" in text
    assert "- Local, seed 3: diverged at round 1 of 1: the score of task digit is -575, and was 0 at round 0" in text
    assert "- FedPer − Local: +0.250 [+0.250, +0.250] over 3 seeds" in text
    assert "575" not in written["table.csv"].decode()


def test_a_report_of_unfinished_runs_alone_has_no_picture(tmp_path: Path) -> None:
    write_run(tmp_path / "run", {"name": "FedPer"}, {"digit": [0.0, 0.3]}, summary=False)
    written = write_report([tmp_path / "run"], tmp_path / "out")
    assert [path.name for path in written] == ["table.csv", "table.md", "table.tex", "report.md"]
    assert "0 of 1 seed · 1 unfinished (round 1 of 1)" in written[-1].read_text(encoding="utf-8")


def test_a_folder_without_a_run_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        write_report([tmp_path / "nowhere"], tmp_path / "out")
    assert not (tmp_path / "out").exists()

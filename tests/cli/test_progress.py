"""Progress on a terminal: the lines of a pipe, a bar below them while a run goes on, and nothing of the bar after."""

import re
from pathlib import Path

import pytest

from tests.forks import run
from tests.terminal import Screen, fedmtl_on_terminal

PRESET = """
name = "small"
rounds = 7
evaluate_every = 3
runtime = "InProcess"
engine = "loop"
data = { name = "synthetic", clients = 3, examples = 6, test_examples = 4, features = 4, rank = 2, tasks = 1 }
model = { name = "MLP", hidden = [3] }
algorithm = { name = "FedPer", lr = 0.1, epochs = 1 }
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "small.toml").write_text(PRESET)
    return tmp_path


def check_bar_is_gone(screen: Screen) -> None:
    """The bar was drawn, no line of the terminal holds some of it, and the cursor is shown again."""
    assert "━" in screen.text and "/7" in screen.text
    assert not [line for line in screen.lines if re.search(r"━|╺|\d:\d\d:\d\d|starting", line)]
    assert screen.text.rindex("\x1b[?25h") > screen.text.rindex("\x1b[?25l")


def test_a_terminal_keeps_the_lines_of_a_pipe(here: Path) -> None:
    """Rounds 0, 3, 6 and 7 of 7 are measured, by the exchanges of rounds 1, 4 and 7 and one more."""
    screen = fedmtl_on_terminal(["run", "small.toml"], here)
    piped = run(["run", "small.toml"], cwd=here).stdout.splitlines()
    measured = [line for line in screen.lines if "mean score 0" in line and "up" in line]
    assert [line.split("  ")[1] for line in measured] == ["round 1/7", "round 4/7", "round 7/7", "last model"]
    assert measured == [line for line in piped if line.startswith("  ") and "  up " in line and "total" not in line]
    check_bar_is_gone(screen)


@pytest.mark.parametrize("columns", [30, 60])
def test_a_narrow_terminal_breaks_lines_between_words(here: Path, columns: int) -> None:
    screen = fedmtl_on_terminal(["run", "small.toml"], here, columns)
    assert max(map(len, screen.lines)) <= columns
    assert "round 7/7  mean score" in " ".join(screen.lines).replace("      ", "  ")
    check_bar_is_gone(screen)


def test_a_comparison_has_the_lines_of_each_run(here: Path) -> None:
    screen = fedmtl_on_terminal(["compare", "small.toml", "--seeds", "2", "--out", "both"], here)
    assert screen.code == 0
    assert sum(line.startswith("  last model  mean score ") for line in screen.lines) == 2
    assert sum(line.startswith("  round 4/7  mean score ") for line in screen.lines) == 2
    assert sum(bool(re.match(r"  about \d+ s left for 1 run$", line)) for line in screen.lines) == 1
    check_bar_is_gone(screen)


@pytest.mark.parametrize("command", ["run", "compare"])
def test_what_is_interrupted_leaves_no_bar(here: Path, command: str) -> None:
    arguments = [command, "small.toml", "--set", "rounds=7777", "--out", "out"]
    screen = fedmtl_on_terminal(arguments, here, interrupt_at="round 4/7777")
    assert screen.code == 130
    check_bar_is_gone(screen)
    assert max(map(len, screen.lines)) <= 80
    end = " ".join(" ".join(screen.lines).split())
    assert re.search(r" stopped (in run 1 of 3, \S+, )?after round \d+; (what is done is kept; )?go on with", end), end


def test_what_a_callback_prints_stands_above_the_bar(here: Path) -> None:
    (here / "loud.py").write_text(
        "class Loud:\n"
        "    def start(self, run): return None\n"
        "    def rows(self, writer, table, rows): print('got', table) if table == 'rounds' else None\n"
        "    def end(self, writer, summary): pass\n"
    )
    screen = fedmtl_on_terminal(["run", "small.toml", "--allow", "loud.py", "--callback", "loud:Loud"], here)
    assert screen.lines.count("got rounds") == 4
    check_bar_is_gone(screen)

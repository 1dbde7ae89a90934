"""Tables that fit: no line is longer than the terminal, and no word of a cell is broken."""

import pytest

from fedmtl.core.text_table import TextColumn, fitted, markdown_fitted

COLUMNS = [
    TextColumn(
        "experiment", ["FedPer · TopK5+EF ↑ / Int8 ↓", "Local", "a name of many words that no width of a column holds"]
    ),
    TextColumn("mean score ↑", ["0.812 ± 0.004", "0.700 ± 0.010", "–"]),
    TextColumn("training bytes", ["1.23 MB", "0 B", "45.6 GB"], 1),
    TextColumn("seeds", ["3", "3", "2"], 2),
    TextColumn("digit: accuracy ↑", ["0.812 ± 0.004", "0.700 ± 0.010", "–"], 4),
    TextColumn("value: rmse ↓", ["2.812 ± 0.004", "1.700 ± 0.010", "–"], 5),
]


@pytest.mark.parametrize("width", [*range(20, 140), None])
def test_no_line_is_longer_than_the_terminal_and_no_number_is_broken(width: int | None) -> None:
    found = fitted(COLUMNS, width)
    lines = found.text.splitlines()
    assert width is None or max(map(len, lines)) <= width
    shown = [column for column in COLUMNS if column.head not in found.left_out]
    for column in shown[1:]:
        for cell in column.cells:
            assert width is not None and width < 40 or any(cell in line for line in lines), (cell, found.text)
    for word in " ".join(COLUMNS[0].cells).split():
        assert word in found.text


def test_the_columns_that_matter_least_are_left_out_first() -> None:
    assert fitted(COLUMNS, None).left_out == []
    assert fitted(COLUMNS, 100).left_out in ([], ["value: rmse ↓"])
    assert fitted(COLUMNS, 80).left_out == ["value: rmse ↓"]
    assert fitted(COLUMNS, 50).left_out == ["digit: accuracy ↑", "value: rmse ↓"]
    assert fitted(COLUMNS, 44).left_out == ["seeds", "digit: accuracy ↑", "value: rmse ↓"]


def test_rows_are_stacked_where_nothing_else_fits() -> None:
    text = fitted([TextColumn("a", ["one"]), TextColumn("long", ["x" * 20]), TextColumn("longer", ["y" * 20])], 30).text
    assert text.splitlines() == ["one", f"  long: {'x' * 20}", f"  longer: {'y' * 20}"]


MARKDOWN = "Found in 12.3 kB:\n\n| method | score ↑ |\n|---|---:|\n| FedPer \\| a | 0.5 |\n| Local | 0.25 |\n"


def test_markdown_becomes_columns() -> None:
    assert markdown_fitted(MARKDOWN, None) == MARKDOWN
    text = "Found in 12.3 kB:\n\nmethod      score ↑\nFedPer | a      0.5\nLocal          0.25\n"
    assert markdown_fitted(MARKDOWN, 40) == text
    assert markdown_fitted(MARKDOWN, 15).startswith("Found in\n  12.3 kB:\n\n"), "a number stays with its unit"
    empty = "| method | score |\n|---|---:|"
    assert markdown_fitted(empty, 40) == "method  score"


def test_an_arrow_stays_with_its_word() -> None:
    text = fitted([TextColumn("name", ["x" * 30]), TextColumn("mean score ↑", ["0.5"])], 38).text
    assert [line.split() for line in text.splitlines()[:2]] == [["mean"], ["name", "score", "↑"]]

"""Tables in LaTeX, read back by a small parser that knows what would not compile."""

import re

import pytest

from fedmtl.analysis.report.latex import escape, latex
from fedmtl.analysis.report.tables import ReportTable

WORDS = {
    "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<", "textgreater": ">",
    "textbar": "|", "textasciigrave": "`", "ldots": "…", "pm": "±", "times": "×", "cdot": "·", "uparrow": "↑",
    "downarrow": "↓", "lambda": "λ", "Delta": "Δ", "mu": "µ",
}  # fmt: skip


def plain(text: str) -> str:
    """What LaTeX prints. Fails on a special letter that stands bare, and on a command that is not known."""
    out, position, math = "", 0, False
    token = re.compile(r"\\([A-Za-z]+)(\{\})?|\\([&%$#_{}])|\{([][*])\}|(\$)|(.)", re.DOTALL)
    while position < len(text):
        match = token.match(text, position)
        assert match is not None
        word, _, special, bracket, dollar, letter = match.groups()
        position = match.end()
        if word:
            out += WORDS[word]
        elif special or bracket:
            out += special or bracket
        elif dollar:
            math = not math
        else:
            assert letter not in "&%#_{}^\\", f"bare {letter!r} in {text!r}"
            out += {"-": "−"}.get(letter, letter) if math else letter
    assert not math, f"a formula without an end in {text!r}"
    return out


def parse(text: str) -> list[list[list[str]]]:
    """The cells of each tabular; environments must be nested, and rows as long as the columns are many."""
    opened: list[str] = []
    tables: list[list[list[str]]] = []
    columns = 0
    for line in (line.strip() for line in text.splitlines() if not line.startswith("%")):
        if found := re.fullmatch(r"\\begin\{(\w+\*?)\}(?:\{([lr]+)\})?", line):
            opened.append(found[1])
            if found[1] == "tabular":
                tables.append([])
                columns = len(found[2])
        elif found := re.fullmatch(r"\\end\{(\w+\*?)\}", line):
            assert opened.pop() == found[1]
        elif line.endswith(r" \\") and opened[-1] == "tabular":
            cells = re.split(r"(?<!\\) & ", line.removesuffix(r" \\"))
            assert len(cells) == columns
            tables[-1].append([plain(cell) for cell in cells])
        elif found := re.fullmatch(r"\\caption\{(.*)\}", line):
            plain(found[1])
        else:
            assert re.fullmatch(
                r"\\(toprule|midrule|bottomrule|centering|footnotesize|par\\medskip|setlength\{\\tabcolsep\}\{4pt\}"
                r"|label\{[a-z0-9:-]+\})|",
                line,
            ), line
    assert not opened
    return tables


HARD = r"a_b 100% & c#1 $x$ {y} ~^\n [0] *z* <t> |u| `v` — 0.5 ± 0.1 · ↑ ↓ λ Δ −3 ×2 …"


def test_whatever_a_name_holds_is_printed_as_it_stands() -> None:
    assert escape("a_b % & #") == r"a\_b \% \& \#"
    assert plain(escape(HARD)) == HARD.replace("—", "---")
    rows = [["name", "score"], [HARD, "1"], ["ours [0]", "*2"]]
    (table,) = parse(latex(rows, [False, True], HARD, "tab:x"))
    assert table == [[cell.replace("—", "---") for cell in row] for row in rows]


@pytest.mark.parametrize(
    ("text", "printed"),
    [("naïve Łódź Ørsted", "naïve Łódź Ørsted"), ("东 😀", "? ?"), ("ą", "a"), ("fi\x07\n", "fi  "), ("½", "1?2")],
)
def test_letters_that_a_font_may_lack(text: str, printed: str) -> None:
    """Accents that LaTeX's first fonts have stay; the ogonek needs others, and its letter remains."""
    assert escape(text) == printed


def test_a_cell_that_lost_a_letter_is_in_a_comment() -> None:
    text = latex([["name"], ["东京 clinic"], ["ok?"]], [False], "caption", "tab:x")
    assert [line for line in text.splitlines() if line.startswith("%")][1:] == [
        "% Not in pdfLaTeX's fonts: 东京 clinic"
    ]


def test_columns_that_the_page_has_no_room_for_go_on_below() -> None:
    rows = [["experiment", *(f"column {i}" for i in range(30))], ["ours", *map(str, range(30))]]
    tables = parse(latex(rows, [False] + [True] * 30, "caption", "tab:x"))
    assert len(tables) > 1
    assert all(table[1][0] == "ours" for table in tables)
    assert [cell for table in tables for cell in table[1][1:]] == [str(i) for i in range(30)]


def test_a_table_of_markdown_has_the_same_cells() -> None:
    text = "| a | b\\|c |\n|---|---:|\n| `x_1` | **2** |\n\nA line below.\n"
    assert parse(ReportTable("caption", text).latex("tab:x")) == [[["a", "b|c"], ["x_1", "2"]]]

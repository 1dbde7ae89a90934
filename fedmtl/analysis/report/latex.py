r"""Tables in LaTeX, with booktabs. The text compiles under pdfLaTeX, LuaLaTeX and XeLaTeX, whatever the names hold.

A character that pdfLaTeX's fonts lack (Chinese, an emoji) becomes ``?``, and a comment above the table has the cell.
"""

import unicodedata
from collections.abc import Sequence

_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "`": r"\textasciigrave{}", "[": "{[}", "]": "{]}", "*": "{*}",
    "–": "--", "—": "---", "…": r"\ldots{}", "’": "'", "“": "``", "”": "''", "\u00a0": "~",
    "±": r"$\pm$", "−": "$-$", "×": r"$\times$", "·": r"$\cdot$", "↑": r"$\uparrow$", "↓": r"$\downarrow$",
    "→": r"$\rightarrow$", "≤": r"$\leq$", "≥": r"$\geq$", "∞": r"$\infty$", "°": r"$^\circ$", "²": "$^2$",
    "³": "$^3$", "µ": r"$\mu$",
}  # fmt: skip
_GREEK = {
    name: letter
    for name, letter in zip(
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi "
        "omega".split(),
        "αβγδεζηθικλμνξπρστυφχψω",
        strict=True,
    )
}
_SPECIAL |= {letter: f"$\\{name}$" for name, letter in _GREEK.items()}
_SPECIAL |= {
    letter.upper(): f"$\\{name.capitalize()}$"
    for name, letter in _GREEK.items()
    if name in ("gamma", "delta", "theta", "lambda", "xi", "pi", "sigma", "upsilon", "phi", "psi", "omega")
}

_PLAIN = "ÆæŒœØøßŁłı"
_ACCENTS = "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327"
"""Above and below letters, what LaTeX's oldest fonts have too."""

_PAGE, _LETTER = 505.0, 3.9
"""Points: a page of two columns, and a letter of ``\\footnotesize``."""


def escape(text: str) -> str:
    """A text that LaTeX prints as it stands."""
    return "".join(_letter(c) for c in text)


def latex(rows: Sequence[Sequence[str]], right: Sequence[bool], caption: str, label: str, keys: int = 1) -> str:
    """A floating table as wide as the page, for ``\\input``.

    Columns that are too many for the page go on below, behind the first ones again.

    Args:
        rows: the header, and the rows below it; as many cells each.
        right: whether a column stands at the right.
        caption: a text.
        label: for ``\\ref``; letters, digits, hyphens and colons.
        keys: how many of the first columns name a row.
    """
    cells = [" ".join(cell.split()) for row in [*rows, [caption]] for cell in row]
    lost = [cell for cell in cells if any("?" in _letter(c) for c in cell if c != "?")]
    parts = [_tabular(rows, right, columns) for columns in _parts(rows, keys)]
    lines = [
        r"% Needs \usepackage{booktabs}.",
        *(f"% Not in pdfLaTeX's fonts: {cell}" for cell in dict.fromkeys(lost)),
        r"\begin{table*}",
        r"  \centering",
        r"  \footnotesize",
        r"  \setlength{\tabcolsep}{4pt}",
        f"  \\caption{{{escape(caption)}}}",
        f"  \\label{{{label}}}",
        *"\n  \\par\\medskip\n".join(parts).splitlines(),
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def _parts(rows: Sequence[Sequence[str]], keys: int) -> list[list[int]]:
    """The columns of each part, which the page has room for."""
    widths = [_LETTER * max(len(row[column]) for row in rows) + 8 for column in range(len(rows[0]))]
    parts = [[*range(keys)]]
    for column in range(keys, len(widths)):
        if len(parts[-1]) > keys and sum(widths[each] for each in [*parts[-1], column]) > _PAGE:
            parts.append([*range(keys)])
        parts[-1].append(column)
    return parts


def _tabular(rows: Sequence[Sequence[str]], right: Sequence[bool], columns: Sequence[int]) -> str:
    head, *body = ("    " + " & ".join(escape(row[each]) for each in columns) + r" \\" for row in rows)
    marks = "".join("r" if right[each] else "l" for each in columns)
    begin, end = f"  \\begin{{tabular}}{{{marks}}}", r"  \end{tabular}"
    return "\n".join([begin, r"    \toprule", head, r"    \midrule", *body, r"    \bottomrule", end])


def _letter(c: str) -> str:
    if c in _SPECIAL:
        return _SPECIAL[c]
    if " " <= c < "\x7f" or c in _PLAIN:
        return c
    if not c.isprintable():
        return " "
    parts = unicodedata.normalize("NFKD", c)
    if parts[0].isascii() and parts[0].isalpha() and len(parts) == 2 and parts[1] in _ACCENTS:
        return c
    return "".join(_letter(part) if part != c else "?" for part in parts if not unicodedata.combining(part)) or "?"

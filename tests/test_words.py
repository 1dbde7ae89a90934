"""The words of the glossary: banned ones are in no name, docstring, comment, message or page of the folders that are
clean; ``OPEN`` lists the others."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent

OPEN: tuple[str, ...] = ()
"""Parts of ``fedmtl/`` that still have banned words."""

NAMES = re.compile(
    r"_*(Visits?|Answers?|Fleet|Undo|StackedStore|Picked|Wide|Rebuilt|Lifted|Slot|Measurements|Measured|Form|FORMS|Look"
    r"|HOW|IGNORED|BESIDES|Found|unkeep|uncollected|look_at_personal|payload_bytes|one_broadcast|tells_all"
    r"|separable_heads|additive|learnt|scorecard|battery|rebuild|hire|give_back|say_in_cpp|seal_rows|open_rows)"
    r"|(.*_)?(visits?|told|heard|lent|everybody|nobody|answers?)(_.*)?"
)
"""Names that functions, classes, parameters, fields and variables do not have."""

SENTENCES = {
    r"\b(every|no|some|any)body\b|\b(every|some|any)one\b|\bwho(m|ever)\b": "all clients, no client, a client that",
    r"\b(heard|hears|hear|told|tells|tell|lent|lends)\b": "received, sent, padded",
    r"\bso many\b|\bas many as\b": "the number",
    r"\bto the (same )?bits?\b": "bit-identical",
    r"\bchance\b": "randomness",
    r"\bvisits?\b": "request, exchange",
}
"""Pattern -> the words to write instead; in docstrings, comments, messages and pages."""

ANY = "|".join(f"(?:{pattern})" for pattern in SENTENCES)

QUESTION = re.compile(r"(What|Where|How|Whether|Who|Whom|Which|Why|When|Of)\b")
"""The beginning of a docstring that is no noun phrase and no imperative with its object."""


class Finding(NamedTuple):
    line: int
    word: str
    instead: str


def findings(source: str) -> list[Finding]:
    """Banned words of a Python file."""
    return sorted({*_names_and_texts(source), *_docstrings(source)})


def _names_and_texts(source: str) -> Iterator[Finding]:
    if not any(map(_is_banned, re.findall(r"\w+", source))) and re.search(ANY, source, re.IGNORECASE) is None:
        return  # to cut a file into tokens takes ten times as long
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and _is_banned(token.string):
            yield Finding(token.start[0], token.string, "a name of fedmtl/GLOSSARY.md")
        elif token.type in (tokenize.STRING, tokenize.COMMENT):
            yield from (found._replace(line=found.line + token.start[0] - 1) for found in sentences(token.string))


@cache
def _is_banned(name: str) -> bool:
    return NAMES.fullmatch(name) is not None


def sentences(text: str) -> Iterator[Finding]:
    """Banned words of a text; a word between backticks or in a name is not a word of the text."""
    plain = re.sub(r"``[^`]*``|`[^`\n]*`", lambda found: re.sub(r"[^\n]", "·", found[0]), text)
    for pattern, instead in SENTENCES.items():
        for found in re.finditer(pattern, plain, re.IGNORECASE):
            yield Finding(plain.count("\n", 0, found.start()) + 1, found[0], instead)


def _docstrings(source: str) -> Iterator[Finding]:
    """Docstrings of modules, classes, functions and attributes."""
    if re.search(rf"[\"'\\n]\s*{QUESTION.pattern}", source) is None:
        return  # to parse a file, and walk through it, takes as long
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for child in node.body:
                if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                    text = child.value.value
                    if isinstance(text, str) and (found := QUESTION.match(text.lstrip())):
                        yield Finding(child.lineno, found[0], "a noun phrase, or an imperative with its object")


def _is_open(path: Path) -> bool:
    inside = path.relative_to(ROOT / "fedmtl").as_posix()
    return any(inside == part or inside.startswith(f"{part}/") for part in OPEN)


def checked() -> list[Path]:
    """All files of the folders that are clean."""
    sources = [path for path in sorted((ROOT / "fedmtl").rglob("*.py")) if not _is_open(path)]
    return [*sources, *sorted((ROOT / "simulations").rglob("*.py"))]


def test_banned_words() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {word!r}: {instead}"
        for path in checked()
        for line, word, instead in findings(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


PAGES = [ROOT / "README.md", *ROOT.glob("fedmtl/**/*.md"), *ROOT.glob("simulations/**/*.md")]


@pytest.mark.parametrize("page", sorted(path.relative_to(ROOT).as_posix() for path in PAGES))
def test_pages(page: str) -> None:
    found = [f"{page}:{line}: {word!r}: {instead}" for line, word, instead in sentences((ROOT / page).read_text())]
    assert not found, "\n".join(found)


def test_open_parts_are_there() -> None:
    assert [part for part in OPEN if not (ROOT / "fedmtl" / part).exists()] == []


@pytest.mark.parametrize(
    ("source", "line", "word"),
    [
        ('"""Where it is."""', 1, "Where"),
        ('def f():\n    """Of each client."""', 2, "Of"),
        ('class A:\n    x = 1\n    """How many."""', 3, "How"),
        ("x = 1  # everybody", 1, "everybody"),
        ('raise ValueError(\n    "no client was told")', 2, "told"),
        ("def visit_all(): ...", 1, "visit_all"),
        ("payload_bytes = 3", 1, "payload_bytes"),
        ('"""A line.\n\nAll chance follows from it."""', 3, "chance"),
        ('x = f"so many as {y}"', 1, "so many"),
        ("class Measurements: ...", 1, "Measurements"),
        ("for answer in replies: ...", 1, "answer"),
        ("x = 1  # reported to anybody", 1, "anybody"),
        ('"""Hashes that tell runs apart."""', 1, "tell"),
        ("x = 1  # whoever asks", 1, "whoever"),
    ],
)
def test_it_is_found(source: str, line: int, word: str) -> None:
    assert [(found.line, found.word) for found in findings(source)] == [(line, word)]


@pytest.mark.parametrize(
    "source",
    [
        '"""Offices of which some are open."""',
        "x = 1  # ``heard`` is another word",
        "mechanism = whether",
        "x.change()",
    ],
)
def test_it_is_not_found(source: str) -> None:
    assert findings(source) == []

"""Reports whose pictures are not drawn, for tests of all the rest: each picture takes half a second.

Figures are made, and so are their numbers; tests/analysis/report lays them out and draws them, and so does a command of
each kind.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import count, repeat
from typing import TYPE_CHECKING, Literal
from unittest.mock import patch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILES = {"png": b"\x89PNG", "pdf": b"%PDF-", "svg": b"<svg/>"}


@contextmanager
def undrawn() -> Iterator[None]:
    """Inside, a picture is an empty file of each format beside its numbers."""

    def not_laid_out(figure: "Figure") -> None:
        figure.set_layout_engine("none")

    with (
        patch("fedmtl.analysis.report.figure.files_of", lambda figure: dict(FILES)),
        patch("fedmtl.analysis.report.labels.lay_out", not_laid_out),
    ):
        yield


@contextmanager
def _drawn(formats: Iterator[Sequence[str]]) -> Iterator[None]:
    """Inside, each picture is drawn in the next formats; the others, of the same artists, are empty files."""

    def files_of(figure: "Figure") -> dict[str, bytes]:
        from fedmtl.analysis.report import style

        return FILES | style.files_of(figure, next(formats))

    with patch("fedmtl.analysis.report.figure.files_of", files_of):
        yield


def drawn_as(format: Literal["png", "svg"]) -> AbstractContextManager[None]:
    """Inside, a picture is drawn once, in one format."""
    return _drawn(repeat([format]))


def drawn_in_turn(whole: Sequence[int] = (0,)) -> AbstractContextManager[None]:
    """Inside, pictures are drawn as PNG, PDF and SVG in turn, and some in all three: the artists of each picture, and
    the writer of each format, are met.

    Args:
        whole: numbers of pictures that are drawn in all formats; the first is 0.
    """
    formats = ("png", "pdf", "svg")
    return _drawn(formats if number in whole else [formats[number % 3]] for number in count())


def command(arguments: list[str], way: str = "undrawn()") -> str:
    """A program, for tests.forks, that is ``fedmtl`` with these arguments, and draws in one of the ways above."""
    return (
        "import sys, fedmtl.__main__\n"
        "from tests import pictures\n"
        f"sys.argv = {['fedmtl', *arguments]!r}\n"
        f"with pictures.{way}: fedmtl.__main__.main()"
    )

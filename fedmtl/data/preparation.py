"""Choices by which a recipe is made of a table."""

from dataclasses import dataclass

from fedmtl.core.bounds import check_int, shown
from fedmtl.data.cleaning import CLEAN, checked_steps
from fedmtl.data.recipe import LONGEST_TEXT
from fedmtl.data.words import FIRST

SCALES = ("pooled", "client", "none")


@dataclass(frozen=True)
class Preparation:
    """Choices by which a recipe is made.

    Raises:
        ValueError: a word that is none of those that there are, or a size out of range.
    """

    impute: str = ""
    """ "mean": missing features are filled, and say so in a further input; empty: they are an error."""
    scale: str = "pooled"
    """Numbers are standardised by all clients' training rows, "pooled", by those of their own "client", or "none"."""
    vocabulary: int = 10_000
    """Tokens at most, padding and unknown words among them: the rows of an embedding."""
    min_count: int = 2
    """Least count of a word, over the training texts of all clients."""
    length: int = 128
    """Tokens of a text at most."""
    clean: tuple[str, ...] = CLEAN
    """Steps of cleaning of a text."""
    words_sent: int = 0
    """Words that a client counts at most, its most frequent ones; 0 for all."""
    pieces: bool = False
    """Tokens are pieces of words, by byte-pair encoding of the counts of words."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "clean", checked_steps(self.clean))
        if self.impute not in ("", "mean"):
            raise ValueError(f"impute is 'mean', or empty where missing features are an error, got {self.impute!r}.")
        if self.scale not in SCALES:
            raise ValueError(f"scale is one of {', '.join(SCALES)}, got {shown(self.scale)}.")
        check_int("vocabulary", self.vocabulary, FIRST + 1, 10_000_000)
        check_int("min_count", self.min_count, 1)
        check_int("length", self.length, 1, LONGEST_TEXT)
        check_int("words_sent", self.words_sent, 0)

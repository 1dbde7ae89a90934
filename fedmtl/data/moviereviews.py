"""Reviews of films, for or against."""

import lzma
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.data.home import find_file
from fedmtl.data.partition import check_fraction, hold_out
from fedmtl.data.source import DataFile, DataSource
from fedmtl.data.tokens import check_tokens, hashed_tokens
from fedmtl.tasks.binary import Binary

FOLDS = 1000
"""Numbers of the authors' cross-validation; each has a review against and one for a film."""


class Review(NamedTuple):
    """A document."""

    positive: int
    number: int
    """0 to 999, of the authors' cross-validation: its hundreds are the fold."""
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class MovieReviews:
    """2,000 reviews of films: is a review for the film? A fold of the authors' cross-validation is a client.

    Inputs [N, length]: tokens, whole numbers by a hash (``tokens.py``), 0 after the last word; the first ``length``
    words of a review. The task ``positive`` is ``Binary``. The set names no authors, so there are no natural clients;
    consecutive numbers of the cross-validation are one, a review for and one against for each number.

    Whole reviews are tested on.

    Source: Pang and Lee, A sentimental education, ACL 2004: polarity dataset v2.0, as NLTK distributes it.
    """

    clients: int = 10
    """Number of clients; 10 are the authors' folds of 200 reviews."""
    length: int = 256
    """Words that are kept of a review."""
    vocabulary: int = 16384
    """Number of different tokens, padding among them."""
    test_fraction: float = 0.25
    """The part of a client's reviews that is tested on."""

    source: ClassVar[DataSource] = DataSource(
        name="moviereviews",
        clients="10 folds",
        tasks=("positive",),
        examples=2000,
        address="https://www.cs.cornell.edu/people/pabo/movie-review-data/",
        licence="CC BY 4.0 by NLTK's index of corpora; © 2004 Bo Pang and Lillian Lee",
        citation="Pang and Lee, A sentimental education: sentiment analysis using subjectivity summarization based on "
        "minimum cuts, ACL 2004",
        files=(
            DataFile(
                "movie_reviews/movie_reviews.tsv.xz",
                2155644,
                "e1c5278be8af515cdffb6a8c83ce2ecc0679a0e01df5fc17b1d30cc9396dd9ae",
            ),
        ),
        packing="nltk_data's corpus movie_reviews as one table with the columns polarity, cv_id, doc and "
        'sentences_joined_by_bars (" || "), xz-packed.',
    )

    def __post_init__(self) -> None:
        check_tokens("MovieReviews", self.vocabulary, self.length)
        check_fraction("MovieReviews", self.test_fraction)
        if not 1 <= self.clients <= 500:
            raise ValueError(f"MovieReviews has 2,000 reviews, for 1 to 500 clients, got clients={self.clients}.")

    def load(self, seed: int) -> Federation:
        reviews = read()
        x = hashed_tokens([" ".join(review.sentences) for review in reviews], self.vocabulary, self.length)
        y = np.array([review.positive for review in reviews], np.float32)
        owner = np.array([review.number * self.clients // FOLDS for review in reviews])
        clients = {}
        for client in range(self.clients):
            own = np.flatnonzero(owner == client)
            parts = (own[some] for some in hold_out(len(own), self.test_fraction, seed, client))
            clients[client] = ClientData(*(Split(x[rows], {"positive": y[rows]}) for rows in parts))
        return Federation({"positive": Binary()}, (self.length,), clients, tokens=self.vocabulary)


def read() -> list[Review]:
    """All reviews, in the file's order.

    Raises:
        FileNotFoundError, ValueError: as ``find_file``.
    """
    path = find_file(MovieReviews.source, "movie_reviews/movie_reviews.tsv.xz")
    with lzma.open(path, "rt", encoding="utf-8", newline="\n") as file:
        _, *rows = (line.rstrip("\n").split("\t") for line in file)
    return [Review(int(row[0] == "pos"), int(row[1].removeprefix("cv")), tuple(row[3].split(" || "))) for row in rows]

"""Customers' reviews of fourteen products: the polarity of sentences, and the topic of whole reviews."""

import gzip
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.random import rng
from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.data.home import find_file
from fedmtl.data.partition import check_fraction, dirichlet, hold_out
from fedmtl.data.source import DataFile, DataSource
from fedmtl.data.tokens import check_tokens, hashed_tokens
from fedmtl.data.words import tokenize
from fedmtl.tasks.base import Task
from fedmtl.tasks.multiclass import MultiClass

POLARITIES = ("negative", "none", "positive")

TOPICS = (
    "baby_care", "camera", "dvd_player", "mp3_player", "network_router", "phone", "power_tool", "software",
)  # fmt: skip

TASKS: dict[str, Task] = {"polarity": MultiClass(3, POLARITIES), "topic": MultiClass(len(TOPICS), TOPICS)}

RUN = 12
"""Sentences of a document where a product's file marks none; documents that are marked have 11.7 on average."""


class Document(NamedTuple):
    """A review, or a run of sentences of a product whose file marks no reviews."""

    product: str
    topic: int
    marked: bool
    texts: tuple[str, ...]
    polarities: tuple[int, ...]
    """One of each sentence: 0 negative, 1 no opinion, 2 positive."""


@dataclass(frozen=True)
class ProductReviews:
    """8,194 sentences of reviews of fourteen products: which opinion has a sentence, and what is the review about?

    Inputs [N, length]: tokens, whole numbers by a hash (``tokens.py``), 0 after the last word. A sentence is an example
    of ``polarity`` (negative, none, positive), a document one of ``topic``, of eight kinds of products; the other label
    of each is missing. The first ``length`` words of a document stand for it.

    A product is a client by default, and then all its documents have one topic: a private head learns ``topic`` at
    once, and a shared one has to distinguish products. With ``clients`` set, that many sites get documents of all
    products, in shares of topics by Dirichlet(``alpha``).

    Whole documents are tested on. A sentence that is word for word in a test document of any client is left out of the
    training examples and of training documents, so that no tested sentence is trained on. The files of two products,
    ipod and Canon PowerShot SD500, mark no reviews: runs of twelve sentences stand for documents, and one unbroken
    stretch of them is tested on where products are clients.

    Source: Hu and Liu, KDD 2004; Ding, Liu and Yu, WSDM 2008; as NLTK distributes them.
    """

    clients: int = 0
    """Number of sites that documents are dealt to; 0: each of the fourteen products is a client."""
    alpha: float = 1.0
    """α of the Dirichlet partition over topics, with ``clients``."""
    length: int = 64
    """Words that are kept of a sentence or a document."""
    vocabulary: int = 4096
    """Number of different tokens, padding among them."""
    test_fraction: float = 0.25
    """The part of a client's documents that is tested on."""
    balanced: bool = False
    """True: the loss of polarity weighs classes as ``class_weights="balanced"`` does, by the training sentences of all
    clients: half of all sentences have no opinion, a sixth a negative one."""

    source: ClassVar[DataSource] = DataSource(
        name="productreviews",
        clients="14 products",
        tasks=("polarity", "topic"),
        examples=8194,
        address="https://www.cs.uic.edu/~liub/FBS/sentiment-analysis.html",
        licence="CC BY 4.0 by NLTK's index of corpora; © 2004, 2007 Bing Liu",
        citation="Hu and Liu, Mining and summarizing customer reviews, KDD 2004; Ding, Liu and Yu, A holistic "
        "lexicon-based approach to opinion mining, WSDM 2008",
        files=(
            DataFile(
                "product_reviews/product_reviews.tsv.gz",
                327087,
                "f01bd7395448afce73a60fe24f2692773f5f5f9cc92c66de3c8bbc09ae13a76e",
            ),
        ),
        packing="nltk_data's corpora product_reviews_1 and product_reviews_2 as one table of sentences with the "
        "columns product, category, review, sentence, polarity, n_aspects, aspects, text.",
    )

    def __post_init__(self) -> None:
        check_tokens("ProductReviews", self.vocabulary, self.length)
        check_fraction("ProductReviews", self.test_fraction)
        if not 0 <= self.clients <= 100:
            raise ValueError(
                f"ProductReviews deals its documents to 1 to 100 sites, or with 0 has products for clients, got "
                f"clients={self.clients}."
            )
        if not (np.isfinite(self.alpha) and self.alpha > 0):
            raise ValueError(f"ProductReviews takes a positive, finite alpha, got alpha={self.alpha}.")

    def load(self, seed: int) -> Federation:
        documents = read()
        products = list(dict.fromkeys(document.product for document in documents))
        owner = np.array([products.index(document.product) for document in documents])
        owned = (
            self._dealt(documents, seed) if self.clients else [np.flatnonzero(owner == k) for k in range(len(products))]
        )
        parts = {client: self._divided(documents, rows, seed, client) for client, rows in enumerate(owned)}
        tested = {plain(text) for _, test in parts.values() for row in test for text in documents[row].texts}
        clients = {
            client: ClientData(
                self._split([without(documents[row], tested) for row in train]),
                self._split([documents[row] for row in test]),
            )
            for client, (train, test) in parts.items()
        }
        names = {} if self.clients else {client: name.replace("_", " ") for client, name in enumerate(products)}
        tasks = dict(TASKS)
        if self.balanced:
            task = MultiClass(len(POLARITIES), POLARITIES, "balanced")
            tasks["polarity"] = task.fitted([data.train.y["polarity"] for data in clients.values()])
        return Federation(tasks, (self.length,), clients, names, tokens=self.vocabulary)

    def _dealt(self, documents: list[Document], seed: int) -> list[NDArray[np.int64]]:
        """The documents of each site."""
        topics = np.array([document.topic for document in documents])
        return [np.sort(rows) for rows in dirichlet(topics, self.clients, self.alpha, 4, seed)]

    def _divided(
        self, documents: list[Document], rows: NDArray[np.int64], seed: int, client: int
    ) -> tuple[list[int], list[int]]:
        """A client's documents to train and to test on."""
        train, test = hold_out(len(rows), self.test_fraction, seed, client)
        if not self.clients and not documents[rows[0]].marked:
            start = int(rng(seed, 0, client, "stretch").integers(len(train) + 1))
            test = np.arange(start, start + len(test))
            train = np.setdiff1d(np.arange(len(rows)), test)
        return rows[train].tolist(), rows[test].tolist()

    def _split(self, documents: list[Document]) -> Split:
        """Examples: all sentences, and then all documents that have any."""
        documents = [document for document in documents if document.texts]
        sentences = [text for document in documents for text in document.texts]
        x = hashed_tokens(
            [*sentences, *(" ".join(document.texts) for document in documents)], self.vocabulary, self.length
        )
        polarity = np.full(len(x), np.nan, np.float32)
        topic = np.full(len(x), np.nan, np.float32)
        polarity[: len(sentences)] = [label for document in documents for label in document.polarities]
        topic[len(sentences) :] = [document.topic for document in documents]
        return Split(x, {"polarity": polarity, "topic": topic})


def without(document: Document, tested: set[str]) -> Document:
    """A document without the sentences that are tested on."""
    pairs = zip(document.texts, document.polarities, strict=True)
    kept = [(text, label) for text, label in pairs if plain(text) not in tested]
    return document._replace(texts=tuple(text for text, _ in kept), polarities=tuple(label for _, label in kept))


def plain(text: str) -> str:
    """A text as its words, by which equal sentences are found."""
    return " ".join(tokenize(text))


def read() -> list[Document]:
    """All documents, in the file's order.

    Raises:
        FileNotFoundError, ValueError: as ``find_file``.
    """
    path = find_file(ProductReviews.source, "product_reviews/product_reviews.tsv.gz")
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        _, *rows = (line.rstrip("\n").split("\t") for line in file)
    groups: dict[tuple[str, str], list[list[str]]] = {}
    for row in rows:
        groups.setdefault((row[0], row[2]), []).append(row)
    reviews: dict[str, int] = {}
    for product, _ in groups:
        reviews[product] = reviews.get(product, 0) + 1
    documents = []
    for (product, _), own in groups.items():
        marked = reviews[product] > 1
        for run in [own] if marked else [own[start : start + RUN] for start in range(0, len(own), RUN)]:
            texts, polarities = tuple(row[7] for row in run), tuple(int(row[4]) + 1 for row in run)
            documents.append(Document(product, TOPICS.index(run[0][1]), marked, texts, polarities))
    return documents

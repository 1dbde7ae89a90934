"""Images of fashion articles."""

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.data.home import find_file, has_files
from fedmtl.data.partition import check_fraction, hold_out
from fedmtl.data.partitions.base import ExampleFacts, as_partition, deal
from fedmtl.data.partitions.dirichlet import Dirichlet
from fedmtl.data.source import DataFile, DataSource
from fedmtl.tasks.multiclass import MultiClass

ARTICLES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def _part(name: str, size: int, sha256: str, packed: int, other: str) -> DataFile:
    """A file of the authors, and its copy in Debian's package, whose gzip header lacks the name."""
    copy = DataFile(f"/usr/share/datasets/fashion-mnist/{name}", packed, other)
    address = f"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{name}"
    return DataFile(f"fashion_mnist/{name}", size, sha256, address, copy)


WHOLE = (
    _part(
        "train-images-idx3-ubyte.gz",
        26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        26421856, "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    ),
    _part(
        "train-labels-idx1-ubyte.gz",
        29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        29491, "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    ),
    _part(
        "t10k-images-idx3-ubyte.gz",
        4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        4422079, "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    ),
    _part(
        "t10k-labels-idx1-ubyte.gz",
        5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        5125, "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
    ),
)  # fmt: skip
"""Images and labels of training and test, 60,000 and 10,000."""


EXCERPT = DataFile(
    "fashion_mnist_7k/fashion_mnist_7k.npz",
    3087535,
    "cb99a85a0ce9c766c49ff85a5b3172761714bda3a0ec61084e18b99d3c09f47f",
)
"""X_train uint8 [6000, 28, 28], y_train, X_test and y_test of ``chosen``."""


class Images(NamedTuple):
    """Images that are trained or tested on, in the authors' order."""

    x: NDArray[np.uint8]
    """[N, 28, 28]."""
    y: NDArray[np.int64]


@dataclass(frozen=True)
class FashionMNIST:
    """Images of fashion articles: which of ten kinds is it? Any number of clients, with label skew.

    Inputs [N, 1, 28, 28], grey values in [0, 1]. The task ``article`` is ``MultiClass(10)``. The set has no natural
    clients: images are dealt out by a Dirichlet(``alpha``) partition over the article, and each client tests on images
    of its own; those that the authors train and test on are taken together.

    7,000 images are used, 600 of the authors' training and 100 of their test images of each article (``chosen``): from
    one small file where it is there, else from the whole set, which gives the same. With ``full``, all 70,000. The
    whole set is the authors' four files, or those of Debian's package dataset-fashion-mnist.

    Source: Xiao, Rasul and Vollgraf, Fashion-MNIST, arXiv:1708.07747.
    """

    clients: int = 20
    alpha: float = 0.5
    """α of the Dirichlet partition."""
    test_fraction: float = 0.25
    """The part of a client's images that it tests on."""
    min_size: int = 8
    """The fewest images a client has."""
    partition: Any = None
    """A partition in place of ``alpha``, such as "FeatureShift(kind='rotation', most=45.0)"; by the article."""
    full: bool = False
    """All 70,000 images."""

    source: ClassVar[DataSource] = DataSource(
        name="fashionmnist",
        clients="any number",
        tasks=("article",),
        examples=70000,
        address="https://github.com/zalandoresearch/fashion-mnist",
        licence="MIT, © 2017 Zalando SE",
        citation="Xiao, Rasul and Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking machine learning "
        "algorithms, arXiv:1708.07747",
        files=WHOLE,
        excerpt=(EXCERPT,),
    )

    def __post_init__(self) -> None:
        check_fraction("FashionMNIST", self.test_fraction)
        most = 70000 if self.full else 7000
        if self.min_size < 2 or not 1 <= self.clients * self.min_size <= most:
            raise ValueError(
                f"FashionMNIST has {most:,} images, for 1 to {most // max(self.min_size, 2):,} clients of at least "
                f"{max(self.min_size, 2)}, got clients={self.clients}, min_size={self.min_size}; change one."
            )
        if not (np.isfinite(self.alpha) and self.alpha > 0):
            raise ValueError(f"FashionMNIST takes a positive, finite alpha, got alpha={self.alpha}; 1000 is even.")
        if self.partition is not None:
            object.__setattr__(self, "partition", as_partition(self.partition))

    def load(self, seed: int) -> Federation:
        parts = read(self.full)
        y = np.concatenate([part.y for part in parts])
        x = np.concatenate([part.x for part in parts])
        rule = Dirichlet(self.alpha, self.min_size) if self.partition is None else self.partition
        dealt = deal(rule, ExampleFacts(len(y), y, tasks=("article",), shape=(1, 28, 28)), self.clients, seed)
        clients = {}
        for client, rows in enumerate(dealt.rows):
            own = x[rows, None].astype(np.float32) / 255
            own = dealt.changes[client](own) if dealt.changes else own
            parts = hold_out(len(rows), self.test_fraction, seed, client)
            clients[client] = ClientData(*(Split(own[some], {"article": y[rows[some]]}) for some in parts))
        return Federation({"article": MultiClass(10, ARTICLES)}, (1, 28, 28), clients)


def read(full: bool) -> tuple[Images, Images]:
    """The images that the authors train and test on: all, or 7,000.

    Raises:
        FileNotFoundError, ValueError: as ``find_file``.
    """
    if full or not has_files((EXCERPT,)):
        files = [find_file(FashionMNIST.source, file.path) for file in WHOLE]
        train, test = (Images(_idx(files[k], 16).reshape(-1, 28, 28), _idx(files[k + 1], 8)) for k in (0, 2))
        if full:
            return train, test
        rows = chosen(train.y, test.y)
        return Images(train.x[rows[0]], train.y[rows[0]]), Images(test.x[rows[1]], test.y[rows[1]])
    with np.load(find_file(FashionMNIST.source, EXCERPT.path), allow_pickle=False) as raw:
        return (
            Images(raw["X_train"], raw["y_train"].astype(np.int64)),
            Images(raw["X_test"], raw["y_test"].astype(np.int64)),
        )


def chosen(train: NDArray[np.int64], test: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the 7,000 images: 600 of each class, then 100 of each, drawn by NumPy's old generator with seed 0."""
    draw = np.random.RandomState(0)  # its numbers never change, and the small file was drawn with it
    parts = []
    for labels, count in ((train, 600), (test, 100)):
        rows = [draw.choice(np.flatnonzero(labels == label), count, replace=False) for label in range(len(ARTICLES))]
        parts.append(np.sort(np.concatenate(rows)))
    return parts[0], parts[1]


def _idx(path: Path, header: int) -> NDArray[Any]:
    """The bytes of a gzip-packed IDX file after its header; labels as whole numbers."""
    with gzip.open(path) as file:
        found = np.frombuffer(file.read(), np.uint8)[header:]
    return found if header == 16 else found.astype(np.int64)

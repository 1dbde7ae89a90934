"""Characters of eight alphabets, drawn by hand."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.random import rng
from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.data.home import find_file
from fedmtl.data.partition import check_fraction, hold_out
from fedmtl.data.source import DataFile, DataSource
from fedmtl.tasks.base import Task
from fedmtl.tasks.multiclass import MultiClass

ALPHABETS = {
    "Balinese": 24, "Early_Aramaic": 22, "Greek": 24, "Korean": 40, "Latin": 26, "Japanese_katakana": 47,
    "Sanskrit": 42, "Tagalog": 17,
}  # fmt: skip
"""Task -> number of characters, in the file's order."""

DRAWERS = 20
"""People that drew an alphabet, each character once; those of two alphabets are others."""


class Drawings(NamedTuple):
    """All images, in the file's order."""

    x: NDArray[np.float32]
    """[N, 1, 28, 28] in [0, 1], ink is 1."""
    alphabet: NDArray[np.int64]
    character: NDArray[np.int64]
    """From 0 in its alphabet."""
    drawer: NDArray[np.int64]
    """From 0 in its alphabet."""


@dataclass(frozen=True)
class Omniglot:
    """4,840 images of characters: which of its alphabet is it? A person that drew an alphabet is a client.

    Inputs [N, 1, 28, 28] in [0, 1]. The eight tasks are ``MultiClass`` over the characters of an alphabet; a client has
    the task of its alphabet alone.

    A drawer has one image of each character, so with one drawer a client, the tested characters are those that this
    client never trains on: other drawers of the alphabet train them, and a private head cannot know them. With
    ``drawers`` of 2 or more, a client is that many drawers of an alphabet, who train on all characters, and one of them
    is tested on, whole: a hand that training has not seen.

    Source: Lake, Salakhutdinov and Tenenbaum, Human-level concept learning through probabilistic program induction,
    Science 350, 2015; the two small background sets.
    """

    drawers: int = 1
    """Drawers of a client: 1, 2, 4, 5, 10 or 20."""
    test_fraction: float = 0.25
    """The part of the characters that is tested on, with one drawer a client."""

    source: ClassVar[DataSource] = DataSource(
        name="omniglot",
        clients="160 drawers",
        tasks=tuple(ALPHABETS),
        examples=4840,
        address="https://github.com/brendenlake/omniglot/tree/057f034baf2e/python",
        licence="MIT, © 2015 Brenden Lake",
        citation="Lake, Salakhutdinov and Tenenbaum, Human-level concept learning through probabilistic program "
        "induction, Science 350, 2015",
        files=(
            DataFile(
                "omniglot_small/omniglot_small.npz",
                451168,
                "f946ac765d028728809c738ba6232fcdb48527ded6dc660e75a676995e9a54a5",
            ),
        ),
        packing="images_background_small1 and small2 without duplicates, 105 x 105 to 28 x 28 by Lanczos, ink high, 16 "
        "grey values, in one npz: X uint8, alphabet, character, drawer.",
    )

    def __post_init__(self) -> None:
        if self.drawers < 1 or DRAWERS % self.drawers:
            raise ValueError(
                f"Omniglot divides {DRAWERS} drawers of an alphabet evenly, got drawers={self.drawers}; use 1, 2, 4, "
                "5, 10 or 20."
            )
        check_fraction("Omniglot", self.test_fraction)

    def load(self, seed: int) -> Federation:
        drawings = read()
        tasks: dict[str, Task] = {name: MultiClass(characters) for name, characters in ALPHABETS.items()}
        clients, names = {}, {}
        for alphabet, name in enumerate(ALPHABETS):
            for first in range(0, DRAWERS, self.drawers):
                client = len(clients)
                own = np.flatnonzero(
                    (drawings.alphabet == alphabet)
                    & (drawings.drawer >= first)
                    & (drawings.drawer < first + self.drawers)
                )
                parts = self._divided(own, drawings.drawer[own] - first, seed, client)
                clients[client] = ClientData(
                    *(Split(drawings.x[rows], {name: drawings.character[rows]}) for rows in parts)
                )
                last = first + self.drawers - 1
                names[client] = f"{name} {first}" + (f"-{last}" if last > first else "")
        return Federation(tasks, (1, 28, 28), clients, names)

    def _divided(
        self, own: NDArray[np.int64], drawer: NDArray[np.int64], seed: int, client: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if self.drawers == 1:
            train, test = hold_out(len(own), self.test_fraction, seed, client)
            return own[train], own[test]
        tested = drawer == rng(seed, 0, client, "drawer").integers(self.drawers)
        return own[~tested], own[tested]


def read() -> Drawings:
    """All images, in the file's order.

    Raises:
        FileNotFoundError, ValueError: as ``find_file``.
    """
    with np.load(find_file(Omniglot.source, "omniglot_small/omniglot_small.npz"), allow_pickle=False) as raw:
        x = raw["X"][:, None].astype(np.float32) / 255
        return Drawings(x, *(raw[name].astype(np.int64) for name in ("alphabet", "character", "drawer")))

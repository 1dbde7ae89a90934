"""Private states of the best version so far, beside those that training goes on from.

A state is copied here when a later one is about to be written over it, so that a run that gets better with every round
copies what it writes, and one that does not copies nothing. A copy's tag is the version that it is for, plus 1; it is 0
while the copy is written, so that a copy that was cut off is made again.
"""

from io import FileIO
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

ARRAYS = ("best-rows", "best-versions", "best-sums", "best-tags")
"""Names of the files of a store, after the kind of state."""


class Pinned(NamedTuple):
    """Copies of states of one kind, a row a client of the federation."""

    rows: NDArray[np.uint8]
    """[clients, bytes]."""
    versions: NDArray[np.int64]
    """[clients], 0: the client had no state yet."""
    sums: NDArray[np.uint64]
    tags: NDArray[np.int64]
    file: FileIO | None
    """The file of the rows."""
    reserved: NDArray[np.bool_]
    """Pieces of that file whose space is taken."""

    def lacking(self, best: int, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return a mask of the clients without a copy for a version."""
        return self.tags[places] != best + 1

    def write(
        self,
        best: int,
        places: NDArray[np.int64],
        versions: NDArray[np.int64],
        sums: NDArray[np.uint64],
        rows: NDArray[np.uint8],
    ) -> None:
        """Save the states of some clients: ``rows`` has those of the first ones, and the others had none."""
        self.tags[places] = 0
        self.rows[places[: len(rows)]] = rows
        self.sums[places] = sums
        self.versions[places] = versions
        self.tags[places] = best + 1

    def damaged(self, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return a mask of the copies that do not fit their checksums."""
        bad = [
            bool(self.versions[place]) and xxh3_64_intdigest(self.rows[place].data) != self.sums[place]
            for place in places.tolist()
        ]
        return np.array(bad, bool)

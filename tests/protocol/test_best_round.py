"""The best round: which it is, and that stores keep what clients' states were after it."""

from math import isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedmtl.client.state.base import LostState, StateStore
from fedmtl.client.state.files import FileBackend, MemoryBackend, VersionedFileStore
from fedmtl.client.state.mmap import MmapStateStore
from fedmtl.protocol.best_round import NO_ROUND, BestRound

CLIENTS = np.array([0, 3, 4, 8, 9, 12, 20])
ROUNDS = 14


def test_the_first_of_the_highest_scores_is_the_best() -> None:
    """.1 .5 .5 .4 after rounds 0, 2, 4, 6: round 2; two measured rounds since, which ends a patience of 2, not of 3."""
    best = BestRound()
    assert (best.round, isnan(best.score)) == (NO_ROUND, True)
    for round, score in ((0, 0.1), (2, 0.5), (4, 0.5), (6, 0.4)):
        best = best.after(round, score)
    assert best == BestRound(2, 0.5, 2, 6)
    assert [best.exhausted(patience) for patience in (0, 1, 2, 3)] == [False, True, True, False]


def test_a_model_that_diverged_is_below_all_others() -> None:
    best = BestRound().after(0, nan)
    assert best.round == 0
    assert best.after(1, nan).round == 0
    assert best.after(1, nan).after(2, -5.0) == BestRound(2, -5.0, 0, 2)
    assert best.after(1, -5.0).after(2, nan).round == 1


@pytest.mark.parametrize("kind", ["memory", "files", "a file a client", "a client's memory"])
@pytest.mark.parametrize("seed", range(6))
def test_states_of_the_best_round_stay_whatever_comes_after(kind: str, seed: int, tmp_path: Path) -> None:
    """Against a table of all states ever: random cohorts, measured rounds and bests, rounds run twice, new processes.

    The state of client c after round t is the number 100 t + c. Round t is asked for with the best round that was
    known when round t − 1 was closed, which measured the model of round t − 2 at the latest.
    """

    def make() -> StateStore:
        if kind == "a file a client":
            return VersionedFileStore(FileBackend(tmp_path, fsync=False))
        return MmapStateStore(CLIENTS, tmp_path if kind == "files" else None)

    store: StateStore = VersionedFileStore(MemoryBackend()) if kind == "a client's memory" else make()
    draw = np.random.default_rng(seed)
    after: list[dict[int, int]] = [dict.fromkeys(CLIENTS.tolist(), 0)]  # round -> client -> version
    best = NO_ROUND
    for round in range(1, ROUNDS + 1):
        cohort = np.sort(draw.choice(CLIENTS, draw.integers(1, len(CLIENTS)), replace=False))
        for _ in range(draw.integers(1, 3)):  # a message that came twice, or whose node died
            if kind in ("files", "a file a client") and draw.random() < 0.4:
                store = make()
            states = store.load_rows("k", cohort, round - 1, first)
            wanted = [number(after[-1][client], client) for client in cohort.tolist()]
            assert states["w"].tolist() == wanted
            store.save_rows("k", cohort, round, tree([number(round, client) for client in cohort.tolist()]), best)
            if best != NO_ROUND:
                assert read(store, best) == [number(after[best][client], client) for client in CLIENTS.tolist()]
        after.append({**after[-1], **dict.fromkeys(cohort.tolist(), round)})
        if draw.random() < 0.4:  # the model of the round before was measured with this one, and is the best
            best = round - 1
            assert read(store, best) == [number(after[best][client], client) for client in CLIENTS.tolist()]


def number(version: int, client: int) -> float:
    return float(100 * version + client) if version else 0.0


def first(rows: np.ndarray) -> dict[str, Any]:
    return tree([0.0] * len(rows))


def tree(numbers: list[float]) -> dict[str, Any]:
    return {"w": torch.tensor(numbers), "n": np.array(numbers, np.float64)}


def read(store: StateStore, best: int) -> list[float]:
    return store.load_rows("k", CLIENTS, best, first)["w"].tolist()


def test_a_damaged_copy_is_an_error(tmp_path: Path) -> None:
    store, clients = MmapStateStore(CLIENTS, tmp_path), CLIENTS[:2]
    for round, best in ((1, NO_ROUND), (2, NO_ROUND), (3, 1), (4, 1)):
        store.save_rows("k", clients, round, tree([float(round)] * 2), best)
    assert store.load_rows("k", clients, 1, first)["w"].tolist() == [1.0, 1.0]
    with open(tmp_path / "k.best-rows", "r+b") as file:
        file.write(b"\x55")
    with pytest.raises(LostState, match=r"client\(s\) \(0\).*best round, 1, is damaged"):
        MmapStateStore(CLIENTS, tmp_path).load_rows("k", clients, 1, first)
    assert MmapStateStore(CLIENTS, tmp_path).load_rows("k", clients[1:], 1, first)["w"].tolist() == [1.0]

"""Row numbers: all of them, once each, in the shares that the distribution promises."""

import os
import warnings

import numpy as np
import pytest

from fedmtl.data.partition import dirichlet, few_classes, hold_out, iid

LABELS = np.repeat(np.arange(10), 60)


def everyone(parts: list[np.ndarray]) -> list[int]:
    return sorted(np.concatenate(parts).tolist())


@pytest.mark.parametrize("alpha", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("clients", [1, 2, 15])
def test_dirichlet_gives_each_row_once(alpha: float, clients: int) -> None:
    parts = dirichlet(LABELS, clients, alpha, min_size=3, seed=0)
    assert len(parts) == clients and everyone(parts) == list(range(600))
    assert min(map(len, parts)) >= 3
    assert {part.dtype for part in parts} == {np.dtype(np.int64)}


def test_dirichlet_is_decided_by_the_seed() -> None:
    first, again, other = (dirichlet(LABELS, 5, 1.0, 1, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("alpha", [0.3, 1.0, 10.0])
def test_shares_have_the_dirichlet_moment(alpha: float) -> None:
    """A share p of Dirichlet(α, …, α) over n clients has E[p²] = (α + 1)/(n (nα + 1)).

    200 classes of 100 rows are 200 draws; rounding to whole rows moves a share by at most 1/100.
    """
    clients, classes, rows = 4, 200, 100
    parts = dirichlet(np.repeat(np.arange(classes), rows), clients, alpha, 1, seed=0)
    shares = np.stack([np.bincount(part // rows, minlength=classes) / rows for part in parts])
    expected = (alpha + 1) / (clients * (clients * alpha + 1))
    assert (shares**2).mean() == pytest.approx(expected, rel=0.1)


def test_dirichlet_draws_until_every_client_has_enough_without_a_warning() -> None:
    """At α = 0.1 most draws leave one of 8 clients with fewer than 20 of 600 rows."""
    with warnings.catch_warnings(action="error"):
        for seed in range(5):
            assert min(map(len, dirichlet(LABELS, 8, 0.1, 20, seed))) >= 20


def test_dirichlet_gives_up_with_a_way_out() -> None:
    with pytest.raises(ValueError, match="alpha=0.01 gave each of 20 clients 25 of 600 examples; raise alpha"):
        dirichlet(LABELS, 20, 0.01, 25, seed=0)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("inf"), float("nan")])
def test_dirichlet_needs_a_positive_alpha(alpha: float) -> None:
    with pytest.raises(ValueError, match=f"positive, finite alpha, got alpha={alpha}"):
        dirichlet(LABELS, 5, alpha, 1, seed=0)


def test_too_many_clients_for_the_rows() -> None:
    with pytest.raises(ValueError, match="61 clients with at least 10 examples each need 610, there are 600"):
        dirichlet(LABELS, 61, 1.0, 10, seed=0)
    with pytest.raises(ValueError, match="5 clients .* need 5, there are 4"):
        iid(4, 5, seed=0)
    with pytest.raises(ValueError, match="got clients=0"):
        iid(4, 0, seed=0)


def test_iid_deals_out_evenly_and_at_random() -> None:
    parts, again = iid(103, 10, seed=0), iid(103, 10, seed=0)
    assert everyone(parts) == list(range(103))
    assert {len(part) for part in parts} == {10, 11}
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    assert all(np.ptp(part) > 20 for part in parts)  # Not a run of neighbours.


def test_flower_is_kept_off_the_network() -> None:
    iid(2, 1, seed=0)
    assert os.environ["HF_HUB_OFFLINE"] and os.environ["HF_DATASETS_OFFLINE"]


@pytest.mark.parametrize(
    ("rows", "fraction", "tested"), [(10, 0.25, 2), (11, 0.25, 3), (2, 0.01, 1), (2, 0.99, 1), (5, 0.99, 4)]
)
def test_hold_out_rounds_and_leaves_neither_part_empty(rows: int, fraction: float, tested: int) -> None:
    """2.5 rounds to the even 2, 2.75 to 3."""
    train, test = hold_out(rows, fraction, seed=0, client=3)
    assert len(test) == tested and sorted([*train, *test]) == list(range(rows))


def test_hold_out_differs_by_client_and_seed() -> None:
    tests = {tuple(hold_out(50, 0.5, seed, client)[1]) for seed in range(3) for client in range(3)}
    assert len(tests) == 9


def test_hold_out_needs_two_rows() -> None:
    with pytest.raises(ValueError, match="Client 3 has 1 example.* give it a test part of its own"):
        hold_out(1, 0.5, seed=0, client=3)


@pytest.mark.parametrize(("clients", "classes"), [(10, 1), (7, 2), (15, 3), (4, 10), (60, 10)])
def test_few_classes_gives_each_row_once_and_each_client_so_many_classes(clients: int, classes: int) -> None:
    parts = few_classes(LABELS, clients, classes, seed=3)
    assert everyone(parts) == list(range(600))
    assert {len(set(LABELS[part])) for part in parts} == {classes}
    owners = [sum(k in LABELS[part] for part in parts) for k in range(10)]
    assert max(owners) - min(owners) <= 1


@pytest.mark.parametrize(
    ("clients", "classes", "message"),
    [
        (5, 11, "1 to 10 of the 10 classes, got classes=11"),
        (5, 0, "got classes=0"),
        (4, 2, "own 8 parts of 10 classes"),
        (61, 10, "own 610 parts of 10 classes, which have 60 to 60 examples"),
    ],
)
def test_few_classes_that_cannot_be(clients: int, classes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        few_classes(LABELS, clients, classes, seed=0)

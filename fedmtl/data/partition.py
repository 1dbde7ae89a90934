"""Partitions: labels -> one array of row numbers a client.

The partitions are flwr-datasets' own, so that "Dirichlet(0.3)" here is "Dirichlet(0.3)" there. It wants a
``datasets.Dataset``; it gets one with two columns, the label and the row.
"""

import hashlib
import importlib.metadata
import io
import logging
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.files import write_atomic
from fedmtl.core.own_cache import is_own, own_cache
from fedmtl.core.random import SERVER, rng
from fedmtl.data.flower_partitioners import flower_partitioners

if TYPE_CHECKING:
    from flwr_datasets.partitioner import Partitioner

log = logging.getLogger("fedmtl")

REDRAWS = 10
"""Partitioners that are tried before a Dirichlet partition is given up; each draws eleven times."""


def dirichlet(labels: NDArray[Any], clients: int, alpha: float, min_size: int, seed: int) -> list[NDArray[np.int64]]:
    """Give each class k to the clients in shares p_k ~ Dirichlet(α, …, α); the smaller α, the less alike they are.

    Drawn again until every client has ``min_size`` rows, so a large ``min_size`` favours even shares.

    Args:
        labels: the class of each row, [N].
        clients: how many clients.
        alpha: α > 0.
        min_size: the fewest rows a client may have.
        seed: the experiment's.

    Returns:
        Row numbers, int64 [n_c], shuffled, for each client; together each row exactly once.

    Raises:
        ValueError: α is not a positive number, more rows asked for than there are, or every draw left a client
            with fewer than ``min_size`` rows.

    Source: Yurochkin et al., Bayesian nonparametric federated learning of neural networks, ICML 2019,
    arXiv:1905.12022.
    """
    if not (np.isfinite(alpha) and alpha > 0):
        raise ValueError(f"A Dirichlet partition takes a positive, finite alpha, got alpha={alpha}; iid has no alpha.")
    check_sizes(len(labels), clients, min_size)
    # Importing Flower's partitioners takes seconds and two hundred megabytes, in every worker and for every
    # message on a device: a partition is drawn once and kept.
    key = repr((clients, alpha, min_size, seed, importlib.metadata.version("flwr-datasets")))
    name = hashlib.sha256(key.encode() + np.asarray(labels, np.int64).tobytes()).hexdigest()
    return _kept(f"{name[:32]}.npz", len(labels), clients, lambda: _draw(labels, clients, alpha, min_size, seed))


def _draw(labels: NDArray[Any], clients: int, alpha: float, min_size: int, seed: int) -> list[NDArray[np.int64]]:
    from_flower = flower_partitioners()
    draw = rng(seed, 0, SERVER, "partition")
    for _ in range(REDRAWS):
        partitioner = from_flower.DirichletPartitioner(
            num_partitions=clients,
            partition_by="label",
            alpha=float(alpha),
            min_partition_size=min_size,
            self_balancing=False,
            seed=int(draw.integers(2**31)),
        )
        try:
            # It warns at every draw that is thrown away, and raises after eleven of them.
            with warnings.catch_warnings(action="ignore", category=UserWarning):
                return _rows(partitioner, labels, np.arange(len(labels)), clients)
        except ValueError as error:
            if "max number of attempts" not in str(error):
                raise
    raise ValueError(
        f"No Dirichlet draw with alpha={alpha} gave each of {clients} clients {min_size} of {len(labels)} examples; "
        "raise alpha, or lower min_size or the number of clients."
    )


def _kept(name: str, size: int, clients: int, draw: Callable[[], list[NDArray[np.int64]]]) -> list[NDArray[np.int64]]:
    """The partition of ``size`` rows in a file of the cache, or drawn and written there where that is possible."""
    try:
        path = own_cache("partitions") / name
    except OSError as error:
        log.debug("the partition is not kept: %s", error)
        return draw()
    kept = _read(path, size, clients)
    if kept is not None:
        return kept
    parts = draw()
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{f"{client}": rows for client, rows in enumerate(parts)})
    try:
        write_atomic(path, buffer.getvalue(), fsync=False)
        path.chmod(0o600)
    except OSError:
        log.debug("the partition is not kept: %s cannot be written", path)
    return parts


def _read(path: Path, size: int, clients: int) -> list[NDArray[np.int64]] | None:
    """The arrays of a file that holds each row once; None where it is absent, or damaged by other hands."""
    most = 8 * size + 1024 * (clients + 1)
    if not is_own(path, most):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > most:  # packed, which no file of ours is
                return None
        with np.load(path, allow_pickle=False) as arrays:
            parts = [arrays[f"{client}"] for client in range(clients)]
        rows = np.concatenate(parts)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, NotImplementedError):
        return None
    is_whole = rows.dtype == np.int64 and rows.ndim == 1 and np.array_equal(np.sort(rows), np.arange(size))
    return parts if is_whole else None


def iid(size: int, clients: int, seed: int) -> list[NDArray[np.int64]]:
    """Give ``size`` rows to the clients at random, in numbers that differ by at most one.

    Returns:
        Row numbers, int64 [n_c], for each client; together each row exactly once.

    Raises:
        ValueError: more clients than rows.
    """
    check_sizes(size, clients, 1)
    # Flower's IID partitioner cuts the rows as they lie, so they are shuffled before.
    order = rng(seed, 0, SERVER, "partition").permutation(size)
    return _rows(flower_partitioners().IidPartitioner(clients), np.zeros(size, np.int64), order, clients)


def few_classes(labels: NDArray[Any], clients: int, classes: int, seed: int) -> list[NDArray[np.int64]]:
    """Give each client rows of exactly ``classes`` classes, and each class to equally many clients, give or take one.

    Clients take, one after another, the classes that have the fewest owners so far, and a class's rows are dealt
    evenly among its owners. So clients differ in their labels but hardly in size, however few classes each has;
    flwr-datasets' ``PathologicalPartitioner`` draws the owners, whose numbers then differ at random, and with them the
    sizes of clients.

    Args:
        labels: the class of each row, whole numbers [N].
        clients: how many clients.
        classes: of each client.
        seed: the experiment's.

    Returns:
        Row numbers, int64 [n_c], sorted, for each client; together each row exactly once.

    Raises:
        ValueError: more classes asked for than there are, a class without an owner, or one with more owners than rows.

    Source: McMahan et al., AISTATS 2017, section 3 (clients of two digits each), arXiv:1602.05629.
    """
    known, counts = np.unique(labels, return_counts=True)
    if not 1 <= classes <= len(known):
        raise ValueError(f"Clients have 1 to {len(known)} of the {len(known)} classes, got classes={classes}.")
    most_owners = -(-clients * classes // len(known))
    if clients * classes < len(known) or most_owners > counts.min():
        raise ValueError(
            f"{clients} clients of {classes} classes each own {clients * classes} parts of {len(known)} classes, which "
            f"have {counts.min()} to {counts.max()} examples; each class needs an owner, and each owner an example."
        )
    draw = rng(seed, 0, SERVER, "partition")
    owners: list[list[int]] = [[] for _ in known]
    for client in range(clients):
        rarest = sorted(draw.permutation(len(known)).tolist(), key=lambda k: len(owners[k]))[:classes]
        for k in rarest:
            owners[k].append(client)
    parts: list[list[NDArray[np.int64]]] = [[] for _ in range(clients)]
    for k, own in enumerate(owners):
        # The first parts have one more row where the division leaves a rest: the smallest clients get those.
        smallest_first = sorted(draw.permutation(own).tolist(), key=lambda client: sum(map(len, parts[client])))
        shares = np.array_split(draw.permutation(np.flatnonzero(labels == known[k])), len(own))
        for client, share in zip(smallest_first, shares, strict=True):
            parts[client].append(share)
    return [np.sort(np.concatenate(own)) for own in parts]


def hold_out(rows: int, fraction: float, seed: int, client: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split one client's rows at random into (train, test), both sorted and neither empty.

    round(fraction · rows) rows are tested, but at least one and at most all but one.

    Raises:
        ValueError: fewer than two rows.
    """
    if rows < 2:
        raise ValueError(
            f"Client {client} has {rows} example(s), too few to divide into train and test; "
            "give it more, leave it out, or give it a test part of its own."
        )
    order = rng(seed, 0, client, "split").permutation(rows)
    tested = min(max(round(fraction * rows), 1), rows - 1)
    return np.sort(order[tested:]), np.sort(order[:tested])


def check_fraction(who: str, test_fraction: float) -> None:
    """Refuse a test fraction outside (0, 1)."""
    if not isinstance(test_fraction, int | float | np.number) or not 0 < test_fraction < 1:
        raise ValueError(f"{who} tests on a fraction in (0, 1) of the examples, got test_fraction={test_fraction!r}.")


def check_sizes(size: int, clients: int, min_size: int) -> None:
    """Refuse more clients, with the examples that each must have, than there are examples for."""
    if clients < 1:
        raise ValueError(f"A partition needs at least one client, got clients={clients}.")
    if clients * min_size > size:
        raise ValueError(
            f"{clients} clients with at least {min_size} examples each need {clients * min_size}, there are {size}; "
            "lower the number of clients or min_size."
        )


def _rows(
    partitioner: "Partitioner", labels: NDArray[Any], rows: NDArray[Any], clients: int
) -> list[NDArray[np.int64]]:
    """Return the partitioner's row numbers of each client."""
    from datasets import Dataset

    class Columns(Dataset):
        """Columns are arrays: one of the library's own is read row by row."""

        def __getitem__(self, key: Any) -> Any:
            return np.asarray(super().__getitem__(key)[:]) if isinstance(key, str) else super().__getitem__(key)

    partitioner.dataset = Columns.from_dict({"label": labels, "row": rows})
    return [np.asarray(partitioner.load_partition(client)["row"][:], np.int64) for client in range(clients)]

"""Label skew against counts by hand."""

import numpy as np
import pytest

from fedmtl.data import ClientData, Federation, Split
from fedmtl.data.skew import label_skew
from fedmtl.tasks import Binary, MultiClass, MultiLabel, Regression
from fedmtl.tasks.base import Task

NAN = float("nan")


def federation(task: Task, labels: dict[int, list]) -> Federation:
    """Clients with those labels, of which the last is the test part."""
    clients = {}
    for client, own in labels.items():
        y, x = np.array(own, np.float64), np.zeros((len(own), 1), np.float32)
        clients[client] = ClientData(Split(x[:-1], {"t": y[:-1]}), Split(x[-1:], {"t": y[-1:]}))
    return Federation({"t": task}, (1,), clients)


def test_classes() -> None:
    """Shares (1, 0, 0), (0, ½, ½) and pooled (½, ¼, ¼): distances ½ (½ + ¼ + ¼) = ½ of both. NaN counts nowhere."""
    task = MultiClass(3, ("a", "b", "c"))
    found = label_skew(federation(task, {0: [0, 0, 0, 0], 3: [1, 1, NAN, 2, 2]}))["t"]
    assert found.clients.tolist() == [0, 3] and found.labelled.tolist() == [4, 4] and found.names == ("a", "b", "c")
    assert found.counts.tolist() == [[4, 0, 0], [0, 2, 2]] and found.skew == pytest.approx(0.5)
    assert found.own.tolist() == pytest.approx([0.5, 0.5])


def test_two_classes_without_names() -> None:
    """Shares of 1: 0 and 1, pooled 1/3: distances 1/3 and 2/3."""
    found = label_skew(federation(Binary(), {0: [0, 0, 0, 0], 1: [1, 1]}))["t"]
    assert found.counts.tolist() == [[4, 0], [0, 2]] and found.names == ("0", "1")
    assert found.own.tolist() == pytest.approx([1 / 3, 2 / 3])
    assert found.skew == pytest.approx(0.5)


def test_labels() -> None:
    """Shares (1, 0) and (0, 0), pooled (½, 0): distances over two labels ¼ and ¼."""
    found = label_skew(federation(MultiLabel(2), {0: [[1, 0], [1, 0]], 1: [[0, 0], [0, NAN]]}))["t"]
    assert found.counts.tolist() == [[2, 0], [0, 0]] and found.skew == pytest.approx(0.25)


def test_numbers() -> None:
    """Means 1 and 5 about 3, n = 2 and 2: between 2·4 + 2·4 = 16, and in all 16 + 2·1 + 2·1 = 20."""
    found = label_skew(federation(Regression(), {0: [0, 2], 1: [4, 6]}))["t"]
    assert found.means.tolist() == [1, 5] and found.stds.tolist() == [1, 1] and not found.names
    assert found.skew == pytest.approx(16 / 20) and found.own.tolist() == pytest.approx([8 / 20, 8 / 20])


def test_equal_clients_have_none() -> None:
    assert label_skew(federation(MultiClass(2), {0: [0, 1], 1: [1, 0]}))["t"].skew == 0
    assert label_skew(federation(Regression(), {0: [3, 3], 1: [3, 3]}))["t"].skew == 0


def test_a_client_without_a_label_has_no_part() -> None:
    """Shares (1, 0) of the only client with labels are those of all."""
    found = label_skew(federation(MultiClass(2), {0: [0, 0], 1: [NAN, NAN]}))["t"]
    assert found.own.tolist()[0] == 0 and np.isnan(found.own[1]) and found.skew == 0
    numbers = label_skew(federation(Regression(), {0: [1, 2], 1: [NAN, NAN]}))["t"]
    assert numbers.own.tolist()[0] == 0 and np.isnan(numbers.own[1]) and numbers.skew == 0

"""Links, devices and availability: functions of (seed, client, time), for each registered component."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmtl.registry.components import REGISTRY, describe, make
from fedmtl.timing.availability import Daily, Windows
from fedmtl.timing.checks import BYTES
from fedmtl.timing.devices import DeviceClasses
from fedmtl.timing.links import Constant, LogNormal, Markov, Shared, Trace, Unlimited
from fedmtl.timing.make_trace import make_trace
from fedmtl.timing.transfer import fair, transfer

CLIENTS = np.array([3, 0, 7, 1_000_000, 4])
TIMES = np.array([0.0, 59.999, 3600.5, 86_400.0, 1e7])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("traces")
    make_trace(Markov(bad=0.05), folder / "links.csv", clients=4, seconds=100.0, seed=5)
    (folder / "windows.csv").write_text("client,start,end\na,0,10\na,10,20\na,90,100\nb,0,100\nc,50,60\n")
    return {"Trace": str(folder / "links.csv"), "Windows": str(folder / "windows.csv")}


def components(kind: str, files: dict[str, str]) -> list[Any]:
    return [make(kind, {"name": name, **({"path": files[name]} if name in files else {})}) for name in REGISTRY[kind]]


def test_components_are_functions_of_seed_client_and_time(files: dict[str, str]) -> None:
    """Each client alone, in any order and in another process as in a cohort; a rate holds until it changes."""
    for link in [*components("link", files), Trace(files["Trace"], shuffle=True)]:
        again = pickle.loads(pickle.dumps(link))
        for upward in (False, True):
            rates, until = link.rates(1, CLIENTS, TIMES, upward)
            assert (until > TIMES).all() and (rates >= 0).all()
            for k in range(len(CLIENTS)):
                own = again.rates(1, CLIENTS[k : k + 1], TIMES[k : k + 1], upward)
                assert (own[0][0], own[1][0]) == (rates[k], until[k])
            later, _ = link.rates(1, CLIENTS, np.minimum(TIMES + 0.9 * (until - TIMES), 1e9), upward)
            assert (later == rates).all()
    for one in components("availability", files):
        until = one.until(1, CLIENTS, TIMES)
        assert ((until > TIMES) | (until == -np.inf)).all()
        assert until.tolist() == [one.until(1, CLIENTS[k : k + 1], TIMES[k : k + 1])[0] for k in range(5)]
    for one in components("device", files):
        assert (one.seconds(1, CLIENTS, TIMES) == one.seconds(1, CLIENTS[::-1], TIMES[::-1])[::-1]).all()
        assert (one.watts(1, CLIENTS) >= 0).all()


def test_components_are_made_again_from_their_tables(files: dict[str, str]) -> None:
    for kind in ("link", "availability", "device", "policy", "radio"):
        for one in components(kind, files):
            assert make(kind, describe(kind, one)) == one


@pytest.mark.parametrize("link", [LogNormal(1.0, 1.0, tau=1.0, period=3.0), Markov(1.0, 1.0, bad=0.0, step=2.0)])
def test_transfers_integrate_bandwidth(link: Any) -> None:
    """The bytes that a client moves until its end are the integral of its bandwidth, here by the midpoints of steps
    that divide the periods."""
    clients, start, size = np.arange(6), np.full(6, 17.25), np.full(6, 2e6)
    end, moved = transfer(link, 3, clients, start, size, upward=False)
    assert (moved == size).all()
    for k in range(6):
        edges = np.append(np.arange(17.25, end[k], 0.25), end[k])
        middle = (edges[1:] + edges[:-1]) / 2
        rates, _ = link.rates(3, np.full(len(middle), k), middle, False)
        assert (rates * np.diff(edges)).sum() == pytest.approx(2e6, rel=1e-9)
    stop = start + (end - start) / 2
    end, moved = transfer(link, 3, clients, start, size, False, stop)
    assert (end == stop).all() and (moved < size).all()
    rest, _ = transfer(link, 3, clients, stop, size - moved, False)
    assert rest == pytest.approx(transfer(link, 3, clients, start, size, False)[0], rel=1e-12)


def test_a_shared_server_is_max_min_fair() -> None:
    """Rates of 1, 5 and 5 under 9: the first keeps 1, the others have 4. Three transfers of 8 bytes, the third of which
    begins at 1: until then 4 and 4 of 8, then 8/3 each, so that the first two end at 1 + 4 / (8/3) = 2.5, and the
    third,
    with 4 left, at 2.5 + 4/8 = 3.0; bytes are millions."""
    assert fair(np.array([1.0, 5.0, 5.0]), 9.0).tolist() == [1.0, 4.0, 4.0]
    assert fair(np.array([np.inf, 1.0]), 9.0).tolist() == [8.0, 1.0]
    link = Shared(Constant(64.0, 64.0), down_mbps=64.0)
    start, size = np.array([0.0, 0.0, 1.0]), np.full(3, 8e6)
    end, moved = transfer(link, 0, np.arange(3), start, size, upward=False)
    assert end == pytest.approx([2.5, 2.5, 3.0], rel=1e-12) and (moved == size).all()
    wide, _ = transfer(Shared(LogNormal(), 1e6, 1e6), 0, np.arange(9), np.zeros(9), np.full(9, 1e7), True)
    assert wide == pytest.approx(transfer(LogNormal(), 0, np.arange(9), np.zeros(9), np.full(9, 1e7), True)[0])
    alone, _ = transfer(Shared(Unlimited(), 8.0, 8.0), 0, np.arange(2), np.zeros(2), np.full(2, 1e6), True)
    assert alone.tolist() == [2.0, 2.0]


def test_laws_of_bandwidth() -> None:
    """20,000 clients. LogNormal: the logarithm over clients has mean ln median and variance σ² + τ². Markov: the share
    of bad states is bad / (good + bad), and two states that are a step s apart differ with probability
    2 π (1 − π) (1 − exp(−s (1/good + 1/bad))). Each within four standard errors."""
    clients = np.arange(20_000)
    rates, until = LogNormal(20.0, 5.0, 0.5, 0.3).rates(0, clients, np.full(20_000, 61.0), True)
    logs = np.log(rates / (5 * BYTES))
    assert abs(logs.mean()) < 4 * 0.583 / 141 and abs(logs.var() - 0.34) < 4 * 0.34 / 100 and (until == 120).all()
    link, number = Markov(good_seconds=60.0, bad_seconds=15.0, step=5.0), np.full(20_000, 40)
    now, then = (link.is_bad(0, clients, at) for at in (number, number + 1))
    change = 2 * 0.2 * 0.8 * (1 - np.exp(-5 / 60 - 5 / 15))
    assert abs(now.mean() - 0.2) < 4 * 0.4 / 141 and abs((now != then).mean() - change) < 4 * 0.31 / 141


def test_laws_of_devices_and_windows() -> None:
    """Shares of classes and of clients that are there, 8 of 24 hours on 9 of 10 days: within four standard errors."""
    clients = np.arange(20_000)
    classes = DeviceClasses((9.0, 3.0), (1.0, 2.0), (1.0, 3.0)).classes(0, clients)
    assert abs(classes.mean() - 0.75) < 4 * 0.433 / 141
    at = np.random.default_rng(0).uniform(5e6, 6e6, 20_000)
    there = np.isfinite(Daily(missed=0.1).until(0, clients, at))
    assert abs(there.mean() - 0.3) < 4 * 0.458 / 141


def test_windows_that_touch_are_one(files: dict[str, str]) -> None:
    """Trace a has 0 to 20 and 90 to 100, which goes on at 0 of the next day of 100 s; b is always there."""
    windows = Windows(files["Windows"], seconds=100.0)
    until = windows.until(0, np.array([0, 0, 0, 1, 2, 2, 3]), np.array([5.0, 30.0, 195.0, 7.0, 5.0, 155.0, 95.0]))
    assert until.tolist() == [20.0, -np.inf, 220.0, np.inf, -np.inf, 160.0, 120.0]


def test_a_trace_that_was_made_is_the_link_that_made_it(files: dict[str, str]) -> None:
    """Until the trace begins again; then client 4 has the first one's."""
    made, link = Trace(files["Trace"]), Markov(bad=0.05)
    start, size = np.array([0.0, 10.0, 33.0, 60.0]), np.full(4, 1e7)
    ends = [transfer(one, 5, np.arange(4), start, size, False)[0] for one in (made, link)]
    assert (ends[0] < 100).all() and ends[0] == pytest.approx(ends[1], rel=1e-9)
    assert transfer(made, 5, np.arange(4, 8), start + 100, size, False)[0] == pytest.approx(ends[0] + 100, rel=1e-9)


HEAD = "client,start,end,down_mbps,up_mbps\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,0,10,5,5\n0,12,20,5,5\n", "line 3: a gap, a row starts where the one before ends, 10, got 12"),
        ("0,1,10,5,5\n", "line 2: a gap, the first row of a client starts at 0, 0, got 1"),
        ("0,10,20,5,5\n0,0,10,5,5\n", "line 3: times are not in order, 0 comes after an interval that ends at 20"),
        ("0,0,10,5,5\n1,0,9,5,5\n0,10,20,5,5\n", "line 4: the rows of client '0' are not together"),
        ("0,0,10,-5,5\n", "line 2: numbers are finite and 0 or more, got '0,0,10,-5,5'"),
        ("0,0,10,nan,5\n", "line 2: numbers are finite"),
        ("0,0,inf,1,5\n", "line 2: numbers are finite"),
        ("0,10,10,1,5\n", "line 2: end is after start, got 10 to 10"),
        ("0,0,10,1\n", "line 2: a row is client,start,end,down_mbps,up_mbps, got '0,0,10,1'"),
        ("0,0,ten,1,1\n", "line 2: a row is client,"),
        ("0,0,10,1,0\n", "line 2: a client whose up_mbps is always 0 never ends a transfer"),
        ("", "a trace has one row at least"),
    ],
)
def test_bad_traces(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.csv").write_text(HEAD + text)
    with pytest.raises(ValueError) as error:
        Trace(str(tmp_path / "bad.csv"))
    assert message in str(error.value) and "bad.csv" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("link", "Constant(down_mbps=-1)", "Constant: down_mbps is a finite number above 0, got -1"),
        ("link", "LogNormal(sigma=-1)", "LogNormal: sigma is a finite number from 0 to 5, got -1"),
        ("link", "Markov(bad=2)", "Markov: bad is a finite number from 0 to 1, got 2"),
        ("link", "Trace('nowhere.csv')", "trace 'nowhere.csv': No such file or directory"),
        ("link", "Shared(link=5)", "Shared: link is one such as Constant"),
        ("availability", "Daily(dropout=1.5)", "Daily: dropout is a finite number from 0 to 1, got 1.5"),
        ("availability", "Always(dropout=-0.1)", "Always: dropout is a finite number from 0 to 1, got -0.1"),
        ("device", "DeviceClasses(speeds=[1, 2])", "speeds, watts_of, shares have one number for each class"),
        ("device", "DeviceClasses(names=['a', 'b'])", "different texts, one for each of the 3 classes"),
        ("device", "DeviceClasses(names=['a', 'b', 'a'])", "got ('a', 'b', 'a')"),
        ("device", "DeviceClasses(speeds=[1, 0, 2])", "speeds is a finite number above 0, got 0"),
        ("policy", "Deadline(0)", "Deadline: seconds is a finite number above 0, got 0"),
        ("policy", "OverSelection(0.5)", "OverSelection: factor is a finite number from 1 to 100, got 0.5"),
        ("radio", "LTE(up_mw=-1)", "LTE: up_mw is a finite number of at least 0, got -1"),
    ],
)
def test_bad_components(kind: str, text: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        make(kind, text)
    assert message in str(error.value)


def test_a_transfer_of_more_than_a_month_is_a_mistake() -> None:
    with pytest.raises(RuntimeError, match="Client 7 would move 1,000,000,000 bytes for more than a month; give link"):
        transfer(Constant(1e-6, 1.0), 0, np.array([7]), np.zeros(1), np.full(1, 1e9), False)

"""The contract of engines: each client's own result, in the order of the clients, whatever runs together.

The expectation is each function called by itself, in plain Python. Functions here are pure and blind to what is
masked, as the protocol of algorithms asks, and nothing else.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.core.context import Context
from fedmtl.core.trees import sha256
from fedmtl.core.types import Batch, Params, Payload
from fedmtl.data.batches import make_batches
from fedmtl.engines import Engine, Loop, VMap
from fedmtl.engines.trace import waits
from fedmtl.registry.components import REGISTRY, find
from tests.conftest import ALL_ENGINES
from tests.engines.jobs import Job, alone, assert_close, run, tensors


class Fitted(NamedTuple):
    """A result of three kinds: a tree, numbers, and nothing."""

    private: Any
    sums: dict[str, Tensor]
    nothing: None


def squares(params: Params, batch: Batch) -> Tensor:
    error = batch["x"] @ params["w"] + params["b"] - batch["y.t"]
    return (error**2 * batch["mask"]).sum() / batch["mask"].sum().clamp(min=1)


def fit(lr: float, down: Payload, private: Any, batches: Sequence[Batch], ctx: Context) -> Fitted:
    """Two epochs of gradient steps from the broadcast and the private state."""
    w = sgd(squares, {"w": down["model"]["w"], "b": private[0]["b"]}, batches, lr, epochs=2)
    counts = {"n": num_examples(batches), "rows": torch.stack([(b["mask"] > 0).sum() for b in batches]).sum()}
    return Fitted(({"b": w["b"]}, w["w"]), counts, None)


def fit_alone(down: Payload, private: Params, batches: Sequence[Batch], ctx: Context) -> Params:
    """A function with an empty ``down``."""
    return sgd(squares, private, batches, 0.1)


def fit_model(down: Payload, private: None, batches: Sequence[Batch], ctx: Context) -> Params:
    """A function without private state: ``private`` is None."""
    return sgd(squares, down["model"], batches, 0.1)


def total(down: Payload, private: dict[str, Any], batches: Sequence[Batch], ctx: Context) -> tuple[Tensor, Tensor]:
    """A function of the data alone."""
    sums = [(b["x"].sum(-1) * b["mask"]).sum() for b in batches]
    return torch.stack(sums).sum(), num_examples(batches)


def batches_of(n: int, client: int, size: int | None = 4, d: int = 3) -> list[dict[str, Tensor]]:
    draw = np.random.default_rng(client)
    x, y = draw.standard_normal((n, d)).astype(np.float32), draw.standard_normal(n).astype(np.float32)
    return make_batches(x, {"t": y}, size, draw.permutation(n))


def model(client: int, d: int = 3) -> Params:
    draw = torch.Generator().manual_seed(client)
    return {"w": torch.randn(d, generator=draw), "b": torch.randn((), generator=draw)}


def private_of(client: int) -> tuple[Params, None]:
    return {"b": model(client)["b"]}, None


FIT, FIT_SLOWLY = partial(fit, 0.1), partial(fit, 0.01)
SHARED: Payload = {"model": model(99)}


def one_group() -> list[Job]:
    """Seven clients alike, with 1 to 5 batches, more than most chunks hold; all receive the same object."""
    sizes = [17, 3, 9, 1, 20, 4, 12]
    return [Job(c, FIT, SHARED, private_of(c), batches_of(n, c)) for c, n in enumerate(sizes)]


def own_downs() -> list[Job]:
    """Five clients alike, with different broadcasts."""
    return [Job(c, FIT, {"model": model(50 + c)}, private_of(c), batches_of(5 + c, c)) for c in range(5)]


def equal_downs() -> list[Job]:
    """Three clients receive equal tensors in different objects, one other tensors."""
    downs: list[Payload] = [{"model": model(1)}, {"model": model(1)}, {"model": model(2)}, {"model": model(1)}]
    return [Job(c, FIT, down, private_of(c), batches_of(6, c)) for c, down in enumerate(downs)]


def batch_sizes() -> list[Job]:
    """Batches of 1, 2, 5 and all rows: equal numbers of steps with other sizes, and of rows with other steps."""
    sizes = [1, 2, 5, None, 2]
    return [Job(c, FIT, SHARED, private_of(c), batches_of(6, c, size)) for c, size in enumerate(sizes)]


def functions() -> list[Job]:
    """Two functions that differ in one number, and others with other arguments and results, in turn."""
    jobs = []
    for c in range(0, 12, 4):
        jobs.append(Job(c, FIT, SHARED, private_of(c), batches_of(5 + c, c)))
        jobs.append(Job(c + 1, FIT_SLOWLY, SHARED, private_of(c), batches_of(5 + c, c)))
        jobs.append(Job(c + 2, fit_alone, {}, model(c), batches_of(3 + c, c)))
        jobs.append(Job(c + 3, fit_model, SHARED, None, batches_of(2 + c, c)))
    return jobs


def shapes() -> list[Job]:
    """One function for inputs of 2 and of 3 features, in turn, private states of two structures among them."""
    jobs = []
    for c in range(6):
        d = 2 + c % 2
        jobs.append(Job(c, FIT, {"model": model(c, d)}, private_of(c), batches_of(4 + c, c, d=d)))
    return jobs + [Job(6, FIT, {"model": model(6)}, ({"b": model(6)["b"]}, ()), batches_of(4, 6))]


def data_alone() -> list[Job]:
    """No broadcast and no private state."""
    return [Job(c, total, {}, {}, batches_of(2 + 3 * c, c)) for c in range(4)]


def single() -> list[Job]:
    return [Job(3, FIT, SHARED, private_of(3), batches_of(5, 3))]


WORK: list[Callable[[], list[Job]]] = [
    one_group,
    own_downs,
    equal_downs,
    batch_sizes,
    functions,
    shapes,
    data_alone,
    single,
    list,
]


@cache
def work_of(make: Callable[[], list[Job]]) -> tuple[list[Job], list[Any]]:
    """Jobs, and each one's own result, once for all engines; no test may change them."""
    jobs = make()
    return jobs, alone(jobs)


def test_every_engine_is_under_contract() -> None:
    assert {type(engine) for engine in ALL_ENGINES} == {find("engine", name) for name in REGISTRY["engine"]}


@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
def test_each_client_has_its_own_result(engine: Engine, work: Callable[[], list[Job]]) -> None:
    """The same structure, shapes and dtypes, numbers to 1e-6, in the order of the clients and in reverse."""
    jobs, results = work_of(work)
    assert len({sha256(result) for result in results}) == len(jobs)
    found = run(engine, jobs)
    assert_close(found, results)
    assert [type(result) for result in found] == [type(result) for result in results]
    assert_close(run(engine, jobs[::-1]), results[::-1])


@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
def test_the_loop_is_the_call_itself(work: Callable[[], list[Job]]) -> None:
    """Bit-identical, with any other clients: a cohort of one, and all clients in reverse."""
    jobs, expected = work_of(work)
    results = [sha256(tensors(result)) for result in expected]
    assert [sha256(result) for result in run(Loop(), jobs)] == results
    assert [sha256(result) for result in run(Loop(), jobs[::-1])] == results[::-1]
    assert [sha256(run(Loop(), [job])[0]) for job in jobs] == results


@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
def test_inputs_stay_unchanged_and_repeated_calls_are_bit_identical(
    engine: Engine, work: Callable[[], list[Job]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call is traced, the second is compared with a replay of its graph, and the third replays it."""
    monkeypatch.setattr(waits, "WAIT_SMALL", 0)
    jobs = work()
    inputs = [(job.down, job.private, list(job.batches)) for job in jobs]
    before = sha256(inputs)
    first = sha256(run(engine, jobs))
    for _ in range(2):
        assert sha256(run(engine, jobs)) == first
    assert sha256(inputs) == before


def test_a_client_does_not_depend_on_the_others(engine: Engine) -> None:
    """A client with absurd numbers leaves the others' results unchanged."""
    jobs = one_group()
    absurd = Job(77, FIT, SHARED, ({"b": torch.tensor(float("nan"))}, None), batches_of(11, 77))
    results = run(engine, [*jobs[:3], absurd, *jobs[3:]])
    assert torch.isnan(results[3].private[1]).all()
    assert_close(results[:3] + results[4:], alone(jobs))


def test_results_that_do_not_depend_on_the_client(engine: Engine) -> None:
    """A shared broadcast is returned for each client; a number becomes a tensor, where clients run together."""

    def echo(down: Payload, private: Any, batches: Sequence[Batch], ctx: Context) -> Any:
        return {"said": down["model"]["w"], "seven": 7, "mine": private}

    jobs = [Job(c, echo, SHARED, torch.tensor(float(c)), batches_of(3, c)) for c in range(3)]
    for client, result in enumerate(run(engine, jobs)):
        assert torch.equal(result["said"], SHARED["model"]["w"])
        assert result["seven"] == 7 and result["mine"] == client


def test_whole_numbers_stay_whole(engine: Engine) -> None:
    """Private counters, and the index of rows, by which a client finds its state of an example."""

    def request(down: Payload, private: Any, batches: Sequence[Batch], ctx: Context) -> Any:
        seen = private["seen"]
        for batch in batches:
            seen = seen.index_add(0, batch["index"], batch["mask"].long())
        return {"seen": seen, "round": private["round"] + 1}

    def state(c: int) -> Any:
        return {"seen": torch.zeros(9, dtype=torch.int64), "round": torch.tensor(2**40 + c)}

    jobs = [Job(c, request, {}, state(c), batches_of(9 - 2 * c, c)) for c in range(4)]
    for c, result in enumerate(run(engine, jobs)):
        assert result["seen"].tolist() == [1] * (9 - 2 * c) + [0] * (2 * c)
        assert result["round"].item() == 2**40 + c + 1


class Trouble(Exception):
    pass


def refuse(down: Payload, private: Any, batches: Sequence[Batch], ctx: Context) -> Any:
    raise Trouble("of this client's own making")


def test_an_error_keeps_its_kind_and_names_the_client(engine: Engine) -> None:
    """One of three functions fails; the others' clients are not blamed."""
    jobs = [*one_group(), Job(417, refuse, SHARED, private_of(0), batches_of(5, 0)), *own_downs()]
    with pytest.raises(Trouble, match="of this client's own making") as error:
        run(engine, jobs)
    notes = " ".join(error.value.__notes__)
    assert "while running client" in notes
    assert [word for word in notes.replace("[", " ").replace("]", " ").split() if word.isdigit()] == ["417"]


def test_an_error_of_a_stack_names_its_clients() -> None:
    """It describes how to find the one client. Clients of other chunks are not named."""
    jobs = [Job(c, refuse, SHARED, private_of(c), batches_of(1 + c, c)) for c in (31, 32, 33)]
    with pytest.raises(Trouble) as error:
        run(VMap(chunk=2), jobs)
    assert "[31, 32]" in error.value.__notes__[0] and "engine='loop'" in error.value.__notes__[0]
    with pytest.raises(Trouble) as error:
        run(Loop(), jobs)
    assert error.value.__notes__ == ["while running client 31"]


def test_randomness_inside_a_client_is_refused_when_batched() -> None:
    """It would differ from the loop's: randomness comes from the batches, which are drawn beforehand."""

    def dropout(down: Payload, private: Any, batches: Sequence[Batch], ctx: Context) -> Any:
        return torch.nn.functional.dropout(batches[0]["x"], 0.5)

    with pytest.raises(RuntimeError, match="random"):
        run(VMap(), [Job(c, dropout, {}, {}, batches_of(4, c)) for c in range(2)])


def test_threads_are_as_before(engine: Engine) -> None:
    """One inside, so that results do not depend on the cores; the previous number outside, also after an error."""
    inside = []

    def look(down: Payload, private: Any, batches: Sequence[Batch], ctx: Context) -> Any:
        inside.append(torch.get_num_threads())
        return torch.zeros(())

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        run(engine, [Job(0, look, {}, {}, batches_of(4, 0))])
        assert inside == [1] and torch.get_num_threads() == 3
        with pytest.raises(Trouble):
            run(engine, [Job(0, refuse, {}, {}, batches_of(4, 0))])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("chunk", "sizes"), [(64, [7]), (3, [3, 2, 2]), (1, [1] * 7)])
def test_chunks_hold_clients_of_like_length(chunk: int, sizes: list[int]) -> None:
    """Balanced chunks of at most ``chunk`` clients, the shortest first, so that little is padded."""
    calls: list[int] = []

    def steps(down: Payload, private: Any, batches: Sequence[Batch], ctx: Context) -> Any:
        calls.append(len(batches))
        return private[0]["b"] + sum(b["mask"].sum() for b in batches)

    jobs = [job._replace(function=steps) for job in one_group()]
    results = run(VMap(chunk=chunk), jobs)
    lengths = sorted(len(job.batches) for job in jobs)
    expected = [max(lengths[sum(sizes[:i]) :][:size]) for i, size in enumerate(sizes)]
    # Replays do not call the function; with one client a chunk they start here.
    assert calls == expected if chunk > 1 else list(dict.fromkeys(calls)) == list(dict.fromkeys(expected))
    assert_close(results, alone(jobs))


def test_a_chunk_is_a_number_of_clients() -> None:
    with pytest.raises(ValueError, match="chunk is at least 0, got -3"):
        VMap(chunk=-3)

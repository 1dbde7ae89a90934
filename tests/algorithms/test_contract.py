"""What the protocol says of every algorithm, asked of every algorithm.

Network, data and batches are small but ragged: see tests/conftest.py. What each method *is* stands in its own file.
"""

import dataclasses
import pickle
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

import fedmtl.algorithms
import fedmtl.optimizers
import fedmtl.weightings
from fedmtl.algorithms import (
    Algorithm,
    FedAvg,
    FedPer,
    Local,
    MaTFL,
    Mocha,
    Pooled,
    TaskWeighted,
)
from fedmtl.core.adapters import MERGED
from fedmtl.core.trees import sha256, tree_leaves, tree_map, tree_structure
from fedmtl.core.types import Batch, LocalResult, Params, Payload
from fedmtl.core.uploads import Stack, Uploads, add
from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.engines import Loop, VMap
from fedmtl.engines.base import TaskPadding
from fedmtl.engines.trace import waits
from fedmtl.engines.trace.stages import Stage
from fedmtl.models import Model
from fedmtl.optimizers import Momentum, Optimizer
from fedmtl.registry.components import REGISTRY
from fedmtl.verify.check import CTX
from fedmtl.weightings import DWA, MGDA, CAGrad, Weighting
from tests.algorithms.claims import CLAIMS
from tests.algorithms.rounds import (
    Round,
    State,
    jobs,
    measurements,
    personal,
    play,
    predictors,
    start,
    two_rounds,
    union,
)
from tests.cases import case
from tests.conftest import ALL_ALGORITHMS, UNLIKE, is_binary, tiny, tiny_model, tiny_plan
from tests.engines.jobs import Job, run, tensors

AnyAlgorithm = Algorithm[Any, Any]


def names(tree: Any) -> set[str]:
    """The parameter names in a tree: the keys of what holds tensors."""
    if isinstance(tree, Mapping):
        found = {key for key, value in tree.items() if isinstance(value, Tensor)}
        return found.union(*(names(value) for value in tree.values()))
    return set().union(*map(names, tree)) if isinstance(tree, (tuple, list)) else set()


def leaked(private: Any, payload: Payload) -> set[float]:
    """Numbers of the private state that stand in the payload, wherever they were put and however cut."""

    def values(tree: Any) -> set[float]:
        return {number for leaf in tree_leaves(tree) for number in torch.as_tensor(leaf).reshape(-1).tolist()}

    return values(private) & values(payload)


def odd(tree: Any, seed: int) -> Any:
    """The same structure with numbers that nothing else holds."""
    generator = torch.Generator().manual_seed(seed)
    return tree_map(lambda leaf: 0.3 * torch.randn(leaf.shape, generator=generator), tree)


def assert_close(a: Any, b: Any, atol: float) -> None:
    assert tree_structure(a) == tree_structure(b)
    for one, other in zip(tree_leaves(a), tree_leaves(b), strict=True):
        one, other = torch.as_tensor(one), torch.as_tensor(other)
        gap = float((one.double() - other.double()).abs().max()) if one.numel() else 0.0
        assert gap <= atol, f"{one} is {gap} from {other}"  # NaN is not


def assert_same(a: Any, b: Any) -> None:
    """Bit for bit, NaN and the sign of zero included."""
    assert sha256(a) == sha256(b)


def results(work: Sequence[Job]) -> list[tuple[int, LocalResult[Any]]]:
    return [(job.client, result) for job, result in zip(work, run(Loop(), work), strict=True)]


# ---- the list -------------------------------------------------------------------------------------------------------


def test_every_algorithm_is_under_contract() -> None:
    assert {type(algorithm) for algorithm in ALL_ALGORITHMS} == CLAIMS.keys()
    assert {cls.__name__ for cls in CLAIMS} == REGISTRY["algorithm"].keys()


# ---- an algorithm is a value ----------------------------------------------------------------------------------------


def test_repr_evaluates_to_an_equal_object(algorithm: AnyAlgorithm) -> None:
    again = eval(repr(algorithm), vars(fedmtl.algorithms) | vars(fedmtl.weightings) | vars(fedmtl.optimizers))
    assert again == algorithm and hash(again) == hash(algorithm) and type(again) is type(algorithm)


def test_it_is_frozen_and_its_fields_are_its_identity(algorithm: AnyAlgorithm) -> None:
    assert dataclasses.is_dataclass(algorithm)
    for field in dataclasses.fields(algorithm):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(algorithm, field.name, getattr(algorithm, field.name))
        value = getattr(algorithm, field.name)
        if isinstance(value, (int, float, tuple)):
            changed: Any = 2 * value
        elif field.name == "weighting":
            changed = DWA(temperature=3.0)
        elif field.name == "rule":
            changed = CAGrad(0.2)
        elif field.name in ("optimizer", "server_optimizer"):
            changed = Momentum(beta=0.75)
        else:
            changed = dataclasses.replace(value, lr=2 * value.lr)
        other = dataclasses.replace(algorithm, **{field.name: changed})
        assert other != algorithm and repr(other) != repr(algorithm)


NO_NUMBER = ("0.1", None, True, [1])
WRONG: dict[Any, tuple[Any, ...]] = {
    float: (-1.0, float("nan"), float("inf"), -float("inf"), *NO_NUMBER),
    int: (0, -1, 1.5, float("nan"), *NO_NUMBER),
    tuple[int, ...]: ((), (-1,), (1.5,), (True,), 3, *NO_NUMBER),
    tuple[str, ...]: ("0-1", (1,), ("",), *NO_NUMBER),
    Algorithm[Params, Any]: (FedAvg, "FedAvg", 1, None, Pooled()),
    Algorithm[Any, Any]: (FedPer, "FedPer", 1, None, Pooled(), MaTFL()),
    Optimizer: (Momentum, "Momentum", 1, None, FedPer()),
    Weighting: (MGDA, "MGDA", 1, None, FedPer()),
    Any: ("*=1", 1, None, (), ("*",), ("=1",), ("*=",), ("*=x",), (1,), {"*": -1}, {"*": 0}),  # globs and their words
}
"""Type of a hyper-parameter -> values that it never takes."""


@pytest.mark.parametrize("cls", CLAIMS, ids=lambda cls: cls.__name__)
def test_wrong_hyper_parameters_are_named(cls: type) -> None:
    fields = dataclasses.fields(cls)
    assert fields
    for field in fields:
        for value in (*WRONG[field.type], *((0, 0.0) if field.name == "lr" else ())):
            with pytest.raises(ValueError) as error:
                cls(**{field.name: value})
            assert f"{field.name}={value!r}" in str(error.value) and cls.__name__ in str(error.value)


def test_whole_numbers_are_rates_too() -> None:
    assert FedPer(lr=1) == FedPer(lr=1.0)


# ---- purity ---------------------------------------------------------------------------------------------------------


def test_inputs_stay_as_they_were(algorithm: AnyAlgorithm) -> None:
    """Of every method, over two rounds, so that states that have been through a round are inputs too."""
    for each in two_rounds(algorithm).rounds:
        assert {name: len(set(hashes)) for name, hashes in each.inputs.items()} == dict.fromkeys(each.inputs, 1)


class Again(NamedTuple):
    """The second round played once more: by an algorithm that was pickled, from a state that was, and another plan."""

    travelled: AnyAlgorithm
    before: State
    """The state that was pickled, after the round."""
    first: State
    """The other plan's first state."""
    after: State
    drawn: bool
    """Whether torch's own generator, which was in another state, has moved."""


@cache
def again(algorithm: AnyAlgorithm) -> Again:
    travelled, before = pickle.loads(pickle.dumps((algorithm, two_rounds(algorithm).rounds[0].after)))
    federation = tiny(UNLIKE, binary=is_binary(algorithm))
    torch.manual_seed(2)
    chance = torch.get_rng_state()
    plan = tiny_plan(federation, travelled, anew=True)
    first, after = start(plan, federation), play(plan, federation, before, round=2)
    return Again(travelled, before, first, after, not torch.equal(torch.get_rng_state(), chance))


def test_equal_inputs_give_equal_bits_and_chance_has_no_part(algorithm: AnyAlgorithm) -> None:
    """Played once more, by another plan and from another state of torch's generator."""
    found = again(algorithm)
    assert not found.drawn
    assert_same(found.first, two_rounds(algorithm).first)
    assert_same(found.after, two_rounds(algorithm).rounds[1].after)


def test_uploads_may_stream(algorithm: AnyAlgorithm) -> None:
    """``aggregate`` reads a generator once."""
    first = two_rounds(algorithm).rounds[0]
    assert_same(
        algorithm.aggregate(first.before.server, iter(first.uploads), CTX),
        algorithm.aggregate(first.before.server, first.uploads, CTX),
    )


# ---- what is said and what is kept ----------------------------------------------------------------------------------


def test_payloads_and_states_hold_the_names_that_the_file_claims(algorithm: AnyAlgorithm) -> None:
    """All of them and no others, of the client's own tasks alone; before the first round and after it."""
    plan, federation, rounds = two_rounds(algorithm)
    claim = CLAIMS[type(algorithm)]
    for each in rounds:
        for job, result in zip(each.jobs, each.trained, strict=True):
            own = set(plan.restrict(plan.initial, job.owned))
            if isinstance(algorithm, TaskWeighted):
                own |= algorithm.weighting.init_params(job.owned).keys()

            def claimed(prefixes: tuple[str, ...], own: set[str] = own) -> set[str]:
                return {name for name in own if name.startswith(prefixes)}

            assert names(job.down) == claimed(claim.down).union(claim.told)
            assert names(result.upload.payload) == claimed(claim.up).union(claim.beside)
            assert names(job.private) == names(result.private) == claimed(claim.private)
            assert tree_structure(job.private) == tree_structure(result.private)
            assert result.upload.num_examples == len(federation.clients[job.client].train.x)


def test_one_broadcast_says_the_same_to_everybody(algorithm: AnyAlgorithm) -> None:
    """The very same tensors, after rounds that told the clients apart; who says otherwise is asked for each client."""
    played = two_rounds(algorithm)
    said = [algorithm.broadcast(played.last.server, client, CTX) for client in played.federation.clients]
    same = all([id(leaf) for leaf in tree_leaves(one)] == [id(leaf) for leaf in tree_leaves(said[0])] for one in said)
    assert same or not algorithm.traits.uniform_broadcast


def test_an_additive_algorithm_is_content_with_sums(algorithm: AnyAlgorithm) -> None:
    """Uploads added up in two halves, of which no single one can be read, come to the same server; to rounding."""
    if not algorithm.traits.mean_aggregated:
        return
    first = two_rounds(algorithm).rounds[0]
    state, sent = first.before, first.uploads
    stacks = [
        Stack(
            np.array([client]),
            {r: {n: v[None] for n, v in p.items()} for r, p in payload.items()},
            np.array([float(n)]),
        )
        for client, (payload, n) in sent
    ]
    summed = Uploads([], [add(stack) for stack in stacks])
    with pytest.raises(TypeError, match="summed on their nodes"):
        list(summed)
    expected = algorithm.aggregate(state.server, sent, CTX)
    assert_close(algorithm.aggregate(state.server, summed, CTX), expected, atol=1e-7)
    assert_close(algorithm.aggregate(state.server, Uploads(stacks), CTX), expected, atol=1e-7)


def test_nothing_private_is_in_the_payload(algorithm: AnyAlgorithm, unlike: Federation) -> None:
    """Not one number of the private state, neither of the old nor of the new one."""
    plan = two_rounds(algorithm).plan
    state = two_rounds(algorithm).first
    odd_state = State(odd(state.server, 0), {c: odd(private, 1 + c) for c, private in state.private.items()})
    work = jobs(plan, unlike, odd_state)
    for job, (_, result) in zip(work, results(work), strict=True):
        for private in (job.private, result.private):
            assert CLAIMS[type(algorithm)].copies or leaked(private, result.upload.payload) == set()
            if CLAIMS[type(algorithm)].private:
                own = leaked(private, {"all": {str(i): leaf for i, leaf in enumerate(tree_leaves(private))}})
                assert len(own) >= CLAIMS[type(algorithm)].numbers


def test_the_leak_is_seen() -> None:
    """A tensor, and a row of it in another shape under another name."""
    private = {"head.a.w": torch.tensor([[0.25, 0.5], [0.125, 3.0]])}
    assert leaked(private, {"trunk": {"trunk.w": torch.tensor([0.75, 4.0])}}) == set()
    assert leaked(private, {"trunk": private}) == {0.25, 0.5, 0.125, 3.0}
    assert leaked(private, {"r": {"x": torch.tensor([9.0, 0.125, 3.0])}}) == {0.125, 3.0}


def test_personal_params_are_a_trunk_and_the_clients_heads(algorithm: AnyAlgorithm) -> None:
    plan, federation, rounds = two_rounds(algorithm)
    for each in rounds:
        for client, params in personal(plan, federation, each.before).items():
            expected = plan.restrict(plan.initial, federation.clients[client].tasks)
            params = {name: value for name, value in params.items() if not name.endswith(MERGED)}
            assert tree_structure(dict(params)) == tree_structure(expected)
            if each is rounds[0]:
                assert_same(dict(params), expected)


# ---- the server -----------------------------------------------------------------------------------------------------


def test_the_order_of_uploads_does_not_matter(algorithm: AnyAlgorithm) -> None:
    first = two_rounds(algorithm).rounds[0]
    state, sent = first.before, first.uploads
    expected = algorithm.aggregate(state.server, sent, CTX)
    for order in ([3, 2, 1, 0], [1, 3, 0, 2]):
        assert_close(algorithm.aggregate(state.server, [sent[i] for i in order], CTX), expected, atol=1e-6)


def test_a_cohort_of_one_works(algorithm: AnyAlgorithm, unlike: Federation) -> None:
    """Two rounds of one client, then everybody's; states keep their shapes, and all stays finite."""
    plan = two_rounds(algorithm).plan
    first = state = two_rounds(algorithm).first
    for round, cohort in enumerate(([9], [9], None), start=1):
        state = play(plan, unlike, state, round, cohort)
        assert tree_structure(state) == tree_structure(first)
        assert all(torch.isfinite(leaf).all() for leaf in tree_leaves(state))
        if cohort:
            assert_same({c: state.private[c] for c in (0, 1, 4)}, {c: first.private[c] for c in (0, 1, 4)})


def test_an_empty_cohort_is_refused(algorithm: AnyAlgorithm) -> None:
    server = two_rounds(algorithm).first.server
    for nobody in ([], iter(())):
        with pytest.raises(ValueError, match="at least one client"):
            algorithm.aggregate(server, nobody, CTX)


def test_algorithm_and_states_survive_pickle(algorithm: AnyAlgorithm) -> None:
    """And the next round has the same bits as without the journey, and leaves the state that came as it was."""
    first, second = two_rounds(algorithm).rounds
    found = again(algorithm)
    assert found.travelled == algorithm and repr(found.travelled) == repr(algorithm)
    assert_same(found.before, first.after)
    assert_same(found.after, second.after)
    assert_same(pickle.loads(pickle.dumps(second.uploads)), second.uploads)


# ---- padding and lifting --------------------------------------------------------------------------------------------


def padding_like(batch: Batch) -> dict[str, Tensor]:
    """Numbers that would be seen if they counted, under mask 0."""
    return {key: torch.full_like(value, 0 if key == "mask" else 2) for key, value in batch.items()}


def test_a_padded_batch_changes_nothing(algorithm: AnyAlgorithm) -> None:
    """Wherever it stands, and from states that are not the first ones: not one bit of what stays or leaves; of a client
    with a task and a batch, and of one with two tasks and three batches."""
    second = two_rounds(algorithm).rounds[1]
    for job, expected in [(second.jobs[k], second.trained[k]) for k in (0, 3)]:
        assert (len(job.owned), len(job.batches)) in ((1, 1), (2, 3))
        empty = padding_like(job.batches[0])
        middle = len(job.batches) // 2
        padded = [empty, *job.batches[:middle], empty, *job.batches[middle:], empty, empty]
        assert_same(run(Loop(), [job._replace(batches=padded)])[0], expected)


def test_padded_rows_change_nothing(algorithm: AnyAlgorithm) -> None:
    """Three more rows in every batch; sums may be rounded in another order."""
    first = two_rounds(algorithm).rounds[0]
    for job, expected in zip(first.jobs, first.trained, strict=True):
        longer = [{k: torch.cat([v, padding_like(batch)[k][:3]]) for k, v in batch.items()} for batch in job.batches]
        pairs = zip(longer, job.batches, strict=True)
        assert all(len(more["mask"]) == len(batch["mask"]) + 3 for more, batch in pairs)
        assert_close(tensors(job.function(job.down, job.private, longer, job.ctx)), expected, atol=1e-6)


def test_every_batch_is_walked_through(algorithm: AnyAlgorithm) -> None:
    """So the tests above do not pass because batches are not looked at: without any one of three, the model differs."""
    first = two_rounds(algorithm, alike=True).rounds[0]
    job, whole = first.jobs[-1], first.trained[-1]
    assert job.client == 9
    states = [whole]
    for i in range(3):
        less = [*job.batches[:i], *job.batches[i + 1 :]]
        states.append(tensors(job.function(job.down, job.private, less, job.ctx)))
    assert len({sha256((state.private, state.upload.payload)) for state in states}) == 4


def test_epochs_are_passes_over_the_batches(algorithm: Any) -> None:
    """Twice as many of each kind, over the batches, are those that there are, over each batch twice: to rounding.

    So no algorithm makes one pass whatever it is told. MOCHA's passes are over the dual numbers of its examples.
    """
    own = getattr(algorithm, "algorithm", algorithm)
    counts = {field.name: 2 * getattr(own, field.name) for field in dataclasses.fields(own) if "epochs" in field.name}
    assert counts
    if isinstance(algorithm, Mocha):
        return
    more = dataclasses.replace(own, **counts)
    more = more if own is algorithm else dataclasses.replace(algorithm, algorithm=more)
    played = two_rounds(algorithm, alike=True)
    job = played.rounds[1].jobs[1]
    assert job.client == 1 and len(job.batches) == 2
    update = tiny_plan(played.federation, more).local_update(job.owned)
    expected = job.function(job.down, job.private, [*job.batches, *job.batches], job.ctx)
    found = update(job.down, job.private, job.batches, job.ctx)
    assert_close((found.private, found.upload.payload), (expected.private, expected.upload.payload), atol=1e-6)
    once = played.rounds[1].trained[1]
    assert sha256((expected.private, expected.upload.payload)) != sha256((once.private, once.upload.payload))


def assert_replayed(engine: VMap) -> None:
    """Both functions, training and measurement, have graphs that gave a plain call's bits, and are no longer called."""
    stages = [[state.stage for state in function._states.values()] for function in engine._functions.values()]
    assert len(stages) == 2 and all(own and set(own) == {Stage.REPLAYED} for own in stages)


@pytest.mark.parametrize("alike", [True, False], ids=["alike", "unlike"])
def test_loop_is_vmap(algorithm: AnyAlgorithm, alike: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """For clients of 1 to 3 batches of 3 and 4 rows, to 1e-6 a round, from equal states; in training and its loss,
    whether those of unlike tasks run together or not, and in measurement; with stacks of any size, and of two.

    Replays have the bits of the call under vmap that they stand for, on the numbers that were traced and on others.
    """
    played = two_rounds(algorithm, alike)
    plan, federation, (first, second) = played
    whole, two = VMap(), VMap(chunk=2)
    padding = plan.task_padding(plan.training(plan.all_tasks))

    def check(vmap: VMap, each: Round, padding: TaskPadding | None = None) -> str:
        with case(vmap, "round", 1 if each is first else 2, "padded" if padding else "unpadded"):
            found = run(vmap, each.jobs, padding)
            assert_close(found, each.trained, atol=1e-6)
            return sha256(found)

    tests = measurements(plan, federation, played.last)
    measured = run(Loop(), tests)
    if alike:  # whose rounds have equal signatures: traced, compared with its replay, replayed
        with monkeypatch.context() as patch:
            patch.setattr(waits, "WAIT_SMALL", 0)
            bits = [check(whole, each) for each in (first, second, first, second)]
            assert bits[2:] == bits[:2]
            found = [run(whole, tests) for _ in range(3)]
            assert len({sha256(each) for each in found}) == 1
        assert_replayed(whole)
        if padding is None:  # else clients of unlike tasks are a stack as well, whose parts are of two
            check(two, second)
        found.append(run(two, tests))
    else:
        check(VMap(), second)  # cohorts of two at most
        if padding is not None:
            check(whole, first, padding)
            check(two, second, padding)
        found = [run(whole, tests)]
    for each in found:
        with case("measurement"):
            assert_close(each, measured, atol=1e-6)


# ---- it is what it says, and not Local ------------------------------------------------------------------------------


def together(algorithm: AnyAlgorithm, federation: Federation, model: Model | None = None) -> dict[int, Params]:
    """What each client predicts with after two rounds of all; where the method is central, of the union of all data."""
    plan = tiny_plan(federation, algorithm, model=model) if model else two_rounds(algorithm).plan
    if not plan.algorithm.traits.centralized:
        return predictors(plan, federation, play(plan, federation, play(plan, federation, start(plan, federation)), 2))
    everything = union(federation)
    whole = personal(plan, everything, play(plan, everything, start(plan, everything)))[0]
    return {c: plan.restrict(whole, data.tasks) for c, data in federation.clients.items()}


@cache
def unchanged(algorithm: AnyAlgorithm, binary: bool, model: Model | None = None) -> dict[int, Params]:
    """``together`` of the tiny federation of unlike clients."""
    played = None if model or algorithm.traits.centralized else two_rounds(algorithm)
    if played is None:
        return together(algorithm, tiny(UNLIKE, binary=binary), model)
    return predictors(played.plan, played.federation, played.last)


def test_it_differs_from_local(algorithm: AnyAlgorithm) -> None:
    """After two rounds, in the trunk of every client, or all where there is no trunk; Local with the same rate does not
    differ from itself, nor does client 9, which shares no task, where common tasks alone tell of others."""
    alone = Local(lr=getattr(algorithm, "lr", 0.05), epochs=getattr(algorithm, "epochs", 2))
    binary = is_binary(algorithm)
    local = unchanged(alone, binary, tiny_model(algorithm))
    for client, params in unchanged(algorithm, binary).items():
        shared = [name for name in params if name.startswith("trunk.")] or list(params)
        gap = max(float((params[name] - local[client].get(name, 0)).abs().max()) for name in shared)
        deaf = isinstance(algorithm, Local) or (CLAIMS[type(algorithm)].by_task and client == 9)
        assert gap == 0 if deaf else gap > 1e-3


def test_clients_learn_from_the_others(algorithm: AnyAlgorithm, unlike: Federation) -> None:
    """What a client predicts with depends on the yes and no of another, even of one that shares no task with it;
    Local's does not, not by one bit. Where common tasks alone tell, 1 is heard by 0 and 4, and 9 by nobody."""
    by_task = CLAIMS[type(algorithm)].by_task
    before = unchanged(algorithm, is_binary(algorithm))
    for other in (9, 1) if by_task else (9,):
        train = unlike.clients[other].train
        turned = {task: values.copy() for task, values in train.y.items()}
        for task, values in turned.items():  # every second: all of them turned only turn the sign of a linear model
            values[::2] = (2 if task == "kind" else 1) - values[::2]
        data = ClientData(Split(train.x, turned), unlike.clients[other].test)
        after = together(algorithm, Federation(unlike.tasks, unlike.input_shape, {**unlike.clients, other: data}))
        for client in unlike.clients.keys() - {other}:
            same = all(torch.equal(before[client][name], after[client][name]) for name in before[client])
            assert same is (isinstance(algorithm, Local) or (by_task and 9 in (client, other)))

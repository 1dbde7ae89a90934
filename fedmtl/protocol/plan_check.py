"""Checks of a plan before its run begins, each with an error that names the way out."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fedmtl.core.trees import tree_leaves
from fedmtl.core.types import ClientId, TaskSet
from fedmtl.models.client_groups import check_groups
from fedmtl.models.split import check_runs
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.plan_variants import kinds_of

REGISTERED = 50_000
"""Clients at most where the server keeps something of each: it is written every round, and similarities are K × K."""


def check_plan(plan: Plan, roster: Mapping[ClientId, TaskSet]) -> None:
    """Find what cannot work before a run begins.

    Raises:
        ValueError: a client with an unknown task, an algorithm whose payloads cannot be sent, or one that predicts
            with a mixture of models and a task that cannot.
    """
    traits = plan.algorithm.traits
    if plan.groups is not None:
        check_groups(plan.model, plan.groups)
    if plan.widths is not None:
        check_groups(plan.algorithm, plan.widths, "widths")
    if traits.register_clients and not traits.counts_clients_only and len(roster) > REGISTERED:
        raise ValueError(
            f"{plan.algorithm!r} keeps something of each client on the server, so it takes at most {REGISTERED:,} "
            f"clients, got {len(roster):,}; give the data fewer clients, or take an algorithm whose "
            "server keeps one model, such as FedPer, FedAvg or Ditto."
        )
    if traits.named_heads:
        for task in plan.tasks:
            if not any(name.startswith(f"head.{task}.") for name in plan.initial):
                raise ValueError(
                    f"{plan.algorithm!r} needs a head with parameters for each task, but {plan.model!r} has none "
                    f"for {task!r}; make head(features, outputs) a module that learns."
                )
    roster = kinds_of(plan, roster)
    if traits.equal_trunks and len({_stems(plan, owned) for owned in roster.task_sets}) > 1:
        raise ValueError(
            f"{plan.algorithm!r} sets clients' trunks against each other, which need the same parameters, but clients "
            "of different tasks have different stems; take an algorithm that averages, such as FedPer or FedAvg, or "
            "give all clients all tasks."
        )
    if plan.down_codec.traits.delta_only and (traits.by_round or not traits.uniform_broadcast):
        raise ValueError(
            f"down_codec: {plan.down_codec!r} codes changes of a model that the server sends to all clients, but "
            f"{plan.algorithm!r} sends each, or each group, its own, or other parameters in other rounds; use one that "
            "sends all the same, such as FedAvg, FedPer, FedRep, Ditto, FedProx, FedEM or MRMTL, or a codec of whole "
            "values, such as FP16 or Int8."
        )
    kinds = list(zip(roster.first(), roster.task_sets, strict=True))
    for one in _rounds(plan):
        _check_specs(one, kinds)
    if plan.augmented is not None and not plan.augmented.used:  # the trial that finds the specs has trained
        raise ValueError(
            f"augment: {plan.algorithm!r} trains without steps on batches, which {list(plan.augment)!r} would change; "
            "set augment=[], or take another algorithm."
        )
    _check_codecs(plan, kinds)


def _rounds(plan: Plan) -> list[Plan]:
    """Return the plans of rounds that differ."""
    wrapped: Any = plan.algorithm
    count = wrapped.cycle if wrapped.traits.by_round else 1
    return list({id(one): one for one in map(plan.at, range(count))}.values())


def _check_specs(plan: Plan, kinds: list[tuple[ClientId, TaskSet]]) -> None:
    """Refuse payloads that cannot be sent; the trial that finds their specs trains."""
    for client, owned in kinds:
        down, up = plan.down_spec(client, owned), plan.up_spec(client, owned)
        for what, spec in (("broadcast", down), ("upload", up)):
            if not spec and spec.empty:
                raise ValueError(
                    f"{plan.algorithm!r} has nothing to send: its {what} holds {' and '.join(spec.empty)} alone, "
                    f"of which {plan.model!r} has no parameter; take Local, an algorithm that shares whole models, "
                    "such as FedAvg, Ditto or MRMTL, or a model in which that part learns."
                )
            if spec and spec.size == 0:
                raise ValueError(
                    f"A payload has at least one number, or no record at all, but {plan.algorithm!r} has "
                    f"{[f'{entry.record}/{entry.name} {entry.shape}' for entry in spec]} in its {what}."
                )
        plan.of(client).measure(owned)


def _stems(plan: Plan, owned: TaskSet) -> tuple[str, ...]:
    """Return the stems that clients of these tasks lack."""
    return tuple(name for name in plan.foreign(owned) if name.startswith("trunk."))


def _check_codecs(plan: Plan, kinds: list[tuple[ClientId, TaskSet]]) -> None:
    """Find a codec that does not fit the payloads of clients of these kinds.

    Raises:
        ValueError: a glob that matches no name of any packet, globs that disagree, or a part on the server that the
            algorithm has no place for.
    """
    for field, link_of in (("up_codec", plan.uplink), ("down_codec", plan.downlink)):
        try:
            links = [link for client, owned in kinds if (link := link_of(client, owned)).spec]
        except ValueError as error:
            raise ValueError(f"{field}: {error}") from None
        lost = set.intersection(*(link.unmatched() for link in links)) if links else set[str]()
        if lost:
            names = sorted({f"{entry.record}/{entry.name}" for link in links for entry in link.spec})
            raise ValueError(
                f"{field}: PerLayer: {min(lost)!r} matches no parameter of a packet of {plan.algorithm!r}, which has "
                f"{', '.join(names[:20])}{', …' if len(names) > 20 else ''}; mend the glob, or leave it out."
            )
        if field == "up_codec" and plan.algorithm.traits.by_round and any(tree_leaves(link.init()) for link in links):
            raise ValueError(
                f"up_codec: {plan.up_codec!r} keeps a memory of an upload's numbers from round to round, and not all "
                f"numbers of {plan.algorithm!r} travel in each round; use a codec without a memory, such as FP16() or "
                "Int8(), or give all parameters the period 1."
            )
        if field == "up_codec" and links and plan.up_codec.traits.server_part and not plan.algorithm.traits.centralized:
            if not plan.algorithm.traits.mean_aggregated:
                raise ValueError(
                    f"up_codec: {plan.up_codec!r} has a part on the server, which sees the mean of the uploads alone, "
                    f"but the server of {plan.algorithm!r} reads single uploads; use one that averages, such as "
                    "FedAvg, FedPer or Ditto, or GaussianNoise, which each client adds."
                )


def check_inputs(plan: Plan, parts: Iterable[NDArray[Any]]) -> None:
    """Find whole numbers that the model has no place for, such as tokens beyond a table.

    Args:
        parts: inputs, [N, …] each.

    Raises:
        ValueError: the trunk fails on the smallest or the largest number of each feature.
    """
    if not plan.integer_inputs:
        return
    ends = [(part.min(0), part.max(0)) for part in parts if len(part)]
    low, high = (np.stack(each) for each in zip(*ends, strict=True))
    x = torch.from_numpy(np.stack([low.min(0), high.max(0)]))
    check_runs(f"{plan.model!r}: inputs from {x.min()} to {x.max()}", plan.module.entry, x)

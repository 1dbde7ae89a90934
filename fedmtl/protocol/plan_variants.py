"""Plans of one experiment that differ in what travels: by round, or by the width of a client's model."""

from collections.abc import Callable, Mapping
from copy import copy
from fractions import Fraction
from functools import wraps
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from fedmtl.core.types import ClientId, TaskSet
from fedmtl.data.roster import Roster, roster_of
from fedmtl.models.client_groups import ClientGroups
from fedmtl.models.narrow import narrowed
from fedmtl.models.split import initial_params

T = TypeVar("T")


def variant(plan: Any, **own: Any) -> Any:
    """Return a ``Plan`` of the same experiment with other fields; both sides know it by the same digest."""
    made = copy(plan)
    kept = {name: value for name, value in vars(plan).items() if name != "_whole_server"}
    made.__dict__ = {**kept, "digest": plan.digest, "_by_tasks": {}, "_by_round": {}, **own}
    return made


def of_round(plan: Any, version: int, made: dict[Any, Any]) -> Any:
    """Return the plan of the round that trains on a version; ``made`` has those that were asked for, by algorithm."""
    algorithm = plan.algorithm.of_round(version % plan.algorithm.cycle)
    if algorithm not in made:
        made[algorithm] = variant(plan, algorithm=algorithm)
    return made[algorithm]


def add_widths(plan: Any, recipe: Any, widths: ClientGroups | None) -> dict[str, Any]:
    """Give a plan the server's algorithm of sub-models, and return the plans of clients by width.

    Args:
        plan: a new ``Plan``, whose algorithm is the wrapped one.
        recipe: an algorithm with the trait ``by_width``.
        widths: of all clients; None where all models are equal, and nothing is to do.
    """
    if widths is None:
        return {}
    inner, x = plan.algorithm, torch.from_numpy(plan.example)
    modules = {
        width: narrowed(plan.module, Fraction(width), recipe.units, x) if Fraction(width) < 1 else plan.module
        for width in widths.names
    }
    initial = {width: initial_params(module) for width, module in modules.items()}
    shapes = {width: {name: tuple(w.shape) for name, w in first.items()} for width, first in initial.items()}
    plan.algorithm = recipe.of_widths(inner, widths.of, shapes)
    return {
        width: variant(plan, algorithm=inner, module=module, initial=initial[width], widths=None, by_width={})
        for width, module in modules.items()
    }


def whole(plan: Any) -> Any:
    """Return the plan of clients that have the whole model, whose server's state is the same."""
    if plan.widths is None:
        return plan
    return variant(plan, algorithm=plan.algorithm.algorithm, widths=None, by_width={})


def of_client(method: Callable[[Any, ClientId, TaskSet], T]) -> Callable[[Any, ClientId, TaskSet], T]:
    """Make a method of a ``Plan`` one of the plan of the client that it is given."""

    @wraps(method)
    def call(plan: Any, client: ClientId, owned: TaskSet) -> T:
        return method(plan.of(client), client, owned)

    return call


def kinds_of(plan: Any, owners: Mapping[ClientId, TaskSet]) -> Roster:
    """Return the roster of some clients, whose sets of tasks stand once for each width that a client with it has.

    Clients of one entry have equal plans.
    """
    roster = Roster(owners)
    if plan.widths is None:
        return roster
    width = _places(plan, roster.clients)
    kinds, owns = np.unique(np.stack([roster.owns, width]), axis=1, return_inverse=True)
    sets = [roster.task_sets[index] for index in kinds[0].tolist()]
    return roster_of(roster.clients, sets, owns.reshape(-1))


def by_plan(plan: Any, clients: NDArray[np.int64]) -> list[tuple[Any, NDArray[np.int64]]]:
    """Part clients by their plans; return each with the places of its clients among them, ascending."""
    if plan.widths is None:
        return [(plan, np.arange(len(clients)))] if len(clients) else []
    width = _places(plan, clients)
    return [
        (plan.by_width[plan.widths.names[index]], np.flatnonzero(width == index)) for index in np.unique(width).tolist()
    ]


def _places(plan: Any, clients: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place of each client's width among all."""
    place = {width: index for index, width in enumerate(plan.widths.names)}
    return np.array([place[plan.widths.of[client]] for client in clients.tolist()], np.int64)

"""Clients or tasks held out of a federation: they take no part in its training, and are onboarded afterwards."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np

from fedmtl.core.suggest import did_you_mean
from fedmtl.core.types import ClientId, TaskSet
from fedmtl.data.base import ClientData, Federation
from fedmtl.data.client_number import client_number
from fedmtl.data.digits import Digits
from fedmtl.data.joined import Joined, JoinedRows, joined, some_of
from fedmtl.data.prepared import Prepared
from fedmtl.data.source import DataSource


class Parted(NamedTuple):
    """A federation in two."""

    rest: Federation
    """The part that is trained on."""
    held_out: Federation
    """The clients, or the tasks, that are not."""


def hold_out(federation: Federation, clients: Iterable[int | str] = (), tasks: Iterable[str] = ()) -> Parted:
    """Hold some clients, or some tasks of all clients, out of a federation.

    Clients keep their numbers and names, and tasks their kinds: a mean, a std or class weights that follow from labels
    are those of all clients. Clients without another task than those held out are left out of ``rest``. What clients
    agree on before the first round is agreed by those of ``rest`` alone, and the inputs of both parts are made by it.

    Args:
        federation: of all clients and tasks.
        clients: numbers or names.
        tasks: names; clients or tasks are given, not both.

    Raises:
        ValueError: an unknown client or task, both or neither of them, or nothing that is left to train on.
    """
    own, named = list(clients), [tasks] if isinstance(tasks, str) else list(tasks)
    found = _parted(federation, own, named)
    if (prepared := federation.prepared) is None:
        return found
    kept = prepared.of(found.rest.ids().tolist())
    if len(kept.sent) < len(prepared.sent):
        return _agreed(kept, own, named, kept.rule.agree(kept.sent))
    kept = replace(kept, remake=partial(_remade, kept, own, named))
    return Parted(replace(found.rest, prepared=kept), replace(found.held_out, prepared=None))


def _agreed(kept: Prepared, own: list[int | str], named: list[str], agreed: bytes) -> Parted:
    """Both parts, made by what the clients that are kept agree on."""
    parts = _parted(kept.remake(agreed), own, named)
    less = replace(kept, agreed=agreed, remake=partial(_remade, kept, own, named))
    return Parted(replace(parts.rest, prepared=less), replace(parts.held_out, prepared=None))


def _remade(kept: Prepared, own: list[int | str], named: list[str], agreed: bytes) -> Federation:
    return _agreed(kept, own, named, agreed).rest


def _parted(federation: Federation, own: list[int | str], named: list[str]) -> Parted:
    if bool(own) == bool(named):
        raise ValueError(
            f"hold_out takes clients or tasks, got clients={own} and tasks={named}; for both, hold out twice."
        )
    if own:
        ids = federation.ids()
        held = np.unique([client_number("The data", one, ids, federation.client_names) for one in own])
        if len(held) == len(ids):
            raise ValueError(f"All {len(ids)} clients are held out, which leaves none to train; keep some.")
        kept = ids[~np.isin(ids, held)]
        return Parted(*(_of_tasks(_with(federation, some), lambda _: True) for some in (kept, held)))
    for task in named:
        if task not in federation.tasks:
            raise ValueError(
                f"The data has no task {task!r}; its tasks are {', '.join(federation.tasks)}."
                f"{did_you_mean(task, federation.tasks)}"
            )
    if set(named) == set(federation.tasks):
        raise ValueError(f"All tasks, {', '.join(federation.tasks)}, are held out, which leaves none; keep some.")
    return Parted(_of_tasks(federation, lambda task: task not in named), _of_tasks(federation, lambda t: t in named))


def _with(federation: Federation, ids: Any) -> Federation:
    return replace(federation, clients=some_of(federation.clients, ids), client_names=_names(federation, ids.tolist()))


def _names(federation: Federation, ids: Iterable[ClientId]) -> dict[ClientId, str]:
    names = federation.client_names
    return {client: names[client] for client in ids if client in names}


def _of_tasks(federation: Federation, wanted: Callable[[str], bool]) -> Federation:
    """The federation with the tasks that are wanted and that a client owns, of the clients that own one."""
    data = federation.clients
    if isinstance(data, Joined):
        parts = [(_kept(t.owned, wanted), t.clients, t.train, t.test) for t in data.tables]
        clients: Any = joined((own, ids, _part(train, own), _part(test, own)) for own, ids, train, test in parts if own)
        owned = {task for table in clients.tables for task in table.owned}
    else:
        own = {client: _kept(one.tasks, wanted) for client, one in data.items()}
        clients = {client: _client(data[client], tasks) for client, tasks in own.items() if tasks}
        owned = {task for tasks in own.values() for task in tasks}
    tasks = {name: task for name, task in federation.tasks.items() if name in owned}
    return replace(federation, tasks=tasks, clients=clients, client_names=_names(federation, clients))


def _kept(owned: TaskSet, wanted: Callable[[str], bool]) -> TaskSet:
    return tuple(task for task in owned if wanted(task))


def _client(data: ClientData, tasks: Sequence[str]) -> ClientData:
    return ClientData(*(split._replace(y={task: split.y[task] for task in tasks}) for split in data))


def _part(rows: JoinedRows, tasks: Sequence[str]) -> JoinedRows:
    return rows._replace(y={task: rows.y[task] for task in tasks})


@dataclass(frozen=True)
class Without:
    """Another data set without some clients, or some tasks: those are held out, and onboarded after training."""

    data: Any = field(default=Digits(), metadata={"component": ("data",)})
    """The data set of all clients and tasks."""
    clients: tuple[int | str, ...] = ()
    """Clients that are held out, by number or name."""
    tasks: tuple[str, ...] = ()
    """Tasks that are held out, in place of clients."""

    source: ClassVar[DataSource] = DataSource(
        name="without",
        clients="those of another set",
        tasks=(),
        examples=None,
        address="",
        licence="that of the other set",
        citation="",
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "clients", tuple(self.clients))
        object.__setattr__(self, "tasks", tuple(self.tasks))

    def load(self, seed: int) -> Federation:
        """The federation that is trained; with nothing held out, all of it.

        Raises:
            ValueError: as ``hold_out``.
        """
        return self._parted(seed).rest if self.clients or self.tasks else self.data.load(seed)

    def held_out(self, seed: int) -> Federation:
        """The clients or tasks that are held out.

        Raises:
            ValueError: as ``hold_out``.
        """
        return self._parted(seed).held_out

    def _parted(self, seed: int) -> Parted:
        return hold_out(self.data.load(seed), self.clients, self.tasks)

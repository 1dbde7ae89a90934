"""Versions of private states as files of a folder, which survive a loss of power; in memory for tests."""

import errno
import logging
import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from fedmtl.client.state.base import Backend, LostState, OtherState, StateError
from fedmtl.client.state.encoding import state_from_bytes, state_to_bytes
from fedmtl.core.files import Folder
from fedmtl.core.trees import tree_index, tree_leaves, tree_stack
from fedmtl.core.types import ClientId
from fedmtl.protocol.best_round import NO_ROUND
from fedmtl.protocol.requests import START_ANEW

log = logging.getLogger("fedmtl")

AGREED = "agreed.packet"
"""The agreement of clients before the first round, beside their states."""


class VersionedFileStore:
    """Private state by client, over a backend: for devices, and wherever it must survive a loss of power."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @property
    def files(self) -> Folder | None:
        """The folder that the states are in; None where they are in no files."""
        return self._backend.files if isinstance(self._backend, FileBackend) else None

    def load(self, client: ClientId, version: int, template: Callable[[], Any], since: int = 0) -> Any:
        """Load the newest state up to a version, or the template when there is none.

        Raises:
            LostState: it is damaged, or older than ``since``; not where ``since`` is START_ANEW.
            StateError: the state is of another experiment.
        """
        first = template()
        if not any(np.size(leaf) for leaf in tree_leaves(first)):
            return first
        for found in reversed([found for found in self._backend.versions(client) if found <= version]):
            if found < since:
                break
            try:
                return state_from_bytes(self._backend.read(client, found), first)[0]
            except OtherState:
                raise
            except (StateError, OSError) as damaged:  # such as a file that cannot be read
                if since != START_ANEW:
                    raise LostState([client], f"that of round {found} is damaged ({damaged})") from None
                log.warning("client %d, state of round %d: %s", client, found, damaged)
        if since > 0:
            raise LostState([client], f"it trained in round {since}, and no state since then is in {self._backend!r}")
        return first

    def load_rows(
        self,
        kind: str,
        clients: NDArray[np.int64],
        version: int,
        first: Callable[[NDArray[np.int64]], Any],
        since: NDArray[np.int64] | None = None,
    ) -> Any:
        """As in ``StateStore``; the error names all clients whose state is lost."""
        rows, lost = [], list[LostState]()
        for k, client in enumerate(clients.tolist()):
            one = 0 if since is None else int(since[k])
            try:
                rows.append(self.load(client, version, lambda k=k: tree_index(first(np.array([k])), 0), one))
            except LostState as error:
                lost.append(error)
        if lost:
            raise LostState([client for error in lost for client in error.clients], lost[0].why)
        return tree_stack(rows) if rows else first(np.zeros(0, np.int64))

    def save_rows(self, kind: str, clients: NDArray[np.int64], version: int, states: Any, keep: int = NO_ROUND) -> None:
        """As in ``StateStore``."""
        for k, client in enumerate(clients.tolist()):
            self.save(client, version, tree_index(states, k), keep)

    def save(self, client: ClientId, version: int, state: Any, keep: int = NO_ROUND) -> None:
        """Keep a state; of what is older, the newest version stays, and the newest up to version ``keep``."""
        self._backend.write(client, version, state_to_bytes(state))
        older = [v for v in self._backend.versions(client) if v < version]
        pinned = [v for v in older if v <= keep][-1:]
        for old in older[:-1]:
            if old not in pinned:
                self._backend.delete(client, old)

    def delete_client(self, client: ClientId) -> None:
        """Delete all versions of a client."""
        for version in self._backend.versions(client):
            self._backend.delete(client, version)


class MemoryBackend:
    """Versions in a dict: gone with the process."""

    def __init__(self) -> None:
        self._data: dict[ClientId, dict[int, bytes]] = {}

    def __repr__(self) -> str:
        return "this process's memory"

    def versions(self, client: ClientId) -> list[int]:
        return sorted(self._data.get(client, {}))

    def read(self, client: ClientId, version: int) -> bytes:
        return self._data[client][version]

    def write(self, client: ClientId, version: int, data: bytes) -> None:
        self._data.setdefault(client, {})[version] = data

    def delete(self, client: ClientId, version: int) -> None:
        del self._data[client][version]


_RUN = re.compile(r"[0-9a-f]{32}")
_STATE = re.compile(r"\d{8,}\.state")


def remove_old_runs(current: Path, keep: int) -> None:
    """Delete the states of all runs beside one but for the newest, and no file besides.

    Args:
        current: folder of the run that begins; it stays.
        keep: how many runs stay, this one among them.
    """
    beside = Folder(current.parent)
    others = [name for name in beside.names() if _RUN.fullmatch(name) and name != current.name]
    others = [name for name in others if beside.path(name).is_dir() and not beside.path(name).is_symlink()]
    others.sort(key=lambda name: beside.path(name).stat().st_mtime)
    for name in others[: max(0, len(others) - max(0, keep - 1))]:
        for client in filter(str.isdecimal, beside.names(name)):
            for version in filter(_STATE.fullmatch, beside.names(f"{name}/{client}")):
                beside.remove(f"{name}/{client}/{version}")
            with suppress(OSError):  # something else is in it
                beside.remove(f"{name}/{client}")
        with suppress(OSError):
            beside.remove(f"{name}/data.json")
            beside.remove(f"{name}/{AGREED}")
            beside.remove(name)


def _reason(error: OSError) -> str:
    return str(error.strerror) if error.errno == errno.EPERM else os.strerror(error.errno or 0)


class FileBackend:
    """Versions as files ``<folder>/<client>/<version>.state``.

    Args:
        folder: made when absent.
        fsync: force each file to the disk, so that it survives a loss of power and not only of the process.
        keep_runs: where the folder is new, keep it and the newest others beside it, this number of runs in all, and
            delete the states of older ones; None keeps all.

    Raises:
        OSError: the folder cannot be made or written; the message says which and what to do.
    """

    def __init__(self, folder: str | Path, fsync: bool = True, keep_runs: int | None = None) -> None:
        self.folder = Path(folder)
        self.files = Folder(self.folder)
        self._fsync = fsync
        self._known: dict[ClientId, list[int]] = {}
        try:
            new = not self.folder.exists()
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            found = os.stat(self.folder)
            if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, "it belongs to another user")
            if stat.S_IMODE(found.st_mode) & 0o077:  # private state is for this user alone
                os.chmod(self.folder, 0o700)
            os.utime(self.folder)
            if new and keep_runs is not None:
                remove_old_runs(self.folder, keep_runs)
            probe = f".write-{uuid4().hex}"
            os.close(self.files.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            self.files.remove(probe)
        except OSError as error:
            raise type(error)(
                error.errno,
                f"The state folder {str(self.folder)!r} cannot be written ({_reason(error)}); "
                "private state must be kept, so give a folder that this user may write",
            ) from None

    def __repr__(self) -> str:
        return repr(str(self.folder))

    @staticmethod
    def _name(client: ClientId, version: int) -> str:
        return f"{client}/{version:08d}.state"

    def versions(self, client: ClientId) -> list[int]:
        if client not in self._known:  # the folder belongs to one process at a time, so it is listed once
            names = [name.removesuffix(".state") for name in self.files.names(f"{client}") if name.endswith(".state")]
            self._known[client] = sorted(int(name) for name in names if name.isdecimal())
        return list(self._known[client])

    def read(self, client: ClientId, version: int) -> bytes:
        return self.files.read(self._name(client, version))

    def write(self, client: ClientId, version: int, data: bytes) -> None:
        known = self.versions(client)
        if not known:
            self.files.make(f"{client}", 0o700)
        self.files.write(self._name(client, version), data, fsync=self._fsync, mode=0o600)
        self._known[client] = sorted({*known, version})

    def delete(self, client: ClientId, version: int) -> None:
        self.files.remove(self._name(client, version))
        self._known[client] = [v for v in self.versions(client) if v != version]

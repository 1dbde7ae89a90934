"""The ways to an actor: Ray's calls, and a shorter one on this machine, a socket beside Ray.

A call of Ray's takes the driver and the actor some milliseconds, as long as small clients take to train. So an actor
spends a run inside one call, ``serve``, and hears of rounds on the socket. What is large goes through Ray's shared
memory as ever: as arguments of the next ``serve``, and as the result of this one.
"""

import itertools
import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Client, Connection, Listener
from typing import Any, Protocol

import numpy as np
import ray
from flwr.app import Message

from fedmtl.runtime.ray.framing import Parcel, attach, detach

LARGE = 2**20
"""Bytes of a message for which Ray's shared memory is the shorter way."""

Put = Callable[[np.ndarray], Any]
"""An array as an argument of a call of Ray's."""


_numbers = itertools.count()


class Way(Protocol):
    """From the driver to an actor and back, one message at a time."""

    def post(self, message: Message) -> None:
        """Send a message."""
        ...

    def receive(self) -> Message | None:
        """The answer to the message that was posted last; None when it was to the one before.

        Raises:
            RayActorError: the actor is dead.
            RayTaskError: the app failed.
        """
        ...

    def close(self) -> None:
        """No more messages are sent."""
        ...


class Call:
    """A call of Ray's, of an actor that may be on another machine.

    Args:
        actor: whom.
        address: not needed.
        put: how arrays go.
    """

    def __init__(self, actor: Any, address: str, put: Put) -> None:
        self._actor = actor
        self._put = put
        self.reference: Any = None
        """What will come."""

    def post(self, message: Message) -> None:
        parcel = detach(message)
        self.reference = self._actor.handle.remote(parcel.message, parcel.keys, *map(self._put, parcel.arrays))
        attach(*parcel)

    def receive(self) -> Message:
        return attach(*ray.get(self.reference))

    def close(self) -> None:
        pass


class Lane:
    """A socket, of an actor of this machine.

    Args:
        actor: who listens at the address.
        address: of its socket.
        put: how arrays go by Ray.
    """

    def __init__(self, actor: Any, address: str, put: Put) -> None:
        self._actor = actor
        self._put = put
        self._serving = actor.serve.remote()
        try:
            self._socket = Client(address, "AF_UNIX")
        except OSError as error:
            ray.get(self._serving)
            raise RuntimeError("An actor closed its socket.") from error
        self._busy = False
        self._next: Message | None = None

    def fileno(self) -> int:
        """For those that wait."""
        return self._socket.fileno()

    def post(self, message: Message) -> None:
        """Send a message as soon as the one before is answered; one that waits for that already is forgotten."""
        if self._busy:
            self._next = message
        else:
            self._send(message)

    def _send(self, message: Message) -> None:
        self._busy, self._next = True, None
        parcel = detach(message)
        small = _pickled(parcel)
        with suppress(OSError):  # it is dead, as ``receive`` will say
            self._socket.send_bytes(small)
        if not small:
            self._serving = self._actor.serve.remote(parcel.message, parcel.keys, *map(self._put, parcel.arrays))
        attach(*parcel)

    def receive(self) -> Message | None:
        try:
            answer = self._socket.recv_bytes()
        except (EOFError, OSError) as error:
            ray.get(self._serving)
            raise RuntimeError("An actor closed its socket.") from error
        if answer:
            parcel = pickle.loads(answer)
        else:
            parcel = ray.get(self._serving)
            self._serving = self._actor.serve.remote()
        self._busy = False
        if self._next is not None:
            self._send(self._next)
            return None
        return attach(*parcel)

    def close(self) -> None:
        self._socket.close()  # the actor's ``serve`` ends, after the message that it is busy with


class End:
    """The actor's end.

    Args:
        folder: where the socket is made; it is removed when the driver has connected.
    """

    def __init__(self, folder: str) -> None:
        self.address = f"{folder}/{os.getpid()}-{next(_numbers)}"
        self._listener = Listener(self.address, "AF_UNIX")
        self._socket: Connection | None = None

    def answer(self, handle: Callable[..., Parcel], parcel: Parcel | None) -> Parcel | None:
        """Answer this message, if there is one, and those that come.

        Returns:
            A reply that is too large for the socket; None when the driver has closed it, or sends a message by Ray.
        """
        due = parcel or self._receive()
        while due is not None:
            try:
                reply = handle(due.message, due.keys, *due.arrays)
            except BaseException:
                self._send(b"")
                raise
            small = _pickled(reply)
            self._send(small)
            if not small:
                return reply
            due = self._receive()
        return None

    def _receive(self) -> Parcel | None:
        if self._socket is None:
            self._socket = self._listener.accept()
            self._listener.close()
        try:
            asked = self._socket.recv_bytes()
        except (EOFError, OSError):  # the driver has gone
            return None
        return pickle.loads(asked) if asked else None

    def _send(self, answer: bytes) -> None:
        if self._socket is not None:
            with suppress(OSError):  # the driver has gone
                self._socket.send_bytes(answer)


def listen(folder: str) -> End | None:
    """An actor's end; None where a system has no such sockets, or the folder's name is too long for one."""
    try:
        return End(folder)
    except (OSError, ValueError):
        return None


def _pickled(parcel: Parcel) -> bytes:
    """Nothing for a parcel that is large."""
    if sum(array.nbytes for array in parcel.arrays) > LARGE:
        return b""
    pickled = pickle.dumps(parcel, 5)
    return pickled if len(pickled) <= 2 * LARGE else b""

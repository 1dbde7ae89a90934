"""Channels between driver and actor: Ray's calls, and a faster one on this machine, a socket beside Ray.

A call of Ray's takes the driver and the actor some milliseconds, as long as small clients take to train. So an actor
spends a run inside one call, ``serve``, and receives messages on the socket. Large messages go through Ray's shared
memory: as arguments of the next ``serve``, and as the result of the current one.
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

from fedmtl.runtime.ray.framing import Frame, attach, detach

LARGE = 2**20
"""Bytes of a message from which on Ray's shared memory is faster."""

Put = Callable[[np.ndarray], Any]
"""An array -> an argument of a call of Ray's."""


_numbers = itertools.count()


class Channel(Protocol):
    """The driver's end of a connection to an actor, for one message at a time."""

    def send(self, message: Message) -> None:
        """Send a message."""
        ...

    def receive(self) -> Message | None:
        """Return the reply to the message that was sent last; None for the reply to an earlier one.

        Raises:
            RayActorError: the actor is dead.
            RayTaskError: the app failed.
        """
        ...

    def close(self) -> None:
        """Send no more messages."""
        ...


class RayChannel:
    """Calls of Ray's, to an actor that may be on another machine.

    Args:
        actor: the other end.
        address: not used.
        put: makes arguments of arrays.
    """

    def __init__(self, actor: Any, address: str, put: Put) -> None:
        self._actor = actor
        self._put = put
        self.reference: Any = None
        """Ray's reference to the pending reply."""

    def send(self, message: Message) -> None:
        frame = detach(message)
        self.reference = self._actor.handle.remote(frame.message, frame.keys, *map(self._put, frame.arrays))
        attach(*frame)

    def receive(self) -> Message:
        return attach(*ray.get(self.reference))

    def close(self) -> None:
        pass


class SocketChannel:
    """A socket, to an actor on this machine.

    Args:
        actor: the other end, which listens at the address.
        address: of its socket.
        put: makes arguments of arrays, for messages that go through Ray.
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
        """Return the socket's file descriptor, for ``multiprocessing.connection.wait``."""
        return self._socket.fileno()

    def send(self, message: Message) -> None:
        """Send a message as soon as the reply to the previous one is here; a message already waiting is dropped."""
        if self._busy:
            self._next = message
        else:
            self._send(message)

    def _send(self, message: Message) -> None:
        self._busy, self._next = True, None
        frame = detach(message)
        small = _pickled(frame)
        with suppress(OSError):  # the actor is dead, and ``receive`` raises
            self._socket.send_bytes(small)
        if not small:
            self._serving = self._actor.serve.remote(frame.message, frame.keys, *map(self._put, frame.arrays))
        attach(*frame)

    def receive(self) -> Message | None:
        try:
            small = self._socket.recv_bytes()
        except (EOFError, OSError) as error:
            ray.get(self._serving)
            raise RuntimeError("An actor closed its socket.") from error
        if small:
            frame = pickle.loads(small)
        else:
            frame = ray.get(self._serving)
            self._serving = self._actor.serve.remote()
        self._busy = False
        if self._next is not None:
            self._send(self._next)
            return None
        return attach(*frame)

    def close(self) -> None:
        self._socket.close()  # the actor's ``serve`` returns after its current message


class SocketServer:
    """The actor's end of a ``SocketChannel``.

    Args:
        folder: of the socket, which is removed when the driver has connected.
    """

    def __init__(self, folder: str) -> None:
        self.address = f"{folder}/{os.getpid()}-{next(_numbers)}"
        self._listener = Listener(self.address, "AF_UNIX")
        self._socket: Connection | None = None

    def serve(self, handle: Callable[..., Frame], frame: Frame | None) -> Frame | None:
        """Reply to this message, if there is one, and to those that arrive.

        Returns:
            A reply that is too large for the socket; None when the driver has closed it, or sends a message by Ray.
        """
        request = frame or self._receive()
        while request is not None:
            try:
                reply = handle(request.message, request.keys, *request.arrays)
            except BaseException:
                self._send(b"")
                raise
            small = _pickled(reply)
            self._send(small)
            if not small:
                return reply
            request = self._receive()
        return None

    def _receive(self) -> Frame | None:
        if self._socket is None:
            self._socket = self._listener.accept()
            self._listener.close()
        try:
            small = self._socket.recv_bytes()
        except (EOFError, OSError):  # the driver has closed its end
            return None
        return pickle.loads(small) if small else None

    def _send(self, small: bytes) -> None:
        if self._socket is not None:
            with suppress(OSError):  # the driver has closed its end
                self._socket.send_bytes(small)


def listen(folder: str) -> SocketServer | None:
    """Return an actor's server; None if the system has no Unix sockets, or the folder's path is too long for one."""
    try:
        return SocketServer(folder)
    except (OSError, ValueError):
        return None


def _pickled(frame: Frame) -> bytes:
    """Return a frame as bytes; empty if it is large."""
    if sum(array.nbytes for array in frame.arrays) > LARGE:
        return b""
    pickled = pickle.dumps(frame, 5)
    return pickled if len(pickled) <= 2 * LARGE else b""

"""Messages on their way to another process, their arrays beside them: so they are copied once, or not at all."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from flwr.app import Message

from fedmtl.runtime.messages import byte_array


class Parcel(NamedTuple):
    """A message whose arrays are empty, where they were, and their bytes."""

    message: Message
    keys: list[tuple[str, str]]
    arrays: list[np.ndarray]


def detach(message: Message) -> Parcel:
    """The parcel of a message, which is this message from now on."""
    keys, arrays = [], []
    if message.has_content():
        for record, named in message.content.array_records.items():
            for name, array in named.items():
                keys.append((record, name))
                arrays.append(np.frombuffer(array.data, np.uint8))
                array.data = b""
    return Parcel(message, keys, arrays)


def attach(message: Message, keys: list[tuple[str, str]], arrays: Iterable[np.ndarray]) -> Message:
    """Undo ``detach``."""
    for (record, name), array in zip(keys, arrays, strict=True):
        message.content.array_records[record][name] = byte_array(array)
    return message

"""Frames: messages on their way to another process, with their arrays beside them, copied once or not at all."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from flwr.app import ArrayRecord, Message

from fedmtl.runtime.flower.messages import set_bytes


class Frame(NamedTuple):
    """A message whose arrays are empty, the names of these arrays, and their bytes."""

    message: Message
    keys: list[tuple[str, str]]
    arrays: list[np.ndarray]


def detach(message: Message) -> Frame:
    """Move the bytes of a message's arrays beside it; the frame holds this very message."""
    keys, arrays = [], []
    if message.has_content():
        for record, named in message.content.items():
            for name, array in named.items() if isinstance(named, ArrayRecord) else ():
                keys.append((record, name))
                arrays.append(np.frombuffer(array.data, np.uint8))
                array.data = b""
    return Frame(message, keys, arrays)


def attach(message: Message, keys: list[tuple[str, str]], arrays: Iterable[np.ndarray]) -> Message:
    """Undo ``detach``."""
    for (record, name), array in zip(keys, arrays, strict=True):
        set_bytes(message.content[record][name], array)  # pyright: ignore[reportArgumentType]
    return message

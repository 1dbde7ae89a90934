"""Inputs of all clients in one type, wherever they are: in memory, mapped or on disk."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedmtl.core.types import ClientId
from fedmtl.data.disk import DiskArray
from fedmtl.data.disk_open import kept
from fedmtl.data.inputs import checked_on_disk, floats, to_inputs
from fedmtl.data.joined import Joined
from fedmtl.data.numbers import to_numbers
from fedmtl.data.split import ClientData, Split


def of_one_type(clients: Mapping[ClientId, ClientData], input_shape: tuple[int, ...]) -> Mapping[ClientId, ClientData]:
    """The clients with inputs that are all float32, or all int64; the same objects where they are so already."""
    kinds = {getattr(split.x, "dtype", None) for data in clients.values() for split in data}
    if not kinds or kinds == {np.dtype(np.float32)} or kinds == {np.dtype(np.int64)}:
        return clients
    places = [(client, number, part) for client in sorted(clients) for number, part in enumerate(("train", "test"))]
    names = [f"client {client}, {part}" for client, _, part in places]
    arrays = [
        numbers_of(name, clients[client][number].x) for name, (client, number, _) in zip(names, places, strict=True)
    ]
    for name, array in zip(names, arrays, strict=True):
        check_shape(name, array.shape, input_shape)
    found = to_inputs(arrays, lambda part: names[part])
    made = {}
    for number, client in enumerate(sorted(clients)):
        train, test = clients[client]
        made[client] = ClientData(Split(found[2 * number], train.y), Split(found[2 * number + 1], test.y))
    return made


def all_floats(arrays: list[Any]) -> list[Any]:
    """The inputs as float32; different numbers in memory that merge are found over all of them."""
    memory = [array for array in arrays if not isinstance(array, DiskArray)]
    ends = np.cumsum([len(array) for array in memory])
    joined = [floats(memory[0] if len(memory) == 1 else np.concatenate(memory), "inputs")] if memory else []
    made = iter(np.split(joined[0], ends[:-1]) if memory else [])
    return [checked_on_disk(x, "inputs", whole=False) if isinstance(x, DiskArray) else next(made) for x in arrays]


def kept_on_disk(clients: Any) -> Any:
    """The clients with mapped arrays among their inputs as arrays that stay on disk."""
    if isinstance(clients, Joined):
        arrays = [rows.x for table in clients.tables for rows in (table.train, table.test)]
        if not any(isinstance(x, np.memmap) for x in arrays):
            return clients
        return clients.with_inputs(lambda given: [kept(x) for x in given])
    if not any(isinstance(split.x, np.memmap) for data in clients.values() for split in data):
        return clients
    return {
        client: ClientData(*(split._replace(x=kept(split.x)) for split in data)) for client, data in clients.items()
    }


def numbers_of(where: str, x: Any) -> Any:
    return x if isinstance(x, DiskArray) else to_numbers(where, x).array


def check_shape(where: str, shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    if shape[1:] != wanted:
        raise ValueError(f"{where}: inputs have shape {shape[1:]}, the federation's is {wanted}.")

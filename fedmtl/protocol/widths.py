"""The width of each client's model, by the client or by its class of devices, for algorithms with narrow models."""

from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from fedmtl.core.lines import pairs_of
from fedmtl.core.suggest import did_you_mean
from fedmtl.core.types import ClientId
from fedmtl.data.base import Schema
from fedmtl.models.client_groups import ClientGroups, first_words
from fedmtl.timing.devices.base import Devices
from fedmtl.timing.devices.device_classes import DeviceClasses

DEVICE = "device:"
"""Begins a glob over names of classes of devices, in place of clients' names."""


def widths_of(algorithm: Any, schema: Schema, devices: Devices, seed: int) -> ClientGroups:
    """Return the width of each client's model: that of the first glob which matches its name, number or class.

    Args:
        algorithm: with the trait ``by_width``.
        schema: of the clients that are known here.
        devices: of the experiment, whose classes are named ``device:NAME``.
        seed: of the experiment, by which clients are in classes.

    Raises:
        ValueError: a client that no glob matches; globs over classes, and devices that have none, or no such class.
    """
    given = algorithm.widths, schema.owners, schema.client_names
    globs = [glob for glob, _ in pairs_of(algorithm.widths) if glob.startswith(DEVICE)]
    names = _names(algorithm, globs, devices)
    found, unused, lost = first_words(*given, _of_clients(names, schema, devices, seed))
    if lost is not None:
        raise ValueError(
            f'{algorithm!r}: no glob of widths matches client {lost}; name it, or give all others a width by "*".'
        )
    # Classes are drawn, and one may have no client: a glob is unused where it decides for none in whatever class.
    each = [first_words(*given, dict.fromkeys(schema.owners, name))[1] for name in names]
    unused = tuple(glob for glob in unused if all(glob in one for one in each))
    return ClientGroups(algorithm.widths, found, unused, repr(devices) if globs else "")


def _names(algorithm: Any, globs: list[str], devices: Devices) -> list[str]:
    """Return ``device:NAME`` of all classes; none where no glob is over classes."""
    if not globs:
        return []
    if not isinstance(devices, DeviceClasses):
        raise ValueError(
            f"{algorithm!r}: widths: {globs[0]!r} is of a class of devices, which devices = {devices!r} does not have; "
            'set devices = DeviceClasses(names=["desktop", "phone", "board"]), or name clients.'
        )
    names = [DEVICE + name for name in devices.all_names]
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in names):
            raise ValueError(
                f"{algorithm!r}: widths: {glob!r} matches no class of devices, which are {', '.join(names)}; mend it, "
                f"or the names of devices = DeviceClasses(…).{did_you_mean(glob, names)}"
            )
    return names


def _of_clients(names: list[str], schema: Schema, devices: Devices, seed: int) -> dict[ClientId, str]:
    """Return the name of each client's class, where there are some."""
    if not isinstance(devices, DeviceClasses) or not names:
        return {}
    clients = np.fromiter(schema.owners, np.int64, len(schema.owners))
    own = devices.classes(seed, clients).tolist()
    return {client: names[k] for client, k in zip(clients.tolist(), own, strict=True)}

"""Permissions of a server on a node: the node's experiment decides them, not the message."""

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.types import ClientId
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.rejections import Refused
from fedmtl.protocol.requests import Requests

MOST = 2**31
"""Most exchanges of a run."""

NOT_FINITE = "its update is not finite"
NOT_CODED = "its update cannot be coded; lower the learning rate, or use a codec for numbers of every size"
NOT_READ = "its own upload cannot be read back; look at the node's log"
NOT_HOSTED = "the node does not host it"
RAW_DATA = "raw data was asked for, and the node's experiment sends none in this round"
TWICE = "it was asked for more than once"
STATE_LOST = "its private state is lost or damaged on its node; look at the node's log"
REFERENCE_LOST = "it lacks the model that the broadcast's changes are of, and is sent the whole one next time"
OTHER_DATA = (
    "its data are not those that the run began with; give its node the former data, or set restart-clients=true there, "
    "by which it begins anew"
)
"""Problems of a client that a node names: texts of this list, and never an error's own."""


def is_divergence(problem: str) -> bool:
    """Return True where a client's model has numbers that are not finite, or too large for the codec."""
    return problem == NOT_CODED or "not finite" in problem


def refused(plan: Plan, hosted: NDArray[np.int64], rounds: int | None, requests: Requests) -> dict[ClientId, str]:
    """Return the clients whose requests the node does not follow, with the reason.

    Raw data leaves a node only for a central algorithm, and only with the first model.

    Args:
        hosted: clients of the node, ascending.
        rounds: of the node's experiment; None where it does not know.
        requests: of the message.

    Raises:
        Refused: an exchange that the experiment does not have.
    """
    number, version = requests.exchange.number, requests.exchange.version
    last = MOST if rounds is None else rounds
    exchanges = last + 1 + (plan.valid_fraction > 0)  # one a round, one that measures the last model, the best's test
    if not (1 <= number <= exchanges and 0 <= version <= last):
        allowed = f"exchanges are from 1 to {exchanges} and versions from 0 to {last}"
        raise Refused("request", f"{allowed}, got exchange {number} of version {version}")
    if requests.train.any() and version == last:
        raise Refused("request", f"training ends with version {last}, got a request to train on it")
    raw = requests.raw_data & (not plan.algorithm.traits.centralized or version > 0)
    strange = ~np.isin(requests.clients, hosted)
    repeated = np.ones(len(requests), bool)
    repeated[np.unique(requests.clients, return_index=True)[1]] = False
    bad = raw | strange | repeated
    return {
        int(client): NOT_HOSTED if strange[k] else RAW_DATA if raw[k] else TWICE
        for k, client in enumerate(requests.clients.tolist() if bad.any() else ())
        if bad[k]
    }

"""The ClientApp: the same in a simulation, in Flower's own simulation and on a device."""

from fedmtl.runtime.flower import guard

guard.install()  # before torch is imported: a signal meanwhile would leave the node waiting without end

import logging  # noqa: E402

import numpy as np  # noqa: E402
from flwr.app import Context, Message, MessageType  # noqa: E402
from flwr.clientapp import ClientApp  # noqa: E402

from fedmtl.client.client_pool import ClientPool  # noqa: E402
from fedmtl.client.own_data import OtherData, changed  # noqa: E402
from fedmtl.client.state.base import LostState, StateStore  # noqa: E402
from fedmtl.protocol.permissions import OTHER_DATA, STATE_LOST, permitted  # noqa: E402
from fedmtl.protocol.requests import START_ANEW, Replies, Requests  # noqa: E402
from fedmtl.runtime.flower.failures import error_reply  # noqa: E402
from fedmtl.runtime.flower.messages import read_requests, replies_content, roster_content, run_of, wants_sums  # noqa: E402
from fedmtl.runtime.node import client_pool_of, is_hosted, read_run_config, store_of  # noqa: E402

guard.loaded()

log = logging.getLogger("fedmtl")

app = ClientApp()
"""Answers every message with a reply. An error becomes its class and a code; the text stays in the node's log."""


@app.query()
@app.train()
@app.evaluate()
def contained(message: Message, context: Context) -> Message:
    """The reply to a message, also where it failed: no text of an exception leaves the node."""

    def round_seconds() -> float:
        return read_run_config(context.run_config, context.node_config).round_seconds

    try:
        with guard.guarded(message, context, round_seconds):
            return reply(message, context, device=True)
    except (Exception, guard.Ended) as error:  # whatever a model, data or a message raises; a signal, a deadline
        return error_reply(error, message)


def reply(message: Message, context: Context, device: bool = False) -> Message:
    """The reply to a message. Errors come through: Grids of this machine show them to the caller.

    A query asks for the clients of the node. Any other message holds the requests of a round: measure the last model,
    then train; after the last round, only measure.

    Args:
        device: whether clients whose private state is lost, or whose data are others than when the run began, are left
            out and named, so that the node's others go on; else that is an error.

    Raises:
        OtherExperiment: the server runs another experiment.
        Refused: a message that no server of this experiment sends.
    """
    client_pool = client_pool_of(context)
    if message.metadata.message_type == MessageType.QUERY:
        return Message(roster_content(client_pool.roster), reply_to=message)
    round, requests = read_requests(client_pool.plan, message.content)
    requests, problems = permitted(client_pool.plan, client_pool.clients.clients, client_pool.rounds, round, requests)
    restart = bool(context.node_config.get("restart-clients", False))  # who runs the node decides for its clients
    if restart:
        requests.since = np.full(len(requests), START_ANEW)
    store, add = store_of(context, run_of(message.content)), wants_sums(message.content)
    if device:
        replies = of_a_device(client_pool, round, requests, store, add, restart)
    else:
        replies = client_pool.handle(round, requests, store, add)
    replies.problems.update(problems)
    return Message(replies_content(round, replies, client_pool.seconds, is_hosted(context)), reply_to=message)


def of_a_device(
    client_pool: ClientPool, round: int, requests: Requests, store: StateStore, add: bool, restart: bool
) -> Replies:
    """The replies of all clients whose data and private state are what they must be; the others are named.

    Raises:
        OtherData, LostState: no client is left.
    """
    other = changed(store, client_pool.clients, requests.clients, restart)
    problems = dict.fromkeys(other, OTHER_DATA)
    if other:
        log.error("round %d: clients %s: %s", round, other, OTHER_DATA)
        requests = requests.select(np.flatnonzero(~np.isin(requests.clients, other)))
        if not len(requests):
            raise OtherData(f"clients {other}: {OTHER_DATA}")
    while True:
        try:
            replies = client_pool.handle(round, requests, store, add)
        except LostState as lost:  # nothing has been trained: states are loaded before
            left = requests.select(np.flatnonzero(~np.isin(requests.clients, lost.clients)))
            if not 0 < len(left) < len(requests):
                raise
            log.error("round %d: %s", round, lost)
            problems.update(dict.fromkeys(lost.clients, STATE_LOST))
            requests = left
        else:
            replies.problems.update(problems)
            return replies

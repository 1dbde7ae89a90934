"""The ClientApp, the same in a simulation, in Flower's own simulation and on a device."""

from fedmtl.runtime.flower import guard

guard.install()  # before torch is imported: a signal meanwhile would make the node wait forever

import logging  # noqa: E402

import numpy as np  # noqa: E402
from flwr.app import Context, Message, MessageType  # noqa: E402
from flwr.clientapp import ClientApp  # noqa: E402

from fedmtl.client.client_pool import ClientPool  # noqa: E402
from fedmtl.client.own_data import OtherData, changed  # noqa: E402
from fedmtl.client.state.base import LostState, StateStore  # noqa: E402
from fedmtl.protocol.permissions import OTHER_DATA, STATE_LOST, refused  # noqa: E402
from fedmtl.protocol.requests import START_ANEW, Replies, Requests  # noqa: E402
from fedmtl.runtime.flower.failures import error_reply  # noqa: E402
from fedmtl.runtime.flower.messages import read_requests, replies_content, roster_content, run_of, wants_sums  # noqa: E402
from fedmtl.runtime.flower.records import PREPARATION  # noqa: E402
from fedmtl.runtime.node import client_pool_of, is_hosted, read_run_config, store_of  # noqa: E402
from fedmtl.runtime.prepared_node import prepared_pool, reply_to_preparation  # noqa: E402

guard.loaded()

log = logging.getLogger("fedmtl")

app = ClientApp()
"""Replies to every message. An error becomes its class and a code; the text stays in the node's log."""


@app.query()
@app.train()
@app.evaluate()
def contained(message: Message, context: Context) -> Message:
    """Reply to a message, also after an error: no text of an exception leaves the node."""

    def round_seconds() -> float:
        return read_run_config(context.run_config, context.node_config).runtime.round_seconds

    try:
        with guard.guarded(message, context, round_seconds):
            return reply(message, context, device=True)
    except (Exception, guard.Ended) as error:  # any error of a model, data or a message; a signal, a deadline
        return error_reply(error, message)


def reply(message: Message, context: Context, device: bool = False) -> Message:
    """Reply to a message. Errors are raised: Grids of this machine show them to the caller.

    A query asks for the clients of the node, or is one of a preparation. Any other message holds the requests of an
    exchange: measure the model, train on it, or both.

    Args:
        message: of the server.
        context: of the node.
        device: exclude and name clients with lost private state, or with other data than at the run's start, so that
            the node's other clients go on; else that is an error.

    Raises:
        OtherExperiment: the server runs another experiment.
        Refused: a message that no server of this experiment sends.
    """
    if message.metadata.message_type == MessageType.QUERY:
        if PREPARATION in message.content:
            return reply_to_preparation(message, context)
        return Message(roster_content(client_pool_of(context).roster), reply_to=message)
    client_pool = prepared_pool(context, lambda: run_of(message.content))
    requests = read_requests(client_pool.plan, message.content)
    problems = refused(client_pool.plan, client_pool.clients.clients, client_pool.rounds, requests)
    if problems:  # a client with two requests gets neither: which of the two is meant cannot be known
        requests = requests.without(problems)
    restart = bool(context.node_config.get("restart-clients", False))  # the node's owner decides for its clients
    if restart:
        requests.since = np.full(len(requests), START_ANEW)
    store, add = store_of(context, run_of(message.content)), wants_sums(message.content)
    if device:
        replies = device_replies(client_pool, requests, store, add, restart)
    else:
        replies = client_pool.handle(requests, store, add)
    replies.problems.update(problems)
    number = requests.exchange.number
    return Message(replies_content(number, replies, client_pool.seconds, is_hosted(context)), reply_to=message)


def device_replies(client_pool: ClientPool, requests: Requests, store: StateStore, add: bool, restart: bool) -> Replies:
    """Return the replies of all clients with the expected data and private state; the others are named.

    Raises:
        OtherData, LostState: no client is left.
    """
    number = requests.exchange.number
    other = changed(store, client_pool.clients, requests.clients, restart)
    problems = dict.fromkeys(other, OTHER_DATA)
    if other:
        log.error("round %d: clients %s: %s", number, other, OTHER_DATA)
        requests = requests.without(other)
        if not len(requests):
            raise OtherData(f"clients {other}: {OTHER_DATA}")
    while True:
        try:
            replies = client_pool.handle(requests, store, add)
        except LostState as lost:  # before any training, since states are loaded first
            left = requests.without(lost.clients)
            if not 0 < len(left) < len(requests):
                raise
            log.error("round %d: %s", number, lost)
            problems.update(dict.fromkeys(lost.clients, STATE_LOST))
            requests = left
        else:
            replies.problems.update(problems)
            return replies

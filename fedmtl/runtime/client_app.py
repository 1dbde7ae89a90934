"""The ClientApp: the same in a simulation, in Flower's own simulation and on a device."""

import numpy as np
from flwr.app import Context, Message, MessageType
from flwr.clientapp import ClientApp

from fedmtl.runtime import guard

guard.install()  # before torch is imported: a signal meanwhile would leave the node waiting without end

from fedmtl.federation.permitted import permitted  # noqa: E402
from fedmtl.federation.visits import ANEW  # noqa: E402
from fedmtl.runtime.failures import error_reply  # noqa: E402
from fedmtl.runtime.messages import read_visits, replies_content, roster_content, run_of, wants_sums  # noqa: E402
from fedmtl.runtime.node import fleet_of, is_hosted, read_run_config, store_of  # noqa: E402

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
            return reply(message, context)
    except (Exception, guard.Ended) as error:  # whatever a model, data or a message raises; a signal, a deadline
        return error_reply(error, message)


def reply(message: Message, context: Context) -> Message:
    """The reply to a message. Errors come through: Grids of this machine show them to the caller.

    A query asks for the clients of the node. Any other message holds the requests of a round: measure the last model,
    then train; after the last round, only measure.

    Raises:
        OtherExperiment: the server runs another experiment.
        Refused: a message that no server of this experiment sends.
    """
    fleet = fleet_of(context)
    if message.metadata.message_type == MessageType.QUERY:
        return Message(roster_content(fleet.roster), reply_to=message)
    round, visits = read_visits(fleet.plan, message.content)
    visits, problems = permitted(fleet.plan, fleet.clients.clients, fleet.rounds, round, visits)
    if context.node_config.get("restart-clients", False):  # who runs the node decides for its clients
        visits.since = np.full(len(visits), ANEW)
    store = store_of(context, run_of(message.content))
    replies = fleet.handle(round, visits, store, wants_sums(message.content))
    replies.problems.update(problems)
    return Message(replies_content(round, replies, fleet.seconds, is_hosted(context)), reply_to=message)

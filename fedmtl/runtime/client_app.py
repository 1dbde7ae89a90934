"""The ClientApp: the same in a simulation, in Flower's own simulation and on a device."""

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedmtl.runtime.messages import read_visits, replies_content, roster_content, run_of, wants_sums
from fedmtl.runtime.node import fleet_of, is_hosted, store_of

app = ClientApp()


@app.query()
def query(message: Message, context: Context) -> Message:
    """Who lives here."""
    return Message(roster_content(fleet_of(context).roster), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """The visits of a round: measure the last model, then train."""
    fleet = fleet_of(context)
    round, visits = read_visits(fleet.plan, message.content)
    store = store_of(context, run_of(message.content))
    replies = fleet.handle(round, visits, store, wants_sums(message.content))
    return Message(replies_content(round, replies, fleet.seconds, is_hosted(context)), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """The visits after the last round, which only measure."""
    return train(message, context)

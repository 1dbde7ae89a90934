"""A node's part in a preparation: it sends its clients' summaries, and keeps what all clients agreed on."""

from collections.abc import Callable

from flwr.app import ConfigRecord, Context, Message

from fedmtl.client.client_pool import ClientPool
from fedmtl.client.state.base import StateError
from fedmtl.client.state.files import AGREED
from fedmtl.protocol.packets import PacketError
from fedmtl.protocol.preparation import read_agreed, summary_packets
from fedmtl.protocol.rejections import Refused
from fedmtl.runtime.flower.messages import NotPrepared, run_of
from fedmtl.runtime.flower.preparation_messages import read_query, reply_content
from fedmtl.runtime.flower.records import PREPARATION
from fedmtl.runtime.node import files_of, is_hosted, node_of

KEY = "fedmtl.agreed"
"""The record in Flower's context, of a node whose private states are in no files."""


def reply_to_preparation(message: Message, context: Context) -> Message:
    """Reply with the summaries of the node's clients, or keep what was agreed, and make their inputs by it.

    Raises:
        OtherExperiment: the server prepares other columns, or by other choices.
        Refused: a query that no server of this experiment sends.
        ValueError: inputs cannot be made by what was agreed.
    """
    node, run = node_of(context), run_of(message.content, PREPARATION)
    if node.prepared is None:
        raise Refused("message", "this node's data needs no preparation")
    query = read_query(message.content, node.prepared.digest)
    if strangers := [client for client in query.clients.tolist() if client not in node.prepared.sent]:
        raise Refused("owner", f"client {strangers[0]} does not live on this node")
    if query.packet is None:
        packets = summary_packets(node.prepared, query.clients.tolist())
        return Message(reply_content(query.clients, packets), reply_to=message)
    node.pool(read_agreed(query.packet, node.prepared.digest))  # what cannot be made of it is an error now
    if not is_hosted(context):
        _keep(context, run, query.packet)
    return Message(reply_content(query.clients), reply_to=message)


def prepared_pool(context: Context, run: Callable[[], str]) -> ClientPool:
    """Return the clients of a node, with inputs by what all clients of a run agreed on.

    Args:
        context: of the node.
        run: returns the name of the message's run.

    Raises:
        NotPrepared, StateError: as ``agreed_of``.
    """
    node = node_of(context)
    if node.prepared is None or is_hosted(context):
        return node.client_pool
    return node.pool(agreed_of(context, run(), node.prepared.digest))


def agreed_of(context: Context, run: str, digest: bytes) -> bytes:
    """Return what was agreed at the beginning of a run.

    Raises:
        NotPrepared: this node has not received it.
        StateError: the file is damaged.
    """
    files = files_of(context, run)
    if files is not None:
        packet = files.read(AGREED) if files.exists(AGREED) else None
    else:
        found = context.state.config_records.get(KEY)
        packet = found["packet"] if found is not None and found.get("run") == run else None
    if not isinstance(packet, bytes):
        raise NotPrepared("The node has not received what clients agreed on before the first round.")
    try:
        return read_agreed(packet, digest)
    except PacketError as error:
        where = KEY if files is None else files.path(AGREED)
        raise StateError(f"{where}: {error} Restore it, or begin the run anew.") from None


def _keep(context: Context, run: str, packet: bytes) -> None:
    files = files_of(context, run)
    if files is not None:
        files.write(AGREED, packet, mode=0o600)
    else:
        context.state[KEY] = ConfigRecord({"run": run, "packet": packet})

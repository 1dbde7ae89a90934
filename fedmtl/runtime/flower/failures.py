"""Errors of a node as messages to the server: a class and a code, and never a text.

A text may hold a path, a label, a row of data; it stays in the node's own log.
"""

import logging
from collections.abc import Iterable

from flwr.app import Error, Message, Metadata
from flwr.common.constant import SUPERLINK_NODE_ID

from fedmtl.client.own_data import OtherData
from fedmtl.client.state.base import StateError
from fedmtl.core.text import escaped
from fedmtl.protocol.rejections import Refused
from fedmtl.runtime.flower.guard import Ended
from fedmtl.runtime.flower.messages import NotPrepared, OtherExperiment

log = logging.getLogger("fedmtl")

RAISED = 2
"""Flower's code of an error reply after an exception of the app."""

CODES = {
    "other-experiment": "the node runs another experiment: give both the same preset, settings and version of fedmtl, "
    "and of a table the same vocabulary and statistics",
    "not-prepared": "the node has not received what clients agreed on before the first round: look at its log at the "
    "run's start",
    "request": "the node could not read the request, or its experiment does not allow it",
    "state": "a client's stored private state cannot be used: look at the node's log",
    "other-data": "clients have other data than when the run began: restore the former, or set restart-clients=true in "
    "the node's configuration, by which they restart",
    "memory": "the node ran out of memory",
    "disk": "the node could not read or write a file: look at its log",
    "ended": "the node's process was stopped by a signal, or the message took longer than it may",
    "failed": "look at the node's log",
}
"""Code -> its meaning, for the server's log."""


_CODE_OF = {
    OtherExperiment: "other-experiment",
    NotPrepared: "not-prepared",
    Refused: "request",
    StateError: "state",
    OtherData: "other-data",
    MemoryError: "memory",
    OSError: "disk",
    Ended: "ended",
}


def code_of(error: BaseException) -> str:
    """Return the code of an error, a key of ``CODES``."""
    return next((code for kind, code in _CODE_OF.items() if isinstance(error, kind)), "failed")


def error_reply(error: BaseException, message: Message) -> Message:
    """Return the reply to a message that failed; the error's text is in the node's log only."""
    log.error("a message of type %s failed", escaped(message.metadata.message_type, 40), exc_info=error)
    return Message(Error(RAISED, f"{type(error).__name__} [{code_of(error)}]"), reply_to=message)


def sender(message: Message, sent: Iterable[Metadata]) -> int:
    """Return the node that sent a reply.

    For a lost node, Flower's SuperLink replies under its own id, which no node has.

    Args:
        message: a reply.
        sent: metadata of the messages that were sent.
    """
    node = message.metadata.src_node_id
    if node == SUPERLINK_NODE_ID and not message.has_content():
        replied = message.metadata.reply_to_message_id
        return next((each.dst_node_id for each in sent if replied and each.message_id == replied), node)
    return node


def explained(message: Message) -> str:
    """Describe an error reply for the server's log: shortened, escaped, and with the meaning of its code."""
    reason = escaped(message.error.reason or "no reason")
    meaning = next((meaning for code, meaning in CODES.items() if reason.endswith(f"[{code}]")), "")
    return f"error {message.error.code}, {reason}" + (f": {meaning}" if meaning else "")

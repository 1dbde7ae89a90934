"""Messages of the strategy: whom they go to and whom they are about."""

from types import SimpleNamespace
from typing import Any

import pytest
from flwr.server.superlink.linkstate.utils import create_message_error_unavailable_res_message
from flwr.supercore.task_identity import TaskIdentity

from fedmtl.runtime.flower.messages import read_requests
from fedmtl.runtime.flower.strategy import FedMTL
from tests.server.toy import make_toy


@pytest.mark.parametrize("nodes", [(1, 2), (3, 2**63 + 5), (2**64 - 1, 2**64 - 2)], ids=str)
def test_every_client_gets_its_request_on_its_node(nodes: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Flower's node ids are 64 bits without a sign: neither an int64 nor a float holds them."""
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)
    toy = make_toy()
    node_map = {client: nodes[client % 2] for client in range(5)}
    grid: Any = SimpleNamespace(get_node_ids=lambda: list(nodes))
    strategy = FedMTL(toy.server, node_map, "run", 1.0)
    messages = strategy.configure_train(1, None, None, grid)  # pyright: ignore[reportArgumentType]
    found = {
        message.metadata.dst_node_id: [request.client for request in read_requests(toy.plan, message.content)]
        for message in messages
    }
    assert found == {nodes[0]: [0, 2, 4], nodes[1]: [1, 3]}


def test_a_lost_node_has_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flower's SuperLink replies for a node that is lost, under its own id 1, and says to which message."""
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)
    toy = make_toy()
    nodes = (2**63 + 5, 77)
    grid: Any = SimpleNamespace(get_node_ids=lambda: list(nodes))
    strategy = FedMTL(toy.server, {client: nodes[client % 2] for client in range(5)}, "run", 1.0)
    messages = strategy.configure_train(1, None, None, grid)  # pyright: ignore[reportArgumentType]
    for number, message in enumerate(messages):  # as Flower's grid does when it sends them
        message.metadata.__dict__["_message_id"] = f"message-{number}"
    replies = []
    for message in messages:
        metadata = message.metadata
        lost = create_message_error_unavailable_res_message(metadata, "node_unavail")
        assert lost.metadata.src_node_id == 1
        replies.append(lost)
    with pytest.raises(RuntimeError) as caught:
        strategy.aggregate_train(1, replies)
    text = str(caught.value)
    assert str(nodes[0]) in text or str(nodes[1]) in text
    assert "node 1 " not in text and "node 1:" not in text

"""A node's data: end to end in memory or in files, and every client's own when it is asked for."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fedmtl.client.data_shard import Shard, shard_of
from fedmtl.client.shard_files import read_shard, write_shard
from fedmtl.data import ClientData, Federation
from fedmtl.data.base import Split
from fedmtl.data.batches import make_batches
from fedmtl.engines.base import LazyRows
from tests.server.toy import DATA


def with_an_empty_test() -> dict[int, ClientData]:
    """The toy's clients, of whom client 3 has no test examples, under ids that are far apart."""
    clients = {100 * client + 7: data for client, data in DATA.load(0).clients.items()}
    train, test = clients[307]
    clients[307] = ClientData(train, Split(test.x[:0], {task: labels[:0] for task, labels in test.y.items()}))
    return clients


@pytest.fixture(params=["memory", "files"])
def shard(request: pytest.FixtureRequest, tmp_path: Path) -> Shard:
    if request.param == "memory":
        return shard_of(with_an_empty_test())
    write_shard(tmp_path / "shard", with_an_empty_test())
    found = read_shard(tmp_path / "shard")
    for path in (tmp_path / "shard").iterdir():  # what is mapped outlives its name
        path.unlink()
    return found


def test_a_shard_reads_as_the_clients_it_was_made_of(shard: Shard) -> None:
    clients = with_an_empty_test()
    assert list(shard) == sorted(clients) and len(shard) == 5
    for client, data in clients.items():
        assert shard[client].tasks == data.tasks
        for got, expected in zip(shard[client], data, strict=True):
            assert got.x.dtype == expected.x.dtype and np.array_equal(got.x, expected.x)
            assert got.y.keys() == expected.y.keys()
            assert all(np.array_equal(got.y[task], labels, equal_nan=True) for task, labels in expected.y.items())


def test_the_clients_of_one_set_of_tasks_share_a_table(shard: Shard) -> None:
    owned = {table.owned: table.clients.tolist() for table in shard.tables}
    assert owned == {
        ("binary_1", "multiclass_0"): [7, 407],
        ("binary_1", "regression_2"): [107],
        ("multiclass_0", "multilabel_3"): [307],
        ("multilabel_3", "regression_2"): [207],
    }
    tables, rows = shard.locate(np.array([407, 107, 7]))
    assert [shard.tables[table].clients[row] for table, row in zip(tables, rows, strict=True)] == [407, 107, 7]


@pytest.mark.parametrize("stranger", [0, 8, 408])
def test_who_does_not_live_here_is_named(shard: Shard, stranger: int) -> None:
    with pytest.raises(KeyError, match=rf"Client {stranger} does not live on this node, which hosts \[7, 107"):
        shard.locate(np.array([7, stranger]))
    with pytest.raises(KeyError, match="does not live"):
        shard_of({}).locate(np.array([stranger]))


@pytest.mark.parametrize("batch_size", [3, None])
def test_batches_of_several_clients_are_those_of_each(shard: Shard, batch_size: int | None) -> None:
    """A client's rows come first in each batch and its steps first in the epoch; the rest has mask 0."""
    (table,) = [table for table in shard.tables if len(table.clients) == 2]
    sizes = table.train.size
    assert sizes[0] != sizes[1]
    order = np.zeros((2, sizes.max()), np.int64)
    for k, size in enumerate(sizes):
        order[k, :size] = np.random.default_rng(k).permutation(size)
    together = table.train.batches(np.array([0, 1]), order, batch_size)
    for k, client in enumerate(table.clients.tolist()):
        train = shard[client].train
        alone = make_batches(train.x, train.y, batch_size, order[k, : sizes[k]])
        for step, batch in enumerate(together):
            assert batch["x"].shape[:1] == (2,) and batch["x"].is_contiguous()
            real = batch["mask"][k] > 0
            assert int(real.sum()) == (int(alone[step]["mask"].sum()) if step < len(alone) else 0)
            if real.any():
                for key, values in alone[step].items():
                    wanted = values[alone[step]["mask"] > 0]
                    np.testing.assert_array_equal(batch[key][k][real].numpy(), wanted.numpy())
            assert bool(batch["x"].isfinite().all())
    for batch, uncopied in zip(together, table.train.lazy_batches(np.array([0, 1]), order, batch_size), strict=True):
        assert uncopied.keys() == batch.keys()
        for key, value in uncopied.items():
            assert torch.equal(value.copy() if isinstance(value, LazyRows) else value, batch[key])
            assert value.stride() == batch[key].stride()
            assert not isinstance(value, LazyRows) or value.index.is_contiguous()
            assert isinstance(value, LazyRows) == (key == "x" or key.startswith("y."))


def test_the_schema_is_the_federation_without_its_examples() -> None:
    federation = DATA.load(0)
    schema = federation.schema
    assert isinstance(federation, Federation) and schema.tasks == federation.tasks
    assert schema.input_shape == federation.input_shape and not schema.integer_inputs
    assert dict(schema.owners) == {client: data.tasks for client, data in federation.clients.items()}

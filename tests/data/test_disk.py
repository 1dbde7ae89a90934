"""Arrays on disk: the same numbers as in memory, wherever they lie in a file; what is wrong with a file is said."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedmtl.client.data_shard import shard_of
from fedmtl.client.shard_files import read_shard, write_shard
from fedmtl.data import ClientData, Federation, JoinedRows, Split, disk, disk_file, disk_open, from_arrays, joined
from fedmtl.data.disk import DiskArray, end_to_end
from fedmtl.data.disk_open import on_disk
from fedmtl.data.joined import some_of
from fedmtl.engines.batching import streamed
from fedmtl.run_experiment import run
from fedmtl.runs.same_run import examples_digest
from fedmtl.tasks import Binary, MultiClass
from tests.toys import experiment

DRAW = np.random.default_rng(0)
WHOLE = DRAW.standard_normal((60, 4, 6)).astype(np.float32)


def mapped(folder: Path, array: np.ndarray, mode: Any = "r") -> np.memmap:
    path = folder / f"{len(list(folder.iterdir()))}.npy"
    np.save(path, array)
    return np.load(path, mmap_mode=mode)


VIEWS: list[Callable[[Any], Any]] = [
    lambda x: x,
    lambda x: x[7:50],
    lambda x: x[::3],
    lambda x: x[5:, 1:3],
    lambda x: x[:, :, 2],
    lambda x: x[:, ::2, 1::2],
    lambda x: x.transpose(0, 2, 1),
    lambda x: x.reshape(-1, 24),
    lambda x: x[3],
    lambda x: x.view(np.ndarray)[4:],
]


@pytest.fixture(params=["usual", "small"])
def reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are read with gaps in one call, or in calls of a few rows."""
    if request.param == "small":
        monkeypatch.setattr(disk_file, "GAP", 1)
        monkeypatch.setattr(disk_file, "WINDOW", 500)
        monkeypatch.setattr(disk, "BLOCK", 700)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8", "<i2", "|u1", "|b1"])
@pytest.mark.usefixtures("reading")
def test_rows_are_those_of_numpy(view: Callable[[Any], Any], kind: str, tmp_path: Path) -> None:
    """In any order, several times, as another type, of another choice, and block by block."""
    x = view(mapped(tmp_path, (WHOLE * 20).astype(kind)))
    found = on_disk("x", x)
    assert found is not None and found.shape == x.shape and found.nbytes == x.nbytes and found.ndim == x.ndim
    rows = np.array([[1, 0, len(x) - 1], [1, 2, 3]])
    assert (
        np.array_equal(found[rows], x[rows])
        and np.array_equal(found[1:3], x[1:3])
        and found[1].tolist() == x[1].tolist()
    )
    assert np.array_equal(np.asarray(found), x) and np.array_equal(
        found[x.reshape(len(x), -1)[:, 0] > 0], x[x.reshape(len(x), -1)[:, 0] > 0]
    )
    assert np.array_equal(found.astype(np.float64)[rows], x.astype(np.float64)[rows])
    some = found.select(np.array([3, 1, 2]))
    assert np.array_equal(some[:], x[[3, 1, 2]]) and np.array_equal(some.select(slice(1, 3))[:], x[[1, 2]])
    assert np.array_equal(np.concatenate(list(found.blocks())), x)


@pytest.mark.usefixtures("reading")
def test_arrays_end_to_end_stay_on_disk(tmp_path: Path) -> None:
    """Of one file, of others, with chosen rows, and one in memory."""
    first, second = mapped(tmp_path, WHOLE), mapped(tmp_path, WHOLE + 1)
    parts: list[Any] = [on_disk("", first[:9]), on_disk("", second), WHOLE[:3], on_disk("", first[20:30])]
    parts.append(parts[0].select([5, 2]))
    found = end_to_end(parts)
    expected = np.concatenate([np.asarray(part) for part in parts])
    rows = np.random.default_rng(1).permutation(len(expected))
    assert isinstance(found, DiskArray) and np.array_equal(found[rows], expected[rows])
    assert len(found.parts) == 4


def examples(make: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    """Three clients of views of one array and of an array of their own, one with parts, one with a task of its own."""
    x, y = make(WHOLE), (WHOLE[:, 0, 0] > 0).astype(np.int64)
    other = make(WHOLE[::-1].copy())
    return {
        "Graz": (x[:20], {"a": y[:20], "b": WHOLE[:20, 1, 1]}),
        "Linz": {"train": (x[20:40], {"a": y[20:40]}), "test": (other[:5], {"a": y[:5]})},
        "Wien": (other[10:50], {"a": y[10:50], "b": WHOLE[10:50, 2, 2]}),
    }


def test_a_federation_on_disk_is_the_one_in_memory(tmp_path: Path) -> None:
    memory = from_arrays(examples(lambda x: x)).load(3)
    stored = from_arrays(examples(lambda x: mapped(tmp_path, x))).load(3)
    assert all(isinstance(split.x, DiskArray) for data in stored.clients.values() for split in data)
    assert examples_digest(stored.clients) == examples_digest(memory.clients)
    assert stored.schema.owners == memory.schema.owners and stored.client_names == memory.client_names
    assert shard_of(stored.clients)[1].train.x[:].tolist() == memory.clients[1].train.x.tolist()
    write_shard(tmp_path / "shard", some_of(stored.clients, np.array([0, 2])))
    again = read_shard(tmp_path / "shard")
    assert examples_digest(again) == examples_digest(some_of(memory.clients, np.array([0, 2])))
    assert sum(each.stat().st_size for each in (tmp_path / "shard").iterdir()) < 5000


def test_joined_rows_stay_on_disk(tmp_path: Path) -> None:
    """One mapped array of all clients, as ``JoinedRows`` and in ``Federation``."""
    y = {"a": (WHOLE[:, 0, 0] > 0).astype(np.float32)}

    def made(x: Any) -> Federation:
        train, test = (JoinedRows(x, y, np.array(start), np.array([10, 12])) for start in ([0, 10], [25, 40]))
        return Federation({"a": Binary()}, (4, 6), joined([(("a",), np.array([4, 7]), train, test)]))

    stored, memory = made(mapped(tmp_path, WHOLE)), made(WHOLE)
    assert isinstance(stored.clients[4].train.x, DiskArray)
    assert examples_digest(stored.clients) == examples_digest(memory.clients)
    split = Split(mapped(tmp_path, WHOLE), y)
    assert isinstance(Federation({"a": Binary()}, (4, 6), {0: ClientData(split, split)}).clients[0].test.x, DiskArray)


@pytest.mark.parametrize("kind", ["<u1", "<i8"])
def test_whole_numbers_are_tokens_or_become_floats(kind: str, tmp_path: Path) -> None:
    tokens = DRAW.integers(0, 200, (20, 3)).astype(kind)
    found = from_arrays({k: (mapped(tmp_path, tokens), {"a": tokens[:, 0] > 99}) for k in (0, 1)}).load(0)
    assert found.schema.integer_inputs and found.clients[0].train.x[:].dtype == np.int64
    floats = found.with_floats()
    assert not floats.schema.integer_inputs and floats.clients[1].test.x[:].dtype == np.float32


FILES = {"x": WHOLE, "sick": WHOLE[:, 0, 0] > 0}


def test_a_folder_of_files(tmp_path: Path) -> None:
    """Clients by the names of their folders; one has parts."""
    for name in ("Graz", "Wien/train", "Wien/test"):
        (tmp_path / name).mkdir(parents=True)
        for file, array in FILES.items():
            np.save(tmp_path / name / f"{file}.npy", array)
    found = from_arrays(tmp_path).load(0)
    expected = from_arrays(
        {
            "Graz": (WHOLE, {"sick": FILES["sick"]}),
            "Wien": dict.fromkeys(("train", "test"), (WHOLE, {"sick": FILES["sick"]})),
        }
    )
    assert found.client_names == {0: "Graz", 1: "Wien"} and isinstance(found.clients[0].train.x, DiskArray)
    assert examples_digest(found.clients) == examples_digest(expected.load(0).clients)
    (tmp_path / "Graz" / "x.npy").unlink()
    with pytest.raises(ValueError, match=r"Graz has no x.npy, .* it has \['sick'\]"):
        from_arrays(tmp_path)
    with pytest.raises(ValueError, match="Wien has the folders test, train, valid; a client has files, or"):
        (tmp_path / "Wien" / "valid").mkdir()
        os.rename(tmp_path / "Graz" / "sick.npy", tmp_path / "Graz" / "x.npy")
        (tmp_path / "Graz").rename(tmp_path / "_aside")
        from_arrays(str(tmp_path))
    with pytest.raises(ValueError, match="there is no folder"):
        from_arrays(tmp_path / "absent")


@pytest.fixture
def streamed_batches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that read batch by batch, beside those that run together."""
    monkeypatch.setattr("fedmtl.client.data_shard.AT_ONCE", request.param)
    monkeypatch.setattr("fedmtl.engines.vmap.AT_ONCE", request.param)
    monkeypatch.setattr(streamed.bounded, "__defaults__", (request.param,))


@pytest.mark.parametrize(
    ("algorithm", "streamed_batches"),
    [("FedPer(epochs=1)", 2**24), ("Ditto(epochs=1, personal_epochs=1)", 3000), ("FedEM(epochs=1)", 100)],
    indirect=["streamed_batches"],
)
@pytest.mark.usefixtures("streamed_batches")
def test_a_run_from_disk_is_the_run_in_memory(algorithm: str, tmp_path: Path) -> None:
    """Bit for bit client by client, and to rounding in stacks: 96 bytes an example, so that 3000 are two clients of 16
    and 100 are no client."""
    found = {}
    for name, make in (("memory", lambda x: x), ("disk", lambda x: mapped(tmp_path, x))):
        data = from_arrays(examples(make))
        for engine in ("Loop", "VMap"):
            one = experiment(data=data, engine=engine, algorithm=algorithm, valid_fraction=0.2, rounds=2)
            found[name, engine] = run(one) if (name, engine) != ("memory", "VMap") else None
    assert found["disk", "Loop"].summary["digests"] == found["memory", "Loop"].summary["digests"]
    for name, value in _numbers(found["memory", "Loop"].state).items():
        assert torch.allclose(_numbers(found["disk", "VMap"].state)[name], value, atol=1e-5)


def _numbers(state: Any) -> dict[str, torch.Tensor]:
    from fedmtl.core.trees import tree_leaves

    return {str(place): torch.as_tensor(leaf) for place, leaf in enumerate(tree_leaves(state))}


def test_a_file_that_has_changed_is_refused(tmp_path: Path) -> None:
    x = mapped(tmp_path, WHOLE)
    found = on_disk("x", x)
    assert found is not None
    path = Path(str(x.filename))
    found[0]
    os.utime(path, ns=(1, 1))
    with pytest.raises(ValueError, match=r"0.npy has changed since its arrays were given: it was written to; make"):
        found[0]
    os.truncate(path, 500)
    with pytest.raises(ValueError, match=r"had 5,\d+ bytes and has 500"):
        found[0]
    path.unlink()
    with pytest.raises(ValueError, match=r"0.npy cannot be read \(No such file or directory\)"):
        found[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.npz", b"", r"\.npy files, got .*x.npz'; unpack it"),
        ("x.csv", b"", r"\.npy files, got .*x.csv'\."),
        ("x.npy", b"no array", "is no .npy file"),
        ("absent.npy", None, "cannot be read .No such file"),
    ],
)
def test_files_that_are_no_arrays(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"Client 0, inputs: .*{message}"):
        from_arrays({0: (tmp_path / name, {"a": [0, 1, 1]})})


def test_mapped_arrays_begin_anywhere_in_a_file(tmp_path: Path) -> None:
    """Beyond a page, at no multiple of one, and written through the map that is given."""
    for offset in (24, 5 * 4096 + 40):
        raw = np.memmap(tmp_path / f"{offset}.bin", np.float32, "w+", offset, WHOLE.shape)
        raw[:] = WHOLE
        found = on_disk("x", raw[10:])
        assert found is not None and np.array_equal(found[:], WHOLE[10:])


def test_files_of_labels_may_hold_texts(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", WHOLE)
    np.save(tmp_path / "mood.npy", np.array(["sad", "glad", "glad"] * 20))
    found = from_arrays({"Graz": (tmp_path / "x.npy", {"mood": str(tmp_path / "mood.npy")})}).load(0)
    assert found.tasks == {"mood": MultiClass(2, ("glad", "sad"))}
    for name, message in (("absent.npy", "cannot be read .*No such file"), ("y.csv", "an array, or a .npy file")):
        with pytest.raises(ValueError, match=f"Client Graz, task 'mood': labels: .*{message}"):
            from_arrays({"Graz": (WHOLE, {"mood": str(tmp_path / name)})})


def test_arrays_that_cannot_stay_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut short, objects, and scattered rows, of which small ones are held in memory."""
    np.save(tmp_path / "cut.npy", WHOLE)
    os.truncate(tmp_path / "cut.npy", 600)
    with pytest.raises(
        ValueError, match=r"cut.npy has 600 bytes, and its array of shape \(60, 4, 6\) needs 5,\d+: it was"
    ):
        on_disk("x", tmp_path / "cut.npy")
    np.save(tmp_path / "objects.npy", np.array([{}, {}]), allow_pickle=True)
    with pytest.raises(ValueError, match="holds object; arrays on disk hold numbers"):
        on_disk("x", tmp_path / "objects.npy")
    np.save(tmp_path / "columns.npy", np.asfortranarray(WHOLE))
    assert on_disk("x", np.load(tmp_path / "columns.npy", mmap_mode="r")) is None
    assert on_disk("x", np.load(tmp_path / "columns.npy", mmap_mode="c")) is None
    assert on_disk("x", WHOLE) is None
    columns = from_arrays({0: (tmp_path / "columns.npy", {"a": WHOLE[:, 0, 0] > 0})}).load(0)
    assert isinstance(columns.clients[0].train.x, np.ndarray)
    monkeypatch.setattr(disk_open, "SMALL", 100)
    with pytest.raises(ValueError, match="lie scattered over .*columns.npy, column by column"):
        on_disk("x", tmp_path / "columns.npy")
    with pytest.raises(ValueError, match="scattered"):
        on_disk("x", mapped(tmp_path, WHOLE)[::-1])


@pytest.mark.parametrize(
    ("row", "value", "message"),
    [
        (57, np.nan, r"Client w: inputs hold NaN or infinity in 1 row\(s\), first row 57, feature \[1, 2\]"),
        (58, 1e39, r"first row 58, feature \[1, 2\] \(1e\+39\); scale the feature"),
    ],
)
@pytest.mark.usefixtures("reading")
def test_inputs_are_looked_at_block_by_block(row: int, value: float, message: str, tmp_path: Path) -> None:
    x = WHOLE.astype(np.float64)
    x[row, 1, 2] = value
    with pytest.raises(ValueError, match=message):
        from_arrays(
            {
                "v": (mapped(tmp_path, WHOLE), {"a": WHOLE[:, 0, 0] > 0}),
                "w": (mapped(tmp_path, x), {"a": x[:, 0, 0] > 0}),
            }
        )


def test_numbers_that_float32_merges_are_found_in_a_block(tmp_path: Path) -> None:
    ids = 2**40 + np.arange(60.0)[:, None]
    with pytest.raises(ValueError, match="Client 0: inputs: float32 keeps 7 digits"):
        from_arrays({0: (mapped(tmp_path, ids), {"a": WHOLE[:, 0, 0] > 0})})


def test_a_federation_trains_in_a_quarter_of_its_size(tmp_path: Path) -> None:
    """128 MB of inputs at two clients, and 32 MB of memory more than before at the peak, whole process."""
    status = Path("/proc/self/status")
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("the peak of memory cannot be set back here")

    def memory(line: str) -> int:
        found = next(one for one in status.read_text().splitlines() if one.startswith(line))
        return int(found.split()[1]) * 1024

    data = {}
    for k in range(2):
        x = np.lib.format.open_memmap(tmp_path / f"{k}.npy", "w+", np.float32, (2**13, 2**11))
        data[k] = (x, {"a": np.arange(2**13) % 2})
    one = experiment(data=from_arrays({0: (np.ones((9, 2**11), np.float32), {"a": np.arange(9) % 2})}), rounds=1)
    run(one)
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    run(experiment(data=from_arrays(data), rounds=1, batch_size=512, engine="VMap"))
    assert memory("VmHWM") - before < 2**25

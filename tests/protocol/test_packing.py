"""Packets: what is in them, to the byte, and that nothing else is taken for one."""

import struct
from typing import Any

import numpy as np
import pytest
import torch
import xxhash
from torch import Tensor

from fedmtl.codecs import FP16, Codec, Dense, ErrorFeedback, Int8, TopK
from fedmtl.core.trees import tree_stack
from fedmtl.core.types import Payload
from fedmtl.protocol.header import make_packet, read_packet, train_losses
from fedmtl.protocol.link import Link
from fedmtl.protocol.packets import DATA, DOWN, HEADER_BYTES, REPORT, UP, PacketError, concat
from fedmtl.protocol.packing import PacketBuffer, pack_payloads
from fedmtl.protocol.spec import Spec, spec_of
from tests.single_packets import pack_payload, unpack_payload

CODECS: list[Codec[Any]] = [Dense(), FP16(), Int8(block=4), TopK(0.5), ErrorFeedback(TopK(0.5))]
LOSSY = CODECS[1:]

each_codec = pytest.mark.parametrize("codec", CODECS, ids=repr)
each_lossy = pytest.mark.parametrize("codec", LOSSY, ids=repr)


def payload(seed: int = 0, scale: float = 1.0) -> dict[str, dict[str, Tensor]]:
    """13 numbers in four arrays of two records, one of them a scalar. Names are out of order on purpose."""
    draw = np.random.default_rng([3, seed])

    def array(*shape: int) -> Tensor:
        return torch.from_numpy(np.asarray(scale * draw.standard_normal(shape), np.float32))

    return {
        "trunk": {"trunk.b": array(3), "trunk.a": array(2, 3)},
        "extra": {"one": array(), "two": array(1, 3)},
    }


ORDER = [("extra", "one"), ("extra", "two"), ("trunk", "trunk.a"), ("trunk", "trunk.b")]
"""Sorted by record, then by name: the order in which arrays lie in a body."""

SPEC = spec_of(payload())


def flat(values: Payload) -> np.ndarray:
    return np.concatenate([values[record][name].numpy().reshape(-1) for record, name in ORDER])


def packed(
    values: Payload, codec: Codec[Any], reference: Payload | None = None, kind: int = UP, round: int = 7
) -> tuple[bytes, Any]:
    n = 5.0 if kind == UP else 0.0
    state = codec.init(13)
    chance = np.random.default_rng(1)
    return pack_payload(
        values, Link(SPEC, codec), state, chance, kind=kind, round=round, num_examples=n, reference=reference
    )


def coded(codec: Codec[Any], vector: np.ndarray) -> np.ndarray:
    """What the codec makes of a vector, with the same chance as ``packed``."""
    data, _ = codec.encode(vector, codec.init(vector.size), np.random.default_rng(1))
    return codec.decode(data, vector.size)


# What is in a packet


def test_the_spec_lists_arrays_by_record_and_name() -> None:
    assert [(entry.record, entry.name) for entry in SPEC] == ORDER
    assert [entry.shape for entry in SPEC] == [(), (1, 3), (2, 3), (3,)]
    assert SPEC.size == 1 + 3 + 6 + 3


@each_codec
@pytest.mark.parametrize("kind", [DOWN, UP])
def test_the_header_is_32_bytes_of_these_fields(codec: Codec[Any], kind: int) -> None:
    """Read with a format of its own, written from the documentation."""
    packet, _ = packed(payload(), codec, kind=kind, round=2**31 + 5)
    form = "<I2sBB8sIffI" if kind == UP else "<I2sBB8sIdI"
    checksum, magic, version, got_kind, digest, round, examples, *loss, length = struct.unpack(form, packet[:32])
    body = packet[32:]
    assert HEADER_BYTES == 32
    assert (magic, version, got_kind, round) == (b"fm", 3, kind, 2**31 + 5)
    assert digest == SPEC.digest(codec)
    assert examples == (5.0 if kind == UP else 0.0)
    assert length == len(body)
    assert checksum == xxhash.xxh3_64(packet[4:]).intdigest() % 2**32


@each_codec
def test_the_body_is_what_the_codec_makes_and_nothing_more(codec: Codec[Any]) -> None:
    packet, _ = packed(payload(), codec)
    body, _ = codec.encode(flat(payload()), codec.init(13), np.random.default_rng(1))
    assert packet[32:] == body


def test_a_packet_written_by_hand_is_read() -> None:
    spec = spec_of({"r": {"v": torch.zeros(2)}})
    body = struct.pack("<2f", 1.5, -2.0)
    rest = b"fm" + bytes([3, 2]) + spec.digest(Dense()) + struct.pack("<IffI", 9, 3.0, 0.25, 8) + body
    packet = struct.pack("<I", xxhash.xxh3_64(rest).intdigest() % 2**32) + rest
    values, examples = unpack_payload(packet, Link(spec, Dense()), kind=UP, round=9)
    assert values["r"]["v"].tolist() == [1.5, -2.0] and examples == 3.0
    assert train_losses(concat([b"abc", packet])[1:]).tolist() == [0.25]


def test_the_digest_tells_specs_and_codecs_apart() -> None:
    v = torch.zeros(6)
    specs = [
        spec_of(values)
        for values in (
            {"r": {"v": v}},
            {"s": {"v": v}},
            {"r": {"w": v}},
            {"r": {"v": v.reshape(2, 3)}},
            {"r": {"v": v.reshape(3, 2)}},
            {"r": {"v": v[:3], "w": v[:3]}},
            {"r": {"v": v[:3]}, "s": {"v": v[:3]}},
        )
    ]
    codecs = [Dense(), FP16(), Int8(), Int8(block=4), TopK(0.1), TopK(0.2), ErrorFeedback(TopK(0.1))]
    digests = {spec.digest(codec) for spec in specs for codec in codecs}
    assert len(digests) == len(specs) * len(codecs) and {len(digest) for digest in digests} == {8}
    assert spec_of({"r": {"v": v + 1}}).digest(Dense()) == specs[0].digest(Dense())


# Round trips


@pytest.mark.parametrize("kind", [DOWN, UP])
@pytest.mark.parametrize("reference", [None, payload(1)], ids=["alone", "reference"])
def test_dense_gives_the_same_bits(kind: int, reference: Payload | None) -> None:
    """Numbers that a difference would lose: tiny beside the reference, denormal, negative zero, the largest."""
    values = payload()
    values["trunk"]["trunk.b"] = torch.tensor([1e-45, -0.0, 3.4028235e38])
    packet, _ = packed(values, Dense(), reference, kind)
    got, _ = unpack_payload(packet, Link(SPEC, Dense()), kind=kind, round=7, reference=reference)
    assert packet[32:] == flat(values).astype("<f4").tobytes()
    assert flat(got).tobytes() == flat(values).tobytes()
    assert spec_of(got) == SPEC


@each_codec
@pytest.mark.parametrize("kind", [DOWN, UP])
def test_without_a_reference_the_values_are_coded(codec: Codec[Any], kind: int) -> None:
    packet, _ = packed(payload(), codec, kind=kind)
    got, examples = unpack_payload(packet, Link(SPEC, codec), kind=kind, round=7)
    assert spec_of(got) == SPEC
    assert flat(got).tobytes() == coded(codec, flat(payload())).tobytes()
    assert examples == (5.0 if kind == UP else 0.0)


@each_lossy
def test_with_a_reference_the_difference_is_coded(codec: Codec[Any]) -> None:
    """received = reference + C^-1(C(value - reference)), in float32, one operation after the other."""
    near, reference = payload(0, scale=0.01), payload(1, scale=100.0)
    values = {r: {n: reference[r][n] + near[r][n] for n in near[r]} for r in near}
    packet, _ = packed(values, codec, reference)
    got, _ = unpack_payload(packet, Link(SPEC, codec), kind=UP, round=7, reference=reference)
    expected = coded(codec, flat(values) - flat(reference)) + flat(reference)
    assert flat(got).tobytes() == expected.tobytes()


def test_a_difference_is_coded_more_finely_than_the_values() -> None:
    """Values near 100 that moved by about 0.01: half precision keeps 2^-11 of either, so 0.05 or 5e-6."""
    near, reference = payload(0, scale=0.01), payload(1, scale=100.0)
    values = {r: {n: reference[r][n] + near[r][n] for n in near[r]} for r in near}
    worst = {}
    for name, held in (("values", None), ("difference", reference)):
        packet, _ = packed(values, FP16(), held)
        got, _ = unpack_payload(packet, Link(SPEC, FP16()), kind=UP, round=7, reference=held)
        worst[name] = np.abs(flat(got) - flat(values)).max()
    # Adding the reference back rounds once more, by 2^-24 of about 300.
    assert worst["difference"] < 4e-5 < 5e-3 < worst["values"]


@each_lossy
def test_where_the_receiver_holds_nothing_of_that_name_and_shape_the_value_is_coded(codec: Codec[Any]) -> None:
    held = {
        "trunk": {"trunk.a": payload(1)["trunk"]["trunk.a"], "trunk.b": torch.ones(4)},  # the second: another shape
        "other": {"one": torch.ones(())},  # another record
    }
    values = payload()
    packet, _ = packed(values, codec, held)
    got, _ = unpack_payload(packet, Link(SPEC, codec), kind=UP, round=7, reference=held)
    zero = {r: {n: torch.zeros_like(v) for n, v in values[r].items()} for r in values}
    zero["trunk"]["trunk.a"] = held["trunk"]["trunk.a"]
    expected = coded(codec, flat(values) - flat(zero)) + flat(zero)
    assert flat(got).tobytes() == expected.tobytes()


@pytest.mark.parametrize("kind", [REPORT, DATA])
@pytest.mark.parametrize("body", [b"", b"x", bytes(range(256)) * 5])
def test_sealed_bodies_come_back(kind: int, body: bytes) -> None:
    packet = make_packet(kind, b"8 bytes!", 3, 17.0, body)
    assert len(packet) == 32 + len(body)
    examples, opened = read_packet(packet, kind, b"8 bytes!", 3)
    assert examples == 17.0 and bytes(opened) == body


@each_codec
@pytest.mark.parametrize("there", [True, False])
def test_a_payload_in_its_room_is_packed_where_it_is(codec: Codec[Any], there: bool) -> None:
    """The bytes of three packets are those without a room; a payload elsewhere is copied, and the room kept."""
    clients = [payload(seed) for seed in range(3)]
    stacked = {
        record: {name: torch.stack([client[record][name] for client in clients]) for name in clients[0][record]}
        for record in clients[0]
    }
    room = PacketBuffer(3, Link(SPEC, codec))
    for place, (record, name) in zip(room.payload_views(), ORDER, strict=True):
        place.copy_(stacked[record][name])
        if there:
            stacked[record][name] = place
    room.array[:, :8] = 7
    assert room.contains(stacked) == there
    found = [
        pack_payloads(
            {record: dict(params) for record, params in stacked.items()},
            Link(SPEC, codec),
            tree_stack([codec.init(13)] * 3),
            np.random.default_rng,
            kind=UP,
            round=7,
            num_examples=np.array([1.0, 2.0, 3.0]),
            buffer=given,
            on_error=lambda k, error: pytest.fail(f"{k}: {error}"),
        ).packets
        for given in (None, room)
    ]
    assert list(found[0]) == list(found[1]) and len(found[0]) == 3
    assert there or bool((room.array[:, :8] == 7).all())
    if isinstance(codec, Dense):
        assert np.may_share_memory(found[1].data, room.array) == there


@each_codec
def test_equal_chance_gives_equal_bytes_and_inputs_are_left_alone(codec: Codec[Any]) -> None:
    values, reference = payload(), payload(1)
    first, _ = packed(values, codec, reference)
    assert packed(values, codec, reference)[0] == first
    got, _ = unpack_payload(first, Link(SPEC, codec), kind=UP, round=7, reference=reference)
    for params in got.values():
        for tensor in params.values():
            tensor.zero_()  # the receiver's own
    assert flat(values).tobytes() == flat(payload()).tobytes()
    assert flat(reference).tobytes() == flat(payload(1)).tobytes()


def test_the_memory_of_error_feedback_comes_out_and_goes_in() -> None:
    """e' = x − C^-1(C(x)); the next packet codes x' + e'."""
    codec, values = ErrorFeedback(TopK(0.5)), payload()
    _, state = packed(values, codec)
    memory = flat(values) - coded(TopK(0.5), flat(values))
    assert np.array_equal(state[0], memory) and memory.any()
    chance = np.random.default_rng(1)
    packet, _ = pack_payload(values, Link(SPEC, codec), state, chance, kind=UP, round=8, num_examples=5.0)
    got, _ = unpack_payload(packet, Link(SPEC, codec), kind=UP, round=8)
    assert np.array_equal(flat(got), coded(TopK(0.5), flat(values) + memory))


# Nothing to say


@each_codec
def test_an_empty_payload_is_an_empty_packet(codec: Codec[Any]) -> None:
    for empty in ({}, {"trunk": {}}):
        packet, state = pack_payload(empty, Link(Spec(()), codec), "kept", np.random.default_rng(0), kind=UP, round=1)
        assert packet == b"" and state == "kept"
    assert unpack_payload(b"", Link(Spec(()), codec), kind=UP, round=1) == ({}, 1.0)


def test_bytes_where_nothing_was_expected_are_refused() -> None:
    with pytest.raises(PacketError, match="Expected an empty upload, got 1 bytes; both sides need the same algorithm"):
        unpack_payload(b"x", Link(Spec(()), Dense()), kind=UP, round=1)


def test_nothing_where_a_packet_was_expected_is_refused() -> None:
    with pytest.raises(PacketError, match="at least 32 bytes, got 0"):
        unpack_payload(b"", Link(SPEC, Dense()), kind=UP, round=7)


# Damage


@each_codec
def test_a_packet_cut_at_any_length_is_refused(codec: Codec[Any]) -> None:
    packet, _ = packed(payload(), codec)
    for length in range(len(packet)):
        with pytest.raises(PacketError, match="truncated"):
            unpack_payload(packet[:length], Link(SPEC, codec), kind=UP, round=7)
    with pytest.raises(PacketError, match="overlong"):
        unpack_payload(packet + b"\0", Link(SPEC, codec), kind=UP, round=7)


@each_codec
def test_every_flipped_bit_and_byte_is_refused(codec: Codec[Any]) -> None:
    packet, _ = packed(payload(), codec)
    for at in range(len(packet)):
        for flip in (1, 2, 4, 8, 16, 32, 64, 128, 255):
            damaged = bytearray(packet)
            damaged[at] ^= flip
            with pytest.raises(PacketError):
                unpack_payload(bytes(damaged), Link(SPEC, codec), kind=UP, round=7)


@pytest.mark.parametrize("length", [0, 1, 2**31, 2**32 - 1])
def test_a_length_that_lies_is_refused_before_anything_is_allocated(length: int) -> None:
    """Also when the checksum has been made to fit the lie."""
    packet, _ = packed(payload(), Dense())
    rest = packet[4:28] + struct.pack("<I", length) + packet[32:]
    forged = struct.pack("<I", xxhash.xxh3_64(rest).intdigest() % 2**32) + rest
    with pytest.raises(PacketError, match=rf"announces {32 + length} bytes, got {len(packet)}"):
        unpack_payload(forged, Link(SPEC, Dense()), kind=UP, round=7)


def test_random_bytes_are_refused() -> None:
    draw = np.random.default_rng(0)
    for length in range(0, 200, 3):
        noise = draw.bytes(length)
        for candidate in (noise, noise[:4] + b"fm\x02\x02" + noise[4:]):
            with pytest.raises(PacketError):
                unpack_payload(candidate, Link(SPEC, Dense()), kind=UP, round=7)


# Packets of something else


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": DOWN}, r"Expected a broadcast packet, got kind 2 \(upload\)"),
        ({"round": 8}, "of round 8, got one of round 7; drop it"),
        ({"codec": FP16()}, "give both sides the same experiment"),
        ({"spec": spec_of({"trunk": payload()["trunk"]})}, "give both sides the same experiment"),
    ],
)
def test_another_kind_round_codec_or_spec_is_named(changes: dict[str, Any], message: str) -> None:
    packet, _ = packed(payload(), Dense())
    wanted: dict[str, Any] = {"spec": SPEC, "codec": Dense(), "kind": UP, "round": 7, **changes}
    with pytest.raises(PacketError, match=message):
        unpack_payload(packet, Link(wanted["spec"], wanted["codec"]), kind=wanted["kind"], round=wanted["round"])


def test_another_version_is_named() -> None:
    packet, _ = packed(payload(), Dense())
    with pytest.raises(PacketError, match="version 3 .*, got b'fm' and 2; both sides need the same version of fedmtl"):
        unpack_payload(packet[:6] + b"\x02" + packet[7:], Link(SPEC, Dense()), kind=UP, round=7)


def test_an_unknown_kind_is_named() -> None:
    packet = make_packet(77, SPEC.digest(Dense()), 7, 1.0, flat(payload()).tobytes())
    with pytest.raises(PacketError, match=r"got kind 77 \(unknown\)"):
        unpack_payload(packet, Link(SPEC, Dense()), kind=UP, round=7)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_body_that_is_not_finite_is_refused_under_a_good_checksum(bad: float) -> None:
    vector = flat(payload())
    vector[4] = bad
    with pytest.raises(PacketError, match="finite"):
        unpack_payload(
            make_packet(UP, SPEC.digest(Dense()), 7, 5.0, vector.tobytes()), Link(SPEC, Dense()), kind=UP, round=7
        )


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_a_difference_that_overflows_on_arrival_is_refused() -> None:
    """3.3e38 is near the largest float32 and a number that Int8 can send; twice that is infinite."""
    largest = {r: {n: torch.full_like(v, 3.3e38) for n, v in params.items()} for r, params in payload().items()}
    packet, _ = packed(largest, Int8(block=4))
    with pytest.raises(PacketError, match="13 numbers that are not finite"):
        unpack_payload(packet, Link(SPEC, Int8(block=4)), kind=UP, round=7, reference=largest)


@pytest.mark.parametrize("examples", [0.0, -1.0, float("nan"), float("inf")])
def test_an_upload_weighs_a_positive_number_of_examples(examples: float) -> None:
    body = flat(payload()).tobytes()
    with pytest.raises(PacketError, match="number of examples is positive and finite"):
        unpack_payload(make_packet(UP, SPEC.digest(Dense()), 7, examples, body), Link(SPEC, Dense()), kind=UP, round=7)
    # A broadcast weighs nothing, and whatever it says is not used.
    unpack_payload(make_packet(DOWN, SPEC.digest(Dense()), 7, examples, body), Link(SPEC, Dense()), kind=DOWN, round=7)


def test_a_body_of_another_length_is_refused_under_a_good_checksum() -> None:
    for body in (b"", flat(payload()).tobytes()[:-4], flat(payload()).tobytes() + bytes(4)):
        with pytest.raises(PacketError, match="body cannot be decoded"):
            unpack_payload(make_packet(UP, SPEC.digest(Dense()), 7, 5.0, body), Link(SPEC, Dense()), kind=UP, round=7)


# What cannot become a packet


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@each_codec
def test_numbers_that_are_not_finite_are_not_sent(codec: Codec[Any], bad: float) -> None:
    values = payload()
    values["trunk"]["trunk.a"][1, 2] = bad
    with pytest.raises(ValueError, match="finite numbers, got 1"):
        packed(values, codec)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (torch.zeros(3, dtype=torch.float64), "torch.float64"),
        (torch.zeros(3, dtype=torch.float16), "torch.float16"),
        (torch.zeros(3, dtype=torch.int64), "torch.int64"),
        (np.zeros(3, np.float32), "float32|ndarray"),
        ([0.0, 0.0, 0.0], "list"),
    ],
)
def test_only_float32_tensors_are_sent(value: Any, dtype: str) -> None:
    values: Any = payload()
    values["trunk"]["trunk.b"] = value
    for refused in (lambda: packed(values, Dense()), lambda: spec_of(values)):
        with pytest.raises(ValueError, match=rf"float32 tensors, but 'trunk'/'trunk.b' is ({dtype})"):
            refused()


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p["trunk"].pop("trunk.b"),
        lambda p: p.pop("extra"),
        lambda p: p["trunk"].update({"trunk.c": torch.zeros(1)}),
        lambda p: p.update({"more": {"v": torch.zeros(1)}}),
        lambda p: p["trunk"].update({"trunk.a": torch.zeros(3, 2)}),
        lambda p: p["trunk"].update({"trunk.b": torch.zeros(4)}),
        lambda p: p.clear(),
    ],
)
def test_a_payload_that_does_not_fit_the_spec_is_refused(change: Any) -> None:
    values = payload()
    change(values)
    with pytest.raises(ValueError, match="the same names and shapes in every round"):
        packed(values, Dense())

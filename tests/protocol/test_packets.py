"""Many packets at once: the same bytes, the same refusals, as one by one."""

import numpy as np
import pytest

from fedmtl.protocol.header import make_packet, read_packet, read_packets, write_headers
from fedmtl.protocol.packets import HEADER_BYTES, REPORT, UP, PacketError, Packets, concat, from_matrix

DIGEST = bytes(range(8))
BODIES = np.random.default_rng(0).integers(0, 256, (5, 12), np.uint8)
WEIGHTS = np.array([1.0, 2.5, 3.0, 4.0, 5.0])


def sealed() -> list[bytes]:
    return [make_packet(UP, DIGEST, 7, weight, body.tobytes()) for weight, body in zip(WEIGHTS, BODIES, strict=True)]


def opened(packets: Packets) -> tuple[list[int], list[float], list[bytes], dict[int, str]]:
    problems: dict[int, str] = {}
    rows, weights, bodies = read_packets(packets, UP, DIGEST, 7, lambda k, error: problems.update({k: str(error)}))
    return rows.tolist(), weights.tolist(), [bytes(body) for body in bodies], problems


def refusal(packet: bytes) -> str:
    with pytest.raises(PacketError) as error:
        read_packet(packet, UP, DIGEST, 7)
    return str(error.value)


def test_rows_are_sealed_as_one_by_one() -> None:
    packets = np.zeros((5, HEADER_BYTES + 12), np.uint8)
    packets[:, HEADER_BYTES:] = BODIES
    write_headers(packets, UP, DIGEST, 7, WEIGHTS)
    assert list(from_matrix(packets)) == sealed()


def spaced(packets: list[bytes], gap: int) -> Packets:
    """With other bytes between them."""
    data = b"".join(packet + b"x" * gap for packet in packets)
    step = len(packets[0]) + gap
    return Packets(np.frombuffer(data, np.uint8), step * np.arange(5), np.full(5, step - gap))


@pytest.mark.parametrize("gap", [0, 1, 8])
def test_rows_are_opened_as_one_by_one(gap: int) -> None:
    expected = [0, 1, 2, 3, 4], WEIGHTS.tolist(), [body.tobytes() for body in BODIES], {}
    assert opened(spaced(sealed(), gap)) == expected
    shuffled = spaced(sealed(), gap).select(np.array([3, 0, 4]))
    assert opened(shuffled) == ([0, 1, 2], [4.0, 1.0, 5.0], [BODIES[k].tobytes() for k in (3, 0, 4)], {})
    assert opened(spaced(sealed(), gap)[1:3])[1] == [2.5, 3.0]


BAD = {
    "flipped body": lambda packet: packet[:-1] + bytes([packet[-1] ^ 1]),
    "flipped weight": lambda packet: packet[:22] + bytes([packet[22] ^ 1]) + packet[23:],
    "magic": lambda packet: packet[:4] + b"xx" + packet[6:],
    "kind": lambda packet: make_packet(REPORT, DIGEST, 7, 1.0, packet[32:]),
    "digest": lambda packet: make_packet(UP, bytes(8), 7, 1.0, packet[32:]),
    "round": lambda packet: make_packet(UP, DIGEST, 8, 1.0, packet[32:]),
    "length": lambda packet: packet[:28] + b"\x09" + packet[29:],
    "shorter": lambda packet: packet[:-1],
    "no header": lambda packet: packet[:9],
    "empty": lambda packet: b"",
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_row_is_refused_as_it_is_alone_and_costs_nobody_else(bad: str) -> None:
    packets = sealed()
    packets[2] = BAD[bad](packets[2])
    rows, weights, bodies, problems = opened(concat(packets))
    assert rows == [0, 1, 3, 4] and weights == [1.0, 2.5, 4.0, 5.0]
    assert bodies == [BODIES[k].tobytes() for k in (0, 1, 3, 4)]
    assert problems == {2: refusal(packets[2])}


def test_packets_that_share_bytes_are_put_apart() -> None:
    data = np.frombuffer(b"abcdef", np.uint8)
    packets = Packets(data, np.array([2, 0, 2]), np.array([3, 1, 3]))
    assert list(packets) == [b"cde", b"a", b"cde"]
    apart = packets.contiguous()
    assert list(apart) == list(packets) and apart.data.tobytes() == b"cdeacde" and apart.starts.tolist() == [0, 3, 4]
    assert apart.contiguous() is apart


def test_no_packets() -> None:
    assert opened(concat([])) == ([], [], [], {}) and list(concat([]).contiguous()) == []

"""The body of a broadcast that is coded as changes of a reference, the model that server and client both hold.

A codec for differences alone (its trait ``delta_only``) codes broadcasts so. With x_v the server's model of version v,
h the reference, C the codec and D what its receiver decodes:

    h_0 = x_0                                    the whole model, float32                         (1)
    c_v = C(x_v - h_{v-1})                       one step, coded once for all clients             (2)
    h_v = h_{v-1} + γ_v D(c_v)                   on the server and on each client, bit by bit     (3)
    w'_k = w_k + (x_v - h_v)                     of each upload, on the server                    (4)

What a step leaves out is in the next x - h and arrives later: this is the server's memory of errors, beside which
``ErrorFeedback`` has no place. (4) puts what a client has learnt from h_v onto the server's own x_v, for the records
that an upload has in common with the broadcast; without it, each average would drop what clients have not received
yet. γ is 1 for a codec that is ``contractive``; else it is the multiple that comes nearest, <x - h, D(c)> / ‖D(c)‖²,
four bytes of the step, by which ‖x - h‖ never grows. With the large errors of ``TernGrad`` or ``RandK`` it would.

    Sattler, Wiedemann, Müller, Samek. Robust and communication-efficient federated learning from non-i.i.d. data. IEEE
    TNNLS 2020, arXiv:1903.02891, algorithm 2; clients that missed rounds get what they missed
    Gruntkowska, Tyurin, Richtárik. EF21-P and friends. ICML 2023, arXiv:2209.15218, algorithm 1

A body is ``base`` as int32, then entries of ``version`` and ``length`` as uint32 and ``length`` bytes. A client that
holds h_u, u at least the base, takes the entries behind u in their order; one that holds none, or an older one, cannot
(``Lacking``). Of a whole model the base is ``WHOLE``, and the only entry holds float32.
"""

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.trees import tree_index, tree_stack
from fedmtl.protocol.link import Link
from fedmtl.protocol.packing import raise_error

WHOLE = -1
"""In place of the version that a body's entries begin after: it holds a whole model."""
NONE = -1
"""In place of the version of a client's reference: it holds none."""

_BASE = struct.Struct("<i")
_ENTRY = struct.Struct("<II")
_SCALE = struct.Struct("<f")


class Lacking(ValueError):
    """A client does not hold the reference that a broadcast's changes are of."""


class ReferenceStep(NamedTuple):
    """The change of a reference from the version before."""

    version: int
    code: bytes


class Reference(NamedTuple):
    """A model that server and client both hold."""

    version: int
    """NONE: none is held."""
    numbers: NDArray[np.float32]
    """h, in the order of the spec, [size]."""


def no_reference(size: int) -> dict[str, NDArray[Any]]:
    """Return the part of a client's state in which its reference is kept, before it has one."""
    return {"version": np.array(NONE, np.int64), "numbers": np.zeros(size, np.float32)}


def encode_step(
    link: Link, change: NDArray[np.float32], state: Any, rng: np.random.Generator
) -> tuple[bytes, NDArray[np.float32], Any]:
    """Code x - h: return the code, the decoded change as ``decode_step`` gives it, and the codec's next state.

    Raises:
        ValueError: a change with NaN or infinity.
    """
    encoded = link.encode(change[None].copy(), tree_stack([state]), lambda _: rng, None, False, raise_error)
    code = bytes(encoded.bodies[0])
    if not link.codec.traits.contractive:
        decoded = link.decode_one(code).astype(np.float64)
        square = float(decoded @ decoded)
        scale = float(change.astype(np.float64) @ decoded) / square if square > 0 else 0.0
        code = _SCALE.pack(scale) + code
    return code, decode_step(link, code), tree_index(encoded.states, 0)


def decode_step(link: Link, code: bytes) -> NDArray[np.float32]:
    """Return γ D(c), [size].

    Raises:
        ValueError: bytes that no sender makes.
    """
    if link.codec.traits.contractive:
        return link.decode_one(code)
    if len(code) < _SCALE.size:
        raise ValueError(f"a step has a multiple of {_SCALE.size} bytes, got {len(code)}")
    decoded = link.decode_one(code[_SCALE.size :])
    scale = np.float32(_SCALE.unpack_from(code)[0])
    return np.multiply(scale, decoded, out=decoded if decoded.flags.writeable else None)


def whole_bytes(size: int) -> int:
    """Return the length of a body with a whole model."""
    return _BASE.size + _ENTRY.size + 4 * size


def steps_bytes(steps: Sequence[ReferenceStep]) -> int:
    """Return the length of a body with some steps."""
    return _BASE.size + sum(_ENTRY.size + len(step.code) for step in steps)


def whole_body(reference: Reference) -> bytes:
    """Return the body with a whole model."""
    return _body(WHOLE, [ReferenceStep(reference.version, reference.numbers.astype("<f4").tobytes())])


def steps_body(base: int, steps: Sequence[ReferenceStep]) -> bytes:
    """Return the body with the steps behind a version, ascending."""
    return _body(base, steps)


def _body(base: int, steps: Sequence[ReferenceStep]) -> bytes:
    return _BASE.pack(base) + b"".join(_ENTRY.pack(step.version, len(step.code)) + step.code for step in steps)


def read_body(link: Link, body: bytes, held: Reference, version: int) -> Reference:
    """Return the reference that a client holds after a broadcast.

    Args:
        link: of the broadcast.
        body: of its packet.
        held: what the client holds before.
        version: of the model that is sent, to which the body leads.

    Raises:
        Lacking: the client does not hold what is changed.
        ValueError: a body that no server makes.
    """
    base, steps = _entries(body)
    versions = [step.version for step in steps]
    if not steps or versions[-1] != version or any(b <= a for a, b in zip([base, *versions], versions, strict=False)):
        raise ValueError(f"a broadcast of version {version} has steps from {base} up to it, got {versions[:5]}")
    if base == WHOLE:
        if len(steps) > 1 or len(steps[0].code) != 4 * link.spec.size:
            raise ValueError(f"a whole model is {4 * link.spec.size} bytes, got {[len(s.code) for s in steps][:5]}")
        return Reference(version, np.frombuffer(steps[0].code, "<f4").astype(np.float32))
    if not base <= held.version <= version:
        raise Lacking(f"the broadcast holds changes from version {base} to {version}, this side holds {held.version}")
    numbers = held.numbers
    for step in steps:
        if step.version > held.version:
            own = None if numbers is held.numbers else numbers  # no third model beside the two
            numbers = np.add(numbers, decode_step(link, step.code), out=own)
    return Reference(version, numbers)


def step_bits(link: Link, body: bytes) -> float:
    """Return the ideal bits of the codes in a body that ``steps_body`` or ``whole_body`` has made."""
    base, steps = _entries(body)
    if base == WHOLE:
        return 8.0 * sum(len(step.code) for step in steps)
    scale = 0 if link.codec.traits.contractive else _SCALE.size
    codes = (np.frombuffer(step.code, np.uint8)[None, scale:] for step in steps)
    return sum(8 * scale + float(link.ideal_bits(code)[0]) for code in codes)


def _entries(body: bytes) -> tuple[int, list[ReferenceStep]]:
    """Return the base and the entries of a body.

    Raises:
        ValueError: entries that do not fill it.
    """
    if len(body) < _BASE.size:
        raise ValueError(f"a broadcast's body has at least {_BASE.size} bytes, got {len(body)}")
    base, at, steps = _BASE.unpack_from(body)[0], _BASE.size, list[ReferenceStep]()
    while at < len(body):
        if len(body) - at < _ENTRY.size:
            raise ValueError(f"a step begins with {_ENTRY.size} bytes, got {len(body) - at}")
        version, length = _ENTRY.unpack_from(body, at)
        at += _ENTRY.size
        if length > len(body) - at:
            raise ValueError(f"a step of {length} bytes in {len(body) - at}")
        steps.append(ReferenceStep(version, body[at : at + length]))
        at += length
    if base < WHOLE:
        raise ValueError(f"a base is a version or {WHOLE}, got {base}")
    return base, steps

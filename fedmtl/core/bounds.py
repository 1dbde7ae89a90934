"""Bounds on numbers and texts that come from a file, and how a value is shown in an error."""

import dataclasses
import math
import reprlib
from typing import Any

MOST_INT = 2**63 - 1
"""The largest whole number that arrays, files and packets hold."""

MOST_SAID = 10**15
"""The largest bound that an error writes as a number; what is beyond is a limit of machines, and said in bits."""

MOST_TEXT = 4096
"""Characters of a text: a name, an address, a path."""

MOST_PARAMETERS = 2**31 - 1
"""Numbers of one model, 8.6 GB: more than a client or a packet can hold."""

MOST: dict[str, int] = {
    "epochs": 100_000,
    "steps": 100_000,
    "pretrain": 10_000_000,
    "sigma_every": 10_000_000,
    "rounds": 10_000_000,
    "every": 10_000_000,
    "clusters": 10_000,
    "components": 10_000,
    "clients": 100_000_000,
    "hidden": 10_000_000,
    "channels": 100_000,
    "vocabulary": 100_000_000,
    "width": 1_000_000,
    "layers": 10_000,
    "heads": 10_000,
    "kernels": 100_000,
    "block": 2**24,
    "seed": MOST_INT,
}
"""A component's field -> the largest whole number that it takes, where more would be a slip and cost hours or all
memory. The last word of a name counts: ``head_epochs`` is an ``epochs``. Other fields take any 64-bit number."""

_short = reprlib.Repr()
_short.maxlevel, _short.maxdict, _short.maxlist, _short.maxtuple = 4, 8, 16, 16
_short.maxstring = _short.maxother = 200


def shown(value: Any) -> str:
    """The repr of a value in one line, cut where it is long."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**40:
        return f"a whole number of {value.bit_length()} bits"
    return " ".join(line.strip() for line in _short.repr(value).splitlines())


def check_int(what: str, value: int, least: int = -(2**63), most: int = MOST_INT, way_out: str = "") -> None:
    """A whole number within bounds.

    Raises:
        ValueError: it names the value, the bound and the way out.
    """
    if value < least:
        if least < -MOST_SAID:
            raise ValueError(f"{what} is at most 63 bits long, and a sign, got {shown(value)}; raise it.")
        raise ValueError(f"{what} is at least {least}, got {shown(value)}.")
    if value > most:
        bound = "63 bits long" if most > MOST_SAID else most
        raise ValueError(f"{what} is at most {bound}, got {shown(value)}; {way_out or 'lower it'}.")


def check_float(what: str, value: float, infinite: bool = False) -> None:
    """A finite number, or where ``infinite`` says so, any but NaN.

    Raises:
        ValueError: it names the value.
    """
    if isinstance(value, int):
        check_int(what, value)
    elif math.isnan(value) or (math.isinf(value) and not infinite):
        raise ValueError(f"{what} is a finite number, got {value}.")


def check_field(what: str, component: Any, name: str, value: Any) -> None:
    """A number, or each of a list of numbers, that a file gives a component's field.

    A field whose number may be infinite has ``metadata={"infinite": True}``.

    Raises:
        ValueError: it names the value, the bound and the way out.
    """
    infinite = any(one.name == name and one.metadata.get("infinite") for one in dataclasses.fields(component))
    level = [value]
    while level:
        items, level = level, []
        for item in items:
            if isinstance(item, (tuple, list)):
                level += item
            elif isinstance(item, float):
                check_float(what, item, infinite=infinite)
            elif isinstance(item, int) and not isinstance(item, bool):
                check_int(what, item, most=MOST.get(name, MOST.get(name.rpartition("_")[2], MOST_INT)))


def one_line(text: str, most: int = 1000) -> str:
    """Return a text from an unknown source as one line: cut in the middle beyond ``most`` characters, and escaped."""
    line = " ".join(text.split())
    line = line if len(line) <= most else f"{line[: most // 2]} … {line[-most // 2 :]}"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def check_text(what: str, value: str, most: int = MOST_TEXT) -> None:
    """A text without control characters.

    Raises:
        ValueError: it names the value.
    """
    if len(value) > most:
        raise ValueError(f"{what} has at most {most} characters, got {len(value)}: {shown(value)}.")
    if any(not character.isprintable() for character in value):
        raise ValueError(f"{what} is a text without control characters, got {shown(value)}.")


def check_parameters(model: Any, count: int) -> None:
    """Refuse a model before torch asks for its memory.

    Raises:
        ValueError: more parameters than ``MOST_PARAMETERS``.
    """
    if count > MOST_PARAMETERS:
        raise ValueError(
            f"{shown(model)} would have a part of {count:,} parameters, where a model has at most 2.1 billion (8.6 "
            "GB); make its layers or the inputs smaller."
        )

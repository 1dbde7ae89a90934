"""Tables on disk: blocks of columns that are appended, each with its length and a checksum of all up to it.

A block is a head of 32 bytes, little-endian, and a body:

    4 bytes  "fmb2", whose digit is the file format
    4 bytes  length of the body's text
    4 bytes  length of the body
    4 bytes  XXH32 of the 12 bytes above
    16 bytes XXH3-128 of the checksum of the block before it (of the first: zeros), the 16 bytes above, and the body

The body begins with a text, JSON in UTF-8: ``name`` of the table, ``lines`` in the block, ``shared`` (what holds for
all of them) and ``columns``, for each its name and the fields of a ``Column``, the length of its data in place of them.
The data of the columns follows, one after the other.

Why not Arrow: its streams have no checksums and no steps between ids (8 bytes an id in place of one), and its import
takes a fifth of a second; Parquet has a footer, so nothing can be appended to it.
"""

import json
import os
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128_digest, xxh32_intdigest

from fedmtl.core.file_errors import named_errors
from fedmtl.core.file_format import FORMAT, check_format
from fedmtl.core.files import Folder, write_all
from fedmtl.tables.columns import Column, pack_column, unpack_column

LINES = 2**16
"""Lines of a block at most: what a damaged or hostile head can ask memory for."""

LONGEST = 2**24
"""Bytes of a body at most."""

_LENGTHS = struct.Struct("<4sII")
_HEAD = struct.Struct("<4sIII16s")
_MAGIC = b"fmb%d" % FORMAT
_ADVICE = "restore the file, or begin anew in another folder (--out)"


class Block(NamedTuple):
    """Some lines of a table."""

    name: str
    """The table's."""
    lines: int
    shared: Mapping[str, Any]
    """Plain values that hold for all lines."""
    columns: Mapping[str, NDArray[Any]]
    """Name -> [lines] int64 or float64."""


class Mark(NamedTuple):
    """End of a file."""

    bytes: int = 0
    lines: int = 0
    checksum: str = "0" * 32
    """Checksum of the last block."""


class DamagedFile(ValueError):
    """A file of blocks that nothing of this project wrote so."""


def blocks_of(name: str, shared: Mapping[str, Any], columns: Mapping[str, NDArray[Any]]) -> list[Block]:
    """A table of any length in blocks; none for no lines."""
    lines = len(next(iter(columns.values())))
    parts = (slice(start, start + LINES) for start in range(0, lines, LINES))
    return [
        Block(name, min(LINES, lines - part.start), shared, {key: values[part] for key, values in columns.items()})
        for part in parts
    ]


def append(path: Path, mark: Mark, blocks: Iterable[Block]) -> Mark:
    """Append blocks to a file that ends at ``mark``, durably, and return where it ends then.

    Raises:
        OSError: no space, or no permission.
    """
    return append_all({path: (mark, blocks)})[path]


def append_all(files: Mapping[Path, tuple[Mark, Iterable[Block]]]) -> dict[Path, Mark]:
    """Append blocks to files that end at marks, durably, and return where they end then.

    All are written before the first is made durable, which with most file systems then makes the others so too.

    Raises:
        OSError: no space, or no permission.
    """
    ends, opened = {}, {}
    try:
        for path, (mark, blocks) in files.items():
            data, checksum, lines = bytearray(), bytes.fromhex(mark.checksum), mark.lines
            for block in blocks:
                encoded, checksum = _encoded(block, checksum)
                data += encoded
                lines += block.lines
            opened[path] = Folder(path.parent).open(path.name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            with named_errors(path):
                write_all(opened[path], data)
            ends[path] = Mark(mark.bytes + len(data), lines, checksum.hex())
        for path, file in opened.items():
            with named_errors(path):
                os.fsync(file)
    finally:
        for file in opened.values():
            os.close(file)
    return ends


def _encoded(block: Block, before: bytes) -> tuple[bytes, bytes]:
    packed = {key: pack_column(np.ascontiguousarray(values)) for key, values in block.columns.items()}
    columns = [[key, *column[:-1], len(column.data)] for key, column in packed.items()]
    text = {"name": block.name, "lines": block.lines, "shared": block.shared, "columns": columns}
    encoded = json.dumps(text, separators=(",", ":")).encode()
    body = b"".join([encoded, *(column.data for column in packed.values())])
    head = _LENGTHS.pack(_MAGIC, len(encoded), len(body))
    head += struct.pack("<I", xxh32_intdigest(head))
    checksum = xxh3_128_digest(before + head + body)
    return head + checksum + body, checksum


def cut(path: Path, mark: Mark) -> None:
    """Check all blocks up to a mark, and cut the file there: the tail of a run that was killed.

    Raises:
        DamagedFile: the file is shorter, or what it holds is not what was written.
    """
    file = Folder(path.parent).open(path.name, os.O_RDWR | os.O_CREAT)
    try:
        found = os.fstat(file).st_size
        if found < mark.bytes:
            raise DamagedFile(
                f"{path} has {found} bytes, but the checkpoint counts {mark.bytes}: lines were lost; {_ADVICE}."
            )
        last = bytes(16)
        for _, _, checksum in _bodies(path, mark.bytes):
            last = checksum
        if last.hex() != mark.checksum:
            raise DamagedFile(f"{path} is not the file that the checkpoint was written with; {_ADVICE}.")
        os.ftruncate(file, mark.bytes)
    finally:
        os.close(file)


def read(path: Path, name: str, mark: Mark | None = None) -> Iterator[Block]:
    """The blocks of a file, one in memory at a time.

    Args:
        path: the file.
        name: of the table that it holds.
        mark: where it ends. None: of a run that goes on or was killed, of which a last block that is not whole is
            left out.

    Raises:
        DamagedFile: a byte that is not as it was written, or a file that does not end at ``mark``.
    """
    size = Folder(path.parent).length(path.name)
    if mark is not None and size != mark.bytes:
        raise DamagedFile(f"{path} has {size} bytes, but its run wrote {mark.bytes}; {_ADVICE}.")
    last, lines = bytes(16), 0
    for number, (text, body, checksum) in enumerate(_bodies(path, size, whole=mark is not None), 1):
        try:
            block = _decoded(body, text)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise DamagedFile(f"{path}, block {number} cannot be read ({str(error)[:200]}); {_ADVICE}.") from None
        if block.name != name:
            raise DamagedFile(
                f"{path}, block {number} is of the table {str(block.name)[:40]!r}, not {name!r}; {_ADVICE}."
            )
        last, lines = checksum, lines + block.lines
        yield block
    if mark is not None and (last.hex(), lines) != (mark.checksum, mark.lines):
        raise DamagedFile(f"{path} is not the file that its run wrote; {_ADVICE}.")


def _bodies(path: Path, size: int, whole: bool = True) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield length of the text, body and checksum of each block in the first ``size`` bytes.

    Raises:
        OtherFormat: a file of another release.
        DamagedFile: a byte that is not as it was written.
    """
    before, start, number = bytes(16), 0, 0
    with os.fdopen(Folder(path.parent).open(path.name, os.O_RDONLY), "rb") as file:
        while start < size:
            number += 1
            head = file.read(min(_HEAD.size, size - start))
            if len(head) < _HEAD.size and not whole and head.startswith(_MAGIC[: len(head)]):
                return
            magic, text, length, check, checksum = _HEAD.unpack(head.ljust(_HEAD.size, b"\0"))
            if re.fullmatch(rb"fmb\d", magic) and check == xxh32_intdigest(head[:12]):
                check_format(path, int(magic[3:]))
            if magic != _MAGIC or check != xxh32_intdigest(head[:12]) or not text <= length <= LONGEST:
                raise DamagedFile(f"{path}, block {number} at byte {start} has a damaged head; {_ADVICE}.")
            if start + _HEAD.size + length > size:
                if whole:
                    raise DamagedFile(f"{path}, block {number} at byte {start} is cut; {_ADVICE}.")
                return
            body = file.read(length)
            if xxh3_128_digest(before + head[:16] + body) != checksum:
                raise DamagedFile(
                    f"{path}, block {number} at byte {start}: its bytes do not fit their checksum: damaged; {_ADVICE}."
                )
            yield text, body, checksum
            before, start = checksum, start + _HEAD.size + length


def _decoded(body: bytes, text: int) -> Block:
    said = json.loads(body[:text])
    name, lines, shared = said["name"], said["lines"], said["shared"]
    if type(lines) is not int or not 0 < lines <= LINES or not isinstance(shared, dict):
        raise ValueError(f"{lines!r} lines")
    columns, start = {}, text
    for key, form, dtype, size, narrow, first, step, length in said["columns"]:
        if size != lines or any(type(number) is not int for number in (first, step, length)):
            raise ValueError(f"column {key!r} of {size!r} lines")
        if not 0 <= length <= len(body) - start:
            raise ValueError(f"column {key!r} outside its block")
        columns[key] = unpack_column(Column(form, dtype, lines, narrow, first, step, body[start : start + length]))
        start += length
    if start != len(body):
        raise ValueError(f"{len(body) - start} bytes of no column")
    return Block(name, lines, shared, columns)

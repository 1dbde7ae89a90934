"""Commands on a pseudo-terminal, and the lines that it shows in the end: what was drawn over, or removed, is gone."""

import fcntl
import os
import pty
import re
import signal
import struct
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests import pictures, pool_forks
from tests.forks import start
from tests.processes import shown

_TOKEN = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|(.)", re.DOTALL)


def lines_on(text: str, columns: int) -> list[str]:
    """Lines of a terminal of some columns after a text was written to it; one that was broken there is one line.

    >>> lines_on("bar 1/2" + chr(27) + "[2K\\rround 1\\nbar 2/2\\r" + chr(27) + "[1A" + chr(27) + "[2Kend", 80)
    ['end', 'bar 2/2']
    >>> lines_on("12345", 4)
    ['12345']
    """
    rows: list[list[str]] = [[]]
    goes_on: set[int] = set()
    """Rows that begin where the row above ended at the last column."""
    row = column = 0
    for arguments, command, letter in _TOKEN.findall(text):
        if command == "A":
            row = max(0, row - int(arguments or 1))
        elif command == "K":
            rows[row][0 if arguments == "2" else column :] = []
        elif command:
            assert command in "mhl", f"unknown command {command!r}"
        elif letter == "\r":
            column = 0
        else:
            if letter == "\n" or column == columns:
                row, column = row + 1, 0
                if row == len(rows):
                    rows.append([])
                (goes_on.discard if letter == "\n" else goes_on.add)(row)
            if letter != "\n":
                rows[row] += " " * (column - len(rows[row]))
                rows[row][column : column + 1] = letter
                column += 1
    lines: list[str] = []
    for number, letters in enumerate(rows):
        if number in goes_on:
            lines[-1] += "".join(letters)
        else:
            lines.append("".join(letters).rstrip())
    return lines


class Screen(NamedTuple):
    """A command that has ended."""

    lines: list[str]
    code: int
    text: str
    """All that was written to the terminal."""


def fedmtl_on_terminal(
    arguments: Sequence[str],
    here: Path,
    columns: int = 80,
    interrupt_at: str = "",
    drawn: bool = True,
    code: str = "",
) -> Screen:
    """Run ``fedmtl`` with both streams on a terminal; ``interrupt_at`` sends SIGINT as soon as this text appears.

    Where not ``drawn``, pictures of its report are empty files, and processes of its pool are forks; ``code`` is
    a program that runs the command in a way of its own.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "MPLCONFIGDIR": str(here)}
    environment.pop("COLUMNS", None)
    text = ""
    code = code if drawn else pool_forks.on_forks(pictures.command([*arguments]))
    with start(arguments, code=code, cwd=here, env=environment, stdout=theirs, stderr=theirs) as child:
        os.close(theirs)
        if interrupt_at:
            while interrupt_at not in text:
                text += os.read(ours, 4096).decode(errors="replace")
            child.send_signal(signal.SIGINT)
        text += shown(ours)
    return Screen(lines_on(text, columns), child.wait(), text)

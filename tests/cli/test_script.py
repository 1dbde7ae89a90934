"""A script as a program: options of its function, and one line of an error."""

from pathlib import Path
from typing import Annotated

import pytest
import typer

from fedmtl import run_script


def main(clients: Annotated[int, typer.Option(help="How many.")] = 3, out: Path = Path("runs")) -> None:
    if clients < 1:
        raise ValueError(f"at least one client is needed, got clients={clients}.")
    print(clients, out)


@pytest.mark.parametrize(
    ("options", "code", "printed", "error"),
    [
        (["--clients", "2"], 0, "2 runs\n", ""),
        (["--clients", "0"], 2, "", "error: at least one client is needed, got clients=0.\n"),
    ],
)
def test_a_function_is_a_program(
    options: list[str], code: int, printed: str, error: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("sys.argv", ["script.py", *options])
    monkeypatch.delenv("FEDMTL_DEBUG", raising=False)
    with pytest.raises(SystemExit) as end:
        run_script(main)
    assert (end.value.code, *capsys.readouterr()) == (code, printed, error)

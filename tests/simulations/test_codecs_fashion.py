"""``simulations/codecs_fashion.py``, for two rounds: each row has the bytes of the codecs that it names."""

import runpy
import sys
from pathlib import Path

import pytest

from fedmtl.data import ClientData, FashionMNIST, Federation, Split
from tests.data.homes import needs

SCRIPT = Path(__file__).parents[2] / "simulations" / "codecs_fashion.py"


def few(federation: Federation) -> Federation:
    """The first eight images of each part of each client."""
    clients = {}
    for client, parts in federation.clients.items():
        clients[client] = ClientData(*(Split(part.x[:8], {"article": part.y["article"][:8]}) for part in parts))
    return Federation(federation.tasks, federation.input_shape, clients)


@needs(FashionMNIST.source)
def test_rows_have_their_own_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], no_pictures: None
) -> None:
    """The trunk's 51,616 numbers, both ways, to and from a hundred clients in two rounds: 4 bytes each, 41.3 MB, with
    some headers. A sign and a place of a twentieth take more bytes than those of a fiftieth, and both far fewer.

    Images do not count: each client has eight to train on and eight to be tested on, in place of all. Groups of a
    comparison are sorted by name, which is not the order of the script.
    """
    load = FashionMNIST.load
    monkeypatch.setattr(FashionMNIST, "load", lambda dataset, seed: few(load(dataset, seed)))
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--rounds", "2", "--seeds", "1", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert end.value.code == 0
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][2:]
    up = {row[0].strip(): float(row[3].removesuffix("MB ")) for row in rows}
    assert list(up)[0] == "Dense()" and len(up) == 4 and rows[0][-1].strip() == "1.0"
    assert up["Dense()"] == pytest.approx(4 * 51_616 * 200 / 1e6, rel=2e-3)
    twentieth, fiftieth = (up[f"ErrorFeedback(codec=STC(keep={keep}))"] for keep in (0.05, 0.02))
    assert fiftieth < twentieth < 41.3 / 32 < up["EDEN(bits=1)"] < 41.3 / 25
    assert list(tmp_path.rglob("*.png"))

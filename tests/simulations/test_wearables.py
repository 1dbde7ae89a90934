"""``simulations/wearables.py``, small: its tables and its figure."""

import re
import runpy
import sys
from pathlib import Path

import pytest

from fedmtl.data import HAR
from tests.data.homes import needs

SCRIPT = Path(__file__).parents[2] / "simulations" / "wearables.py"


@needs(HAR.source)
def test_wearables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Three rates on validation bouts, the best on all, a run on 21 people, and nine new ones with 5, 20 or all labels.

    FedPer shares 27 · 64 + 64 = 1792 numbers: (4 · 1792 + 32) bytes, both ways, in one round: 14,400 a person.
    """
    options = [
        "--seeds",
        "1",
        "--rounds",
        "1",
        "--steps",
        "2",
        "--methods",
        "FedPer",
        "--out",
        str(tmp_path),
    ]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *options])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert end.value.code == 0
    output = capsys.readouterr().out
    assert re.search(r"^seed 0: FedPer, rate 0\.\d, 0\.\d{4}$", output, re.MULTILINE)
    assert re.search(r"^\| FedPer \| 0\.\d{3} ± 0\.000 \| 14,400 \|$", output, re.MULTILINE)
    for way in ("head", "fine-tuned", "from scratch"):
        for labels in ("5", "20", "all"):
            assert re.search(rf"^\| FedPer \| {way} \| {labels} \| 0\.\d{{3}} ± 0\.000 \|$", output, re.MULTILINE)
    assert (tmp_path / "wearables.png").stat().st_size > 1000

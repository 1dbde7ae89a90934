"""The page of runs: its numbers are theirs, it is one small file, and a browser draws it without an error."""

import base64
import json
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmtl import Experiment, from_arrays, report, run
from fedmtl.analysis.groups import group_runs
from fedmtl.analysis.html.content import content_of, layers
from fedmtl.analysis.html.serve import NUMBERS, server
from fedmtl.analysis.html.write import content, html_of
from fedmtl.analysis.load import load_run
from tests.analysis.run_folders import write_run

NAME = "</script><script>window.broken=1</script>"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FedPer with two seeds, and Local; a client has a name that would be a program."""
    place, draw = tmp_path_factory.mktemp("runs"), np.random.default_rng(0)
    arrays: dict[Any, Any] = {}
    for client in (NAME, "b", "c"):
        x = draw.standard_normal((40, 5)).astype(np.float32)
        arrays[client] = x, {"sign": (x[:, 0] > 0).astype(int), "size": x[:, 1]}
    data = from_arrays(arrays, test_fraction=0.3)
    for name, seed in (("Local", 0), ("FedPer", 0), ("FedPer", 1)):
        settings: dict[str, Any] = {"rounds": 3, "runtime": "InProcess", "engine": "loop", "seed": seed}
        run(Experiment(name=NAME, data=data, model="MLP((4,))", algorithm=name, **settings), place / f"{name}{seed}")
    return place


def test_numbers_are_those_of_the_runs(folder: Path) -> None:
    """Curves, bytes up to each round in each direction, scores of clients: from the rows, to five digits."""
    found = content([folder])
    assert [group["name"] for group in found["groups"]] == ["FedPer", "Local"]
    assert [(one["group"], one["seed"]) for one in found["runs"]] == [(0, 0), (0, 1), (1, 0)]
    assert found["tasks"]["sign"] == {"metric": "accuracy", "higher": True}
    one, seen = load_run(folder / "FedPer0"), found["runs"][0]
    curve = one.mean_score_curve()
    assert seen["along"]["rounds"] == curve.rounds == [0, 1, 2, 3] and seen["along"]["bytes"] == curve.bytes
    assert seen["score"] == pytest.approx(curve.values, rel=1e-4)
    up = sum(row["packet_bytes"] for row in one.transfers if (row["direction"], row["purpose"]) == ("up", "train"))
    assert seen["along"]["bytes up"][-1] == seen["bytes"]["train up"] == up
    assert sum(seen["bytes"].values()) == sum(row["packet_bytes"] for row in one.transfers)
    assert {name: value for name, value, _ in seen["clients"]["rows"]} == pytest.approx(
        {one.client_name(client): score for client, score in one.client_scores().items()}, rel=1e-4
    )
    assert seen["layers"] == layers(folder / "FedPer0") == {"trunk.1": 5 * 4 + 4}
    assert seen["confusion"][0]["name"] == "sign"
    assert np.sum(seen["confusion"][0]["counts"]) == sum(
        row["examples"] for row in one.rows if (row["round"], row["client"], row["task"]) == (3, None, "sign")
    )
    assert ["algorithm.name", "FedPer"] in seen["experiment"] and "packages.torch" in dict(seen["environment"])


def test_it_is_one_file_that_loads_nothing(folder: Path, tmp_path: Path) -> None:
    """No address of anything, no text of a run that is HTML; equal runs give equal files."""
    (path,) = report(folder, tmp_path, html=True)
    text = path.read_text()
    assert path == tmp_path / "report.html" and text == html_of(content([folder]))
    assert not re.search(r"(src|href)\s*=\s*[\"'](?!data:,)", text) and "@import" not in text
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {"http://www.w3.org/2000/svg"}
    assert text.count("<script") == 2 and "</script><script>window" not in text
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])  # pyright: ignore[reportOptionalSubscript]
    assert NAME in {row[0] for one in data["runs"] for row in one["clients"]["rows"]}


def test_ten_runs_of_200_rounds_are_below_a_megabyte(tmp_path: Path) -> None:
    """With four tasks, whose curves are drawn at random, and 100 clients: one such run, ten times."""
    draw = np.random.default_rng(0)
    values = {f"task{k}": draw.random(201).tolist() for k in range(4)}
    write_run(tmp_path / "run", {"name": "FedPer"}, values, up=999, clients=(0, 1))
    found = content([tmp_path])
    (one,) = found["runs"]
    clients = [[f"site{k}", *(round(value, 5) for value in draw.random(1))] for k in range(100)]
    rows = [[name, mean, {task: mean for task in values}] for name, mean in clients]
    runs = [{**one, "seed": seed, "clients": {"count": 100, "rows": rows}} for seed in range(10)]
    assert 150_000 < len(html_of({**found, "runs": runs}).encode()) < 1_000_000


def test_of_many_clients_some_are_shown(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Of three clients, two: the lowest and the highest."""
    monkeypatch.setattr("fedmtl.analysis.html.content.MOST_CLIENTS", 2)
    one = load_run(folder / "FedPer0")
    (seen,) = content_of(group_runs([one]))["runs"]
    scores = sorted(one.client_scores().values())
    assert seen["clients"]["count"] == 3
    assert [row[1] for row in seen["clients"]["rows"]] == pytest.approx([scores[0], scores[-1]], rel=1e-4)


def test_it_is_served_while_runs_go_on(folder: Path, tmp_path: Path) -> None:
    """At first there is no run; then the numbers are those of the folder. Other names of this machine get nothing."""
    place = tmp_path / "runs"
    with server([place]) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{serving.server_address[1]}"

        def got(path: str, host: str | None = None) -> bytes:
            request = urllib.request.Request(address + path, headers={} if host is None else {"Host": host})
            with urllib.request.urlopen(request, timeout=20) as found:
                return found.read()

        assert json.loads(got(NUMBERS))["runs"] == []
        shutil.copytree(folder / "Local0", place / "Local0")
        assert json.loads(got(NUMBERS)) == content([place])
        assert f'data-live="{NUMBERS}"' in got("/").decode()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            got("/../../etc/passwd")
        with pytest.raises(urllib.error.HTTPError, match="403"):
            got(NUMBERS, "evil.example:80")
        serving.shutdown()


PROBE = """<script>
const seen = {};
const curves = () => document.querySelectorAll("path.curve").length;
seen.curves = curves();
seen.heat = document.querySelectorAll("svg.heat rect").length;
seen.points = document.querySelectorAll("circle.point").length;
seen.bars = document.querySelectorAll("rect.bar").length;
document.querySelector(".legend input").click();
seen.after = curves();
const lists = [...document.querySelectorAll("select")];
const of = lists.find((one) => one.getAttribute("aria-label") === "of");
of.value = "size"; of.dispatchEvent(new Event("change"));
seen.label = document.querySelector("section svg").getAttribute("aria-label");
const box = document.querySelector("section svg").getBoundingClientRect();
document.querySelector("section svg").dispatchEvent(new PointerEvent("pointermove",
  {clientX: box.left + box.width / 2, clientY: box.top + box.height / 2}));
seen.tip = document.getElementById("tip").textContent;
seen.wide = document.documentElement.scrollWidth > innerWidth;
seen.text = document.body.innerText.includes("window.broken");
seen.broken = window.broken === undefined ? 0 : 1;
document.title = "SEEN" + btoa(unescape(encodeURIComponent(JSON.stringify(seen)))) + "END";
</script>"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed: apt-get install chromium")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_draws_it(folder: Path, tmp_path: Path, width: int) -> None:
    """Charts are drawn, a run is switched off, a task chosen, a point shown; no error in the console.

    A frame of the page's own width, since a browser's window has a least one.
    """
    (tmp_path / "page.html").write_text(html_of(content([folder])).replace("</body>", f"{PROBE}</body>"))
    outer = f'<iframe src="page.html" style="width:{width}px;height:2000px" onload="document.title='
    outer += 'this.contentDocument.title"></iframe>'
    (tmp_path / "outer.html").write_text(f"<!DOCTYPE html><title>none</title>{outer}")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    options += ["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"]
    options += ["--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom"]
    command = [str(BROWSER), *options, "--window-size=1400,2200", "--virtual-time-budget=2000"]
    done = subprocess.run(
        [*command, (tmp_path / "outer.html").as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    assert "CONSOLE" not in done.stderr, done.stderr
    title = re.search(r"SEEN(.*?)END", done.stdout)
    assert title is not None, done.stdout[:2000]
    seen = json.loads(base64.b64decode(title[1]))
    assert seen["curves"] == 3 and seen["after"] == 2
    assert seen["points"] == 2 and seen["bars"] > 4 and seen["heat"] > 10
    assert seen["label"].startswith("size, ") and "round" in seen["tip"]
    assert not seen["wide"] and seen["text"] and seen["broken"] == 0


def test_a_port_that_is_none() -> None:
    with pytest.raises(ValueError, match="from 0 to 65535, got 70000"):
        server([], 70_000)


def test_a_damaged_model_is_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "FedPer0", tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").write_bytes(b"\x05" + 7 * b"\0" + b"[1,2]")
    with pytest.raises(ValueError, match=r"model\.safetensors is not what a run writes; restore it"):
        report(tmp_path / "run", tmp_path, html=True)

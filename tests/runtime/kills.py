"""Kill runs at random moments, resume them, and compare: the same digests, and nothing left but the run folder.

    python -m tests.runtime.kills --kills 100 --runtime Ray

Each kill is SIGKILL to the whole process group, at a moment drawn from the time that an undisturbed run takes. A run
is killed and resumed until it ends; runs follow each other until there were enough kills. Exit code 1 and a line for
each fault.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.forks import Process, start
from tests.runtime.ray_forks import program

TINY = Path(__file__).with_name("tiny.toml")
MARK = "FEDMTL_KILLS"


def launch(out: Path, runtime: str, rounds: int, temporary: Path) -> "Process | subprocess.Popen[str]":
    command = ["run", str(TINY), "--out", str(out), "--resume"]
    command += ["--set", f"rounds={rounds}", "--set", f"runtime={runtime}", "--set", "up_codec=EF21(TopK(0.2))"]
    command += ["--set", "down_codec=STC(0.2)"]
    environment = {**os.environ, MARK: str(temporary), "TMPDIR": str(temporary)}
    with open(out.with_suffix(".log"), "ab") as log:
        code = "" if runtime == "InProcess" else program(command)
        return start(command, code=code, stdout=log, stderr=log, env=environment, start_new_session=True)


def left(temporary: Path, shared: set[str]) -> list[str]:
    """Processes of these runs, and files of theirs in the temporary folder and in shared memory."""
    found = [f"file {path}" for path in temporary.rglob("*") if not path.is_dir()]
    found += [f"shared memory {name}" for name in shared_memory() - shared]
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if f"{MARK}={temporary}".encode() in Path(f"/proc/{name}/environ").read_bytes():
                found.append(f"process {name}: {Path(f'/proc/{name}/cmdline').read_text()[:80]!r}")
        except OSError:  # ended meanwhile, or another user's
            continue
    return found


def left_after(seconds: float, temporary: Path, shared: set[str]) -> list[str]:
    """What is left when processes have had some time to end, a line each."""
    deadline = time.monotonic() + seconds
    while left(temporary, shared) and time.monotonic() < deadline:
        time.sleep(0.5)
    return [f"left after {seconds:g} s: {one}" for one in left(temporary, shared)]


def shared_memory() -> set[str]:
    """Names in shared memory."""
    return set(os.listdir("/dev/shm")) if Path("/dev/shm").is_dir() else set()


def kill_and_compare(kills: int, runtime: str, rounds: int, seed: int, folder: Path, wait: float = 30) -> list[str]:
    """The faults that were found, a line each."""
    draw, done, runs, faults = random.Random(seed), 0, 0, []
    temporary, shared = folder / "t", shared_memory()
    temporary.mkdir()
    begin = time.monotonic()
    if launch(folder / "whole", runtime, rounds, temporary).wait() != 0:
        return [f"the undisturbed run failed: {(folder / 'whole.log').read_text()[-500:]}"]
    takes = time.monotonic() - begin
    digests = json.loads((folder / "whole" / "summary.json").read_text())["digests"]
    while done < kills:
        runs += 1
        out, killed = folder / f"run{runs}", 0
        while True:
            child = launch(out, runtime, rounds, temporary)
            if done < kills and killed < 8:  # beyond, it may end
                try:
                    child.wait(draw.uniform(0, takes))
                except subprocess.TimeoutExpired:
                    os.killpg(child.pid, signal.SIGKILL)
                    child.wait()
                    done, killed = done + 1, killed + 1
                    continue
            if child.wait() != 0:
                faults.append(f"run {runs}, after {killed} kills, failed: {out.with_suffix('.log').read_text()[-500:]}")
            elif json.loads((out / "summary.json").read_text())["digests"] != digests:
                faults.append(f"run {runs}, after {killed} kills, has other digests")
            break
        print(f"{done} of {kills} kills, {runs} runs, {len(faults)} faults", flush=True)
    return faults + left_after(wait, temporary, shared)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--runtime", choices=["InProcess", "Ray"], default="InProcess")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="k-") as folder:
        faults = kill_and_compare(**vars(arguments), folder=Path(folder))
    print("\n".join(faults) or "same digests, and nothing left")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

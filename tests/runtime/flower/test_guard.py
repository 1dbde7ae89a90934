"""A device's ClientApp that gets a signal, or hangs, still replies, and its SuperNode takes the next message.

The small tests play ``flwr-clientapp`` in a process of its own; the slow one has a real SuperLink and SuperNodes.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedmtl.runtime.flower import guard
from tests.forks import Process, start
from tests.runtime.flower_runs import deployment, flwr_run

ROOT = Path(__file__).parents[3]
TINY = Path(__file__).parents[1] / "tiny.toml"

PLAY = """
import ctypes, sys, time, logging
lib, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
sys.argv[0] = "/bin/flwr-clientapp"
for name in [*filter(lambda name: name.startswith("fedmtl.runtime"), sys.modules)]:
    del sys.modules[name]  # to import them for the first time, also where the first process has them
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s", force=True)
from flwr.app import Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 7, 1
from fedmtl.runtime.flower import client_app, guard
guard.GRACE_S = 3.0
def work(message, context, device=False):
    print("working", flush=True)
    try:
        {work}
    except Exception:
        print("swallowed", flush=True)
client_app.reply = work
message = Message(RecordDict(), 7, "train", ttl={ttl})
context = Context(1, 7, {config}, RecordDict(), {{}})
found = client_app.contained(message, context)
print("reply", found.has_error() and found.error.reason, flush=True)
"""


def play(work: str, config: str = "{}", ttl: float = 1000.0) -> "Process | subprocess.Popen[str]":
    code = PLAY.format(work=work, config=config, ttl=ttl)
    return start(code=code, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def output(process: "Process | subprocess.Popen[str]", until: str) -> str:
    assert process.stdout
    seen = ""
    while until not in seen:
        line = process.stdout.readline()
        assert line, seen
        seen += line
    return seen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_an_error_reply(number: signal.Signals) -> None:
    process = play("time.sleep(600)")
    seen = output(process, "working")
    assert "process took" in seen and "Flower allows 30 s" in seen
    process.send_signal(number)
    rest, _ = process.communicate(timeout=90)
    assert "reply Ended [ended]" in rest and "swallowed" not in rest
    assert process.returncode == 0


@pytest.mark.parametrize(("config", "ttl"), [("{'deadline': 1}", 1000.0), ("{}", 3.0)], ids=["node", "time to live"])
def test_a_message_that_takes_too_long_is_an_error_reply(config: str, ttl: float) -> None:
    process = play("time.sleep(600)", config, ttl)
    rest, _ = process.communicate(timeout=90)
    assert "reply Ended [ended]" in rest and process.returncode == 0


def test_native_code_that_hangs_is_ended_from_outside() -> None:
    """A C call that keeps Python's lock: no signal handler of Python's ever runs."""
    process = play("[lib.pthread_mutex_lock(mutex) for _ in range(2)]", "{'deadline': 1}")
    begin = time.monotonic()
    rest, _ = process.communicate(timeout=90)
    assert "reply" not in rest and process.returncode == 1
    assert time.monotonic() - begin < 45


def test_a_deadline_that_is_none() -> None:
    process = play("pass", "{'deadline': 0}")
    rest, _ = process.communicate(timeout=90)
    assert "node-config deadline=0: a positive number of seconds" in rest and "reply ValueError [failed]" in rest


def test_a_message_that_is_handled_in_time_is_left_alone() -> None:
    process = play("return Message(RecordDict(), reply_to=message)", "{'deadline': 50}")
    rest, _ = process.communicate(timeout=90)
    assert "reply False" in rest and process.returncode == 0


def test_no_other_process_is_guarded() -> None:
    before = signal.getsignal(signal.SIGTERM)
    guard.install()
    assert signal.getsignal(signal.SIGTERM) is before and not guard._state.installed


def clientapps(home: Path) -> list[int]:
    """Processes of Flower's for one message, of the deployment in ``home``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if "flwr-clientapp" in (process / "cmdline").read_text() and (
                f"FLWR_HOME={home}".encode() in (process / "environ").read_bytes()
            ):
                found.append(int(process.name))
        except OSError:
            pass
    return found


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.skipif("FEDMTL_DEPLOYMENT_TESTS" not in os.environ, reason="four minutes; set FEDMTL_DEPLOYMENT_TESTS=1")
def test_a_node_whose_app_got_sigterm_takes_part_again(tmp_path: Path) -> None:
    import threading

    home, out = tmp_path / "home", tmp_path / "out"
    killed: list[int] = []
    over = threading.Event()

    def kill_one() -> None:
        while not over.is_set() and not killed:
            if (out / "checkpoint" / "server.state").exists():
                time.sleep(1.0)
                for pid in clientapps(home)[:1]:
                    os.kill(pid, signal.SIGTERM)
                    killed.append(pid)
            time.sleep(0.02)

    with deployment(home, ["partition-id=0 num-partitions=2", "partition-id=1 num-partitions=2"]):
        thread = threading.Thread(target=kill_one)
        thread.start()
        try:
            first = flwr_run(home, TINY, "rounds=4", out, seconds=500)
        finally:
            over.set()
            thread.join()
        assert killed and first["rounds"] == 4
        second = flwr_run(home, TINY, "rounds=1", tmp_path / "next", seconds=300)
        assert second["rounds"] == 1


def test_the_guard_is_there_before_anything_heavy() -> None:
    """numpy, flwr and torch take seconds on a slow machine; a SIGTERM meanwhile left the SuperNode waiting."""
    program = """
import sys
from fedmtl.runtime.flower import guard
def install():
    print(sorted({"numpy", "flwr", "torch", "ray", "scipy"} & sys.modules.keys()), flush=True)
    sys.exit()
guard.install = install
from fedmtl.runtime.flower import client_app
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert found.stdout == "[]\n", found.stderr


def test_a_node_imports_nothing_that_it_does_not_need() -> None:
    heavy = "ray scipy sklearn pandas matplotlib optuna torch._dynamo torch._inductor".split()
    program = f"import sys; import fedmtl.runtime.flower.client_app; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert found.stdout == "[]\n", found.stderr

"""Processes: health, restarts, logs, an end that leaves nothing, even after kill -9 of the launcher."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from local import supervisor
from local.control import birth
from local.stand_ins import free_port
from local.supervisor import Program, StartError, State, Supervisor, always_well, http_probe, tcp_probe

LISTEN = """
import os, socket, sys, time
print("hello from", os.environ["NAME"], flush=True)
listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
while True:
    connection, _ = listener.accept()
    connection.close()
"""


def program(name: str, code: str, **given: Any) -> Program:
    environment = {"PATH": os.defpath, "NAME": name, **given.pop("environment", {})}
    given.setdefault("probe", always_well)
    return Program(name=name, command=(sys.executable, "-c", code), environment=environment, **given)


def listener(name: str, **given: Any) -> Program:
    port = free_port()
    return program(name, LISTEN, probe=tcp_probe("127.0.0.1", port), environment={"PORT": str(port)}, **given)


def run(tmp_path: Path, body: Callable[[Supervisor], Awaitable[None]]) -> None:
    async def main() -> None:
        watched = Supervisor(tmp_path, lambda: None)
        try:
            await body(watched)
        finally:
            await watched.stop()

    asyncio.run(main())


async def until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen"
        await asyncio.sleep(0.02)


def test_start_returns_when_healthy_and_stop_leaves_nothing(tmp_path: Path) -> None:
    pids = []

    async def body(watched: Supervisor) -> None:
        await watched.start(listener("one"), listener("two"))
        assert watched.is_healthy
        pids.extend(process.pid for process in watched.processes)
        assert all(birth(pid) for pid in pids)

    run(tmp_path, body)
    assert len(pids) == 2
    assert not any(birth(pid) for pid in pids)
    assert (tmp_path / "one.log").read_text() == "hello from one\n"


def test_a_process_that_dies_is_started_again(tmp_path: Path) -> None:
    async def body(watched: Supervisor) -> None:
        await watched.start(listener("one"))
        (process,) = watched.processes
        first = process.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: process.restarts == 1 and process.state is State.HEALTHY)
        assert process.pid != first

    run(tmp_path, body)


def test_a_port_that_another_process_has_is_told_before_its_answers_are_taken_for_health(tmp_path: Path) -> None:
    async def body(watched: Supervisor) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            address = f"127.0.0.1:{other.getsockname()[1]}"
            probe = tcp_probe(*other.getsockname())
            with pytest.raises(StartError, match=f"one is not started: another process answers at {address}"):
                await watched.start(program("one", LISTEN, probe=probe, address=address))

    run(tmp_path, body)


def test_a_process_that_stops_answering_is_killed_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "PROBE_EVERY_S", 0.05)
    monkeypatch.setattr(supervisor, "PROBE_TIMEOUT_S", 0.2)
    is_well = True

    async def probe() -> None:
        if not is_well:
            await asyncio.sleep(60)

    async def body(watched: Supervisor) -> None:
        nonlocal is_well
        await watched.start(program("one", "import time; time.sleep(60)", probe=probe))
        (process,) = watched.processes
        first = process.pid
        is_well = False
        await until(lambda: process.restarts == 1)
        is_well = True
        await until(lambda: process.state is State.HEALTHY)
        assert process.pid != first

    run(tmp_path, body)


def test_restarts_wait_longer_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "BACKOFF_FIRST_S", 0.1)
    waits: list[float] = []
    sleep = asyncio.sleep

    async def noted(delay: float) -> None:
        if delay >= 0.1 and delay < 4:
            waits.append(delay)
        await sleep(min(delay, 0.05))

    async def body(watched: Supervisor) -> None:
        await watched.start(program("one", "import time; time.sleep(0.2)"))
        monkeypatch.setattr(asyncio, "sleep", noted)
        (process,) = watched.processes
        await until(lambda: process.restarts >= 4)
        monkeypatch.setattr(asyncio, "sleep", sleep)

    run(tmp_path, body)
    backoffs = [wait for wait in waits if wait != supervisor.STARTING_EVERY_S]
    assert backoffs[:3] == [0.2, 0.4, 0.8] or backoffs[:2] == [0.2, 0.4]


def test_a_process_that_never_gets_well_fails_the_start_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "BACKOFF_FIRST_S", 0.01)

    async def unwell() -> None:
        raise ConnectionRefusedError

    async def body(watched: Supervisor) -> None:
        with pytest.raises(StartError, match=r"(?s)bad ended with exit code 3; .*bad.log:.*no such table"):
            await watched.start(program("bad", "import sys; print('no such table'); sys.exit(3)", probe=unwell))

    run(tmp_path, body)
    assert (tmp_path / "bad.log").read_text().count("no such table") == supervisor.STARTS_MAX


def test_bad_settings_are_not_tried_again(tmp_path: Path) -> None:
    async def unwell() -> None:
        raise ConnectionRefusedError

    async def body(watched: Supervisor) -> None:
        with pytest.raises(StartError, match="exit code 2"):
            await watched.start(program("bad", "import sys; print('once'); sys.exit(2)", probe=unwell))

    run(tmp_path, body)
    assert (tmp_path / "bad.log").read_text() == "once\n"


def test_a_slow_start_has_a_limit(tmp_path: Path) -> None:
    async def unwell() -> None:
        raise ConnectionRefusedError

    async def body(watched: Supervisor) -> None:
        with pytest.raises(StartError, match=r"is not healthy after 0\.5 s"):
            await watched.start(program("slow", "import time; time.sleep(60)", probe=unwell, start_timeout_s=0.5))

    run(tmp_path, body)


def test_a_process_that_ignores_the_request_to_stop_is_killed(tmp_path: Path) -> None:
    pids = []

    async def body(watched: Supervisor) -> None:
        stubborn = (
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
        )
        await watched.start(program("stubborn", stubborn, stop_timeout_s=0.3))
        pids.append(watched.processes[0].pid)
        await until(lambda: (tmp_path / "stubborn.log").read_text() == "1\n")

    run(tmp_path, body)
    assert not birth(pids[0])


def test_a_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LOG_BYTES_MAX", 1000)
    monkeypatch.setattr(supervisor, "PROBE_EVERY_S", 0.05)
    talk = "import time\nwhile True: print('x' * 99, flush=True); time.sleep(0.001)"

    async def body(watched: Supervisor) -> None:
        await watched.start(program("loud", talk))
        await until((tmp_path / "loud.log.1").exists)

    run(tmp_path, body)
    assert (tmp_path / "loud.log.1").stat().st_size > 1000


def test_an_http_probe_wants_200(tmp_path: Path) -> None:
    port = free_port()
    serve = "import http.server, sys; http.server.test(http.server.SimpleHTTPRequestHandler, port=%d, bind='127.0.0.1')"

    async def body(watched: Supervisor) -> None:
        await watched.start(program("site", serve % port, probe=http_probe("127.0.0.1", port, "/"), folder=tmp_path))
        with pytest.raises(ConnectionError, match="404"):
            await http_probe("127.0.0.1", port, "/missing")()

    run(tmp_path, body)


LAUNCHER = """
import asyncio, sys
from pathlib import Path
from local.supervisor import Program, Supervisor, always_well

async def main():
    watched = Supervisor(Path(sys.argv[1]), lambda: None)
    sleeper = (sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)")
    await watched.start(*(Program(name=n, command=sleeper, environment={}, probe=always_well) for n in "ab"))
    print(*(process.pid for process in watched.processes), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a process to its parent")
def test_nothing_outlives_a_launcher_that_was_killed(tmp_path: Path) -> None:
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    pids = [int(pid) for pid in launcher.stdout.readline().split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 10
    while not all((tmp_path / f"{name}.log").read_text() == "up\n" for name in "ab"):
        assert time.monotonic() < deadline, "they never came up"
        time.sleep(0.02)
    launcher.kill()
    launcher.wait()
    deadline = time.monotonic() + 5
    while any(birth(pid) for pid in pids):
        assert time.monotonic() < deadline, "they live on"
        time.sleep(0.02)

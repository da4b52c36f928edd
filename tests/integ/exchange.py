"""The exchange under test: the one `make test` started, or one of its own for tests that stop it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.control import ProcessStatus, birth, read_status
from local.paths import PROJECT, Layout
from local.stand_ins import free_port
from runtime.market_maker.client import Key, Session

HEALTHY_TIMEOUT_S = 90.0


@dataclass
class Exchange:
    """A running exchange, its addresses and its processes."""

    layout: Layout
    _killed: list[ProcessStatus] = field(default_factory=list)

    @property
    def demo(self) -> dict[str, Any]:
        """What the contract file says."""
        document: dict[str, Any] = json.loads(self.layout.demo.read_text())
        return document

    def process(self, name: str) -> ProcessStatus:
        """Return the process called `name`, or the first whose name starts so."""
        status = read_status(self.layout)
        assert status
        return next(process for process in status.processes if process.name.startswith(name))

    def kill(self, name: str) -> None:
        """End a process as a power cut would."""
        process = self.process(name)
        assert process.pid, f"{name} does not run"  # 0 would be everybody here
        os.kill(process.pid, signal.SIGKILL)
        self._killed.append(process)

    def wait_healthy(self) -> None:
        """Return once every process is well again; what was killed counts only in its next life."""

        def is_healthy() -> bool:
            status = read_status(self.layout)
            if not status or status.state != "healthy" or not status.is_fresh:
                return False
            killed = {(process.pid, process.born) for process in self._killed}
            return killed.isdisjoint((process.pid, process.born) for process in status.processes)

        try:
            wait_for(is_healthy)
        except AssertionError:
            raise AssertionError(self.command("status", "--verbose").stdout) from None

    async def session(self, name: str = "alice") -> Session:
        """Return a logged-on connection of a demo account."""
        (account,) = (account for account in self.demo["accounts"] if account["name"] == name)
        session = Session(Key(account["ed25519_api_key"], account["ed25519_private_key_pem"]), in_flight_max=512)
        await session.open(self.demo["ws_api_url"])
        return session

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m local …` on this exchange."""
        return subprocess.run(
            [sys.executable, "-m", "local", *arguments],
            cwd=PROJECT,
            env={**os.environ, "LOCAL_DIR": str(self.layout.root)},
            capture_output=True,
            text=True,
            check=False,
        )


def wait_for(condition: Callable[[], bool], timeout_s: float = HEALTHY_TIMEOUT_S) -> None:
    """Return once `condition` holds; fail after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.2)


@contextmanager
def own_exchange(root: Path, environment: str = "dev") -> Iterator[Exchange]:
    """Start an exchange in a folder of its own; stop it, whatever happens."""
    exchange = Exchange(Layout(root))
    started = exchange.command("up", "--port", str(free_port()), "--env", environment, "--detach")
    assert started.returncode == 0, started.stdout + started.stderr
    try:
        yield exchange
    finally:
        exchange.command("down")


def processes_of(exchange: Exchange) -> dict[int, str]:
    """Return id and time of birth of every process of the exchange, the launcher included."""
    status = read_status(exchange.layout)
    assert status
    ids = [status.pid, *(process.pid for process in status.processes)]
    return {pid: birth(pid) for pid in ids if pid}


def run(scenario: Callable[[], Any]) -> None:
    """Run a coroutine function."""
    asyncio.run(scenario())

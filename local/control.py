"""How a launcher is found, asked and ended by other commands: a lock, a status file, and what an earlier run left."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from local.paths import Layout, write_private

STOP_TIMEOUT_S: Final = 60.0
KILL_TIMEOUT_S: Final = 10.0
STALE_S: Final = 30.0
"""A status older than this is not believed."""
_POLL_S: Final = 0.05


class AlreadyRunningError(RuntimeError):
    """Another launcher holds this folder. The message says where it is reached and how to end it."""


@dataclass(slots=True, kw_only=True)
class ProcessStatus:
    """One process, as the status tells it. `born` tells a process from a later one of the same id."""

    name: str
    state: str
    pid: int
    restarts: int
    address: str
    born: str = ""


@dataclass(slots=True, kw_only=True)
class FunctionStatus:
    """One function, as the status tells it. Errors count time-outs too."""

    name: str
    invocations: int
    errors: int
    timeouts: int
    throttles: int
    peak_mib: int
    last_error: str


@dataclass(slots=True, kw_only=True)
class Status:
    """What the launcher says of itself."""

    pid: int
    born: str
    state: str
    port: int
    environment: str
    updated_s: float = 0.0
    urls: dict[str, str] = field(default_factory=dict)
    processes: list[ProcessStatus] = field(default_factory=list)
    functions: list[FunctionStatus] = field(default_factory=list)

    @property
    def is_fresh(self) -> bool:
        """Whether the launcher has spoken lately."""
        return time.time() - self.updated_s < STALE_S


def status_file(layout: Layout) -> Path:
    """Return where the launcher says how it is."""
    return layout.run / "status.json"


def write_status(layout: Layout, status: Status) -> None:
    """Replace the status."""
    status.updated_s = time.time()
    write_private(status_file(layout), json.dumps(asdict(status), indent=1).encode())


def read_status(layout: Layout) -> Status | None:
    """Return the last status of the last launcher, or None if there is none that can be read."""
    try:
        told: dict[str, Any] = json.loads(status_file(layout).read_bytes())
        processes = [ProcessStatus(**process) for process in told.pop("processes")]
        functions = [FunctionStatus(**function) for function in told.pop("functions")]
        return Status(**told, processes=processes, functions=functions)
    except (OSError, ValueError, TypeError, KeyError):
        return None


@contextmanager
def sole_launcher(layout: Layout) -> Iterator[None]:
    """Hold the folder for this launcher. Raises AlreadyRunningError."""
    with (layout.run / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            status = read_status(layout)
            where = status.urls.get("ui_url", f"port {status.port}") if status else "still starting"
            raise AlreadyRunningError(
                f"already running ({where}); `make status` shows it, `make down` stops it"
            ) from None
        yield


def is_running(layout: Layout) -> bool:
    """Return whether a launcher holds the folder."""
    if not (layout.run / "lock").exists():
        return False
    with (layout.run / "lock").open("r") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def stop_launcher(layout: Layout) -> None:
    """End the launcher, gently first, and whatever it left; return when nothing is left."""
    status = read_status(layout)
    if status is not None and is_running(layout):
        _send(status.pid, status.born, signal.SIGTERM)
        if not _wait(lambda: birth(status.pid) != status.born, STOP_TIMEOUT_S):
            _send(status.pid, status.born, signal.SIGKILL)
            _wait(lambda: birth(status.pid) != status.born, KILL_TIMEOUT_S)
    end_leftovers(layout)


def end_leftovers(layout: Layout) -> int:
    """End every process that an earlier launcher recorded and that still lives; return how many there were."""
    status = read_status(layout)
    left = [p for p in status.processes if p.pid and birth(p.pid) == p.born] if status else []
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in left:
            _send(process.pid, process.born, number)
        if _wait(lambda: all(birth(p.pid) != p.born for p in left), KILL_TIMEOUT_S):
            break
    return len(left)


def birth(pid: int) -> str:
    """Return when process `pid` was started, in a form that only compares; empty if it does not live."""
    if sys.platform == "linux":
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        state, started = fields[0], fields[19]
        return "" if state in "ZX" else started
    told = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], check=False, capture_output=True, text=True)
    return told.stdout.strip()


def _send(pid: int, born: str, number: signal.Signals) -> None:
    if pid and birth(pid) == born:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return


def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True

"""Keeps processes running: starts each in its turn, watches its health, starts it again when it dies, stops all.

A process belongs to the launcher for life and death: see `leash.py`. Its output goes to one file of its own.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from local.paths import PROJECT
from runtime.shared.tasks import end

LOG_BYTES_MAX: Final = 32 * 2**20
"""A log file past this is set aside once, as `<name>.log.1`."""
BACKOFF_FIRST_S: Final = 0.5
BACKOFF_MAX_S: Final = 30.0
STEADY_S: Final = 10.0
"""A process that ran this long starts again after the first backoff."""
PROBE_EVERY_S: Final = 5.0
PROBE_TIMEOUT_S: Final = 3.0
SILENCE: Final = (OSError, TimeoutError, EOFError)
"""What a probe raises of a program that is not well."""
PROBES_FAILED_MAX: Final = 3
STARTING_EVERY_S: Final = 0.1
OUT_EVERY_S: Final = 0.1
STARTS_MAX: Final = 3
"""How often a process may die before its first health; it is then given up and the run fails."""
EXIT_BAD_SETTINGS: Final = 2
"""How services say that starting them again will not help."""
_LEASH: Final = Path(__file__).with_name("leash.py")

logger = logging.getLogger(__name__)
Probe = Callable[[], Awaitable[None]]
"""Returns when the process is healthy; raises OSError or TimeoutError when it is not."""


class StartError(RuntimeError):
    """A process could not be brought to health. The message names it and shows the end of its log."""


class State(StrEnum):
    """Where a process is in its life."""

    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run and how to tell that it is well."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    probe: Probe
    address: str = ""
    """host:port, for the table; empty for a process that listens nowhere."""
    start_timeout_s: float = 60.0
    stop_timeout_s: float = 10.0
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL
    """Sent by the kernel when the launcher dies."""
    user: tuple[int, int] | None = None
    """User and group id to run as."""
    folder: Path = PROJECT
    is_out: Callable[[], bool] = field(default=lambda: False, repr=False)
    """Whether it is kept from running for now; it starts again when this ends."""


class Process:
    """One program under supervision."""

    def __init__(self, program: Program, log: Path, changed: Callable[[], None]) -> None:
        """Prepare to run `program`; `changed` is called whenever something about it changes."""
        self.program = program
        self.log = log
        self.state = State.STARTING
        self.pid = 0
        self.restarts = 0
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._first_health: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Run the program, and return once it is healthy. Raises StartError."""
        if self.program.address and await self._is_answered():
            # Every start would end at the taken port, and every probe would be content with whoever has it.
            raise StartError(f"{self.program.name} is not started: another process answers at {self.program.address}")
        self._task = asyncio.create_task(self._keep_running(), name=self.program.name)
        try:
            await asyncio.wait_for(asyncio.shield(self._first_health), self.program.start_timeout_s)
        except TimeoutError:
            raise self.start_error(f"is not healthy after {self.program.start_timeout_s:g} s") from None

    async def _is_answered(self) -> bool:
        try:
            await self._probe()
        except SILENCE:
            return False
        return True

    async def _probe(self) -> None:
        """Return when the program is well. Raises one of SILENCE when it is not."""
        await asyncio.wait_for(self.program.probe(), PROBE_TIMEOUT_S)

    async def stop(self) -> None:
        """Ask the process to end; kill it if it does not."""
        if self._task is not None:
            await end(self._task)
        if self._process is not None and self._process.returncode is None:
            await self._end(self._process)
        if self._first_health.done():
            self._first_health.exception()
        self._set(State.STOPPED)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(self.program.stop_signal)
        try:
            await asyncio.wait_for(process.wait(), self.program.stop_timeout_s)
        except TimeoutError:
            logger.warning("%s did not stop within %g s: killed", self.program.name, self.program.stop_timeout_s)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _keep_running(self) -> None:
        backoff = 0.0
        while True:
            began = time.monotonic()
            process = await self._spawn()
            watches = [asyncio.create_task(watch(process)) for watch in (self._watch, self._end_when_out)]
            try:
                code = await process.wait()
            finally:
                for watch in watches:
                    watch.cancel()
            self.pid = 0
            if self.program.is_out():
                await self._while_out()
                continue
            if not self._first_health.done() and (self.restarts + 1 >= STARTS_MAX or code == EXIT_BAD_SETTINGS):
                self._first_health.set_exception(self.start_error(f"ended with {_named(code)}"))
                return
            ran_well = time.monotonic() - began > STEADY_S
            backoff = BACKOFF_FIRST_S if ran_well else min(backoff * 2 or BACKOFF_FIRST_S, BACKOFF_MAX_S)
            logger.warning("%s ended with %s, starts again in %g s", self.program.name, _named(code), backoff)
            self.restarts += 1
            self._set(State.RESTARTING)
            await asyncio.sleep(backoff)

    async def _spawn(self) -> asyncio.subprocess.Process:
        program = self.program
        user, group = program.user or ("-", "-")
        leash = (os.getpid(), int(program.death_signal), user, group)
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_LEASH), *map(str, leash), *program.command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(program.environment),
                cwd=program.folder,
                start_new_session=True,  # Ctrl-C is the launcher's to handle
            )
        self.pid = self._process.pid
        self._set(State.STARTING)
        return self._process

    async def _end_when_out(self, process: asyncio.subprocess.Process) -> None:
        """Kill the process when it is to be out, as a power cut would."""
        await self._until_out(is_out=True)
        with contextlib.suppress(ProcessLookupError):
            process.kill()

    async def _while_out(self) -> None:
        logger.warning("%s is out on purpose", self.program.name)
        self.restarts += 1
        self._set(State.STOPPED)
        await self._until_out(is_out=False)

    async def _until_out(self, *, is_out: bool) -> None:
        while True:
            if self.program.is_out() is is_out:
                return
            await asyncio.sleep(OUT_EVERY_S)

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Follow the health of one run; kill it when it stops answering."""
        failed = 0
        while True:
            try:
                await self._probe()
            except SILENCE as error:
                failed += self.state is not State.STARTING
                if failed >= PROBES_FAILED_MAX:
                    logger.warning("%s does not answer (%s): killed", self.program.name, error or type(error).__name__)
                    process.kill()
                    return
                if failed:
                    self._set(State.UNHEALTHY)
            else:
                failed = 0
                self._set(State.HEALTHY)
                if not self._first_health.done():
                    self._first_health.set_result(None)
            await asyncio.sleep(STARTING_EVERY_S if self.state is State.STARTING else PROBE_EVERY_S)
            self._bound_log()

    def _bound_log(self) -> None:
        """Set a log aside that has grown too large. The process appends, so it goes on at the new start."""
        if self.log.stat().st_size > LOG_BYTES_MAX:
            shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
            os.truncate(self.log, 0)

    def _set(self, state: State) -> None:
        if state is not self.state or state is State.STARTING:
            self.state = state
            self._changed()

    def start_error(self, what: str) -> StartError:
        """Return an error that says `what` is wrong with the process, and how its log ends."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 4000))
            lines = file.read().decode(errors="replace").splitlines()[-12:]
        return StartError("\n".join([f"{self.program.name} {what}; the end of {self.log}:", *lines]))


class Supervisor:
    """All processes of a run, in the order they were started."""

    def __init__(self, logs: Path, changed: Callable[[], None]) -> None:
        """Write logs into `logs`; call `changed` whenever a process changes its state."""
        self.processes: list[Process] = []
        self._logs = logs
        self._changed = changed

    async def start(self, *programs: Program) -> None:
        """Start programs side by side, and return once all are healthy. Raises StartError for the first that is not."""
        processes = [Process(program, self._logs / f"{program.name}.log", self._changed) for program in programs]
        self.processes += processes
        await asyncio.gather(*(process.start() for process in processes))

    async def stop(self) -> None:
        """Stop every process, the last started first."""
        while self.processes:
            await self.processes[-1].stop()
            self.processes.pop()
            self._changed()

    @property
    def is_healthy(self) -> bool:
        """Whether every process is well."""
        return all(process.state is State.HEALTHY for process in self.processes)


def tcp_probe(host: str, port: int) -> Probe:
    """Return a probe that is content when the port accepts a connection."""

    async def probe() -> None:
        _reader, writer = await asyncio.open_connection(host, port)
        writer.close()
        await writer.wait_closed()

    return probe


def http_probe(host: str, port: int, path: str) -> Probe:
    """Return a probe that is content with status 200 from `path`."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode()

    async def probe() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(request)
            status = await reader.readline()
        finally:
            writer.close()
        if status.split(b" ")[1:2] != [b"200"]:
            raise ConnectionError(f"{path} answered {status[:60]!r}")

    return probe


async def always_well() -> None:
    """Be content: for a process that listens nowhere and is well while it runs."""


def _named(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"

"""Calls functions: a pool of workers under each function's concurrency, and asynchronous calls with their retries."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from local.delivery.functions import Function
from local.delivery.worker import INIT_TIMEOUT_S, receive, send

WORKERS_MAX: Final = 16
IDLE_S: Final = 30.0
"""A worker that has had nothing to do for so long ends."""
PAYLOAD_BYTES_MAX: Final = 6 * 2**20
SLOT_TIMEOUT_S: Final = 60.0
_GRACE_S: Final = 5.0
_STOP_S: Final = 2.0
_WORKER: Final = Path(__file__).with_name("worker.py")


class ThrottledError(RuntimeError):
    """A function's concurrency, or the whole pool, is used up."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one call: the payload, or the error as the caller is told of it."""

    payload: str = "null"
    error: Mapping[str, Any] | None = None

    @property
    def is_success(self) -> bool:
        """Whether the handler returned."""
        return self.error is None

    @property
    def value(self) -> Any:  # noqa: ANN401 - whatever the handler returned
        """The payload, decoded."""
        return json.loads(self.payload)


@dataclass(slots=True)
class Count:
    """How often a function was called, and what came of it."""

    invocations: int = 0
    errors: int = 0
    timeouts: int = 0
    throttles: int = 0
    peak_mib: int = 0
    last_error: str = ""


@dataclass(slots=True)
class _Worker:
    function: Function
    connection: socket.socket
    pid: int
    idle_since: float = field(default_factory=time.monotonic)

    def close(self) -> None:
        self.connection.close()


class Runner:
    """Calls functions by value: whoever may call which is decided elsewhere."""

    def __init__(self, logs: Path, inject: Callable[[Function], Mapping[str, str]]) -> None:
        """Write what functions say into `logs`; add to each environment what `inject` returns."""
        self.counts: dict[str, Count] = {}
        """By label."""
        self._logs = logs
        self._inject = inject
        self._slots = threading.Condition()
        self._idle: list[_Worker] = []
        self._running: dict[str, int] = {}
        self._forking = threading.Lock()
        self._template: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def invoke(self, function: Function, event: Any, *, wait_s: float = 0.0) -> Outcome:  # noqa: ANN401 - any JSON
        """Call `function` with `event`, waiting up to `wait_s` for its turn. Raises ThrottledError."""
        count = self.counts.setdefault(function.label, Count())
        if function.cannot_run:
            count.invocations += 1
            return self._failed(count, {"errorType": "Runtime.NotHere", "errorMessage": function.cannot_run})
        try:
            worker = self._take(function, wait_s)
        except ThrottledError:
            count.throttles += 1
            raise
        count.invocations += 1
        request_id = str(uuid.uuid4())
        is_alive = False
        begun = time.monotonic()
        try:
            worker = worker or self._fork(function)
            begun = time.monotonic()
            worker.connection.settimeout(function.timeout_s + INIT_TIMEOUT_S + _GRACE_S)
            send(worker.connection, {"request_id": request_id, "event": event})
            answer = receive(worker.connection)
            is_alive = answer is not None
        except TimeoutError:
            # The kernel's timer should have ended it long ago.
            if worker is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGKILL)
            answer = None
        except OSError as error:
            return self._failed(count, {"errorType": "Runtime.ExitError", "errorMessage": str(error)})
        finally:
            self._give_back(function, worker, is_alive=is_alive)
        if answer is None:
            return self._ended(function, count, request_id, time.monotonic() - begun)
        count.peak_mib = max(count.peak_mib, answer["peak_mib"])
        if "error" in answer:
            return self._failed(count, answer["error"])
        return Outcome(answer["payload"])

    def tend(self) -> None:
        """End the workers that have been idle for too long."""
        with self._slots:
            limit = time.monotonic() - IDLE_S
            old = [worker for worker in self._idle if worker.idle_since < limit]
            self._idle = [worker for worker in self._idle if worker.idle_since >= limit]
        for worker in old:
            worker.close()

    def stop(self) -> None:
        """End every worker and their template."""
        with self._slots:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.close()
        with self._forking:
            self._end_template()

    @property
    def worker_count(self) -> int:
        """How many workers there are now."""
        with self._slots:
            return len(self._idle) + sum(self._running.values())

    def _take(self, function: Function, wait_s: float) -> _Worker | None:
        """Return an idle worker of the function, or None for the right to fork one."""
        deadline = time.monotonic() + wait_s
        limit = function.concurrency_max
        with self._slots:
            while True:
                running = self._running.get(function.name, 0)
                total = len(self._idle) + sum(self._running.values())
                if limit is None or running < limit:
                    for worker in self._idle:
                        if worker.function.name == function.name:
                            self._idle.remove(worker)
                            break
                    else:
                        worker = None
                        if total >= WORKERS_MAX and self._idle:
                            self._idle.pop(0).close()
                            total -= 1
                    if worker is not None or total < WORKERS_MAX:
                        self._running[function.name] = running + 1
                        return worker
                left = deadline - time.monotonic()
                if left <= 0:
                    what = f"{function.label} runs {running} at once" if limit is not None else f"{total} workers run"
                    raise ThrottledError(f"Rate Exceeded: {what}")
                self._slots.wait(left)

    def _give_back(self, function: Function, worker: _Worker | None, *, is_alive: bool) -> None:
        with self._slots:
            self._running[function.name] -= 1
            if worker is not None and is_alive:
                worker.idle_since = time.monotonic()
                self._idle.append(worker)
            self._slots.notify_all()
        if worker is not None and not is_alive:
            worker.close()

    def _fork(self, function: Function) -> _Worker:
        """Have a worker forked. Raises OSError."""
        ours, theirs = socket.socketpair()
        request = {
            "name": function.name,
            "arn": function.arn,
            "handler": function.handler,
            "folder": str(function.folder),
            "environment": {**function.environment, **self._inject(function)},
            "timeout_s": function.timeout_s,
            "memory_mib": function.memory_mib,
            "log": str(self._logs / f"{function.label}.log"),
        }
        data = json.dumps(request).encode()
        with theirs, self._forking:
            for is_last in (False, True):
                try:
                    control = self._to_template()
                    socket.send_fds(control, [len(data).to_bytes(4, "big")], [theirs.fileno()])
                    control.sendall(data)
                    break
                except OSError:
                    self._end_template()
                    if is_last:
                        raise
        ours.settimeout(INIT_TIMEOUT_S + _GRACE_S)
        hello = receive(ours)
        if hello is None:
            raise ConnectionResetError("the worker ended before it began")
        return _Worker(function, ours, hello["pid"])

    def _to_template(self) -> socket.socket:
        """Return the way to the template process, started if need be. The lock is held."""
        if self._control is None:
            ours, theirs = socket.socketpair()
            with theirs, (self._logs / "functions.log").open("ab") as log:
                self._template = subprocess.Popen(
                    [sys.executable, "-I", str(_WORKER)],
                    stdin=theirs.fileno(),
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    env={"PATH": os.defpath},
                )
            self._control = ours
        return self._control

    def _end_template(self) -> None:
        """End the template process. The lock is held."""
        if self._control is not None:
            self._control.close()
        if self._template is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._template.wait(_STOP_S)
            self._template.kill()
            self._template.wait()
        self._control = self._template = None

    def _ended(self, function: Function, count: Count, request_id: str, taken_s: float) -> Outcome:
        if taken_s >= function.timeout_s:
            count.timeouts += 1
            what = f"Task timed out after {function.timeout_s:.2f} seconds"
            error = {"errorType": "Sandbox.Timedout", "errorMessage": f"RequestId: {request_id} Error: {what}"}
        else:
            what = f"RequestId: {request_id} Error: Runtime exited without providing a reason"
            error = {"errorType": "Runtime.ExitError", "errorMessage": what}
        return self._failed(count, error)

    @staticmethod
    def _failed(count: Count, error: Mapping[str, Any]) -> Outcome:
        count.errors += 1
        count.last_error = f"{error['errorType']}: {error['errorMessage']}"
        return Outcome(json.dumps(error), error)

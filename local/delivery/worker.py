"""Runs handlers: a template process that forks one worker for each execution environment of a function.

Run by path in an interpreter of its own, with one end of a socket pair as its standard input. Libraries that every
handler uses are imported once, before any fork, so a worker starts in milliseconds and shares their memory. A request
to fork carries a socket, over which the worker then takes one event after another, as frames of four bytes of length
and JSON. A worker has exactly the environment of its function, imports from its asset folder alone, and is ended by the
kernel's timer when a handler overruns.
"""

import contextlib
import ctypes
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
import time
import traceback
from types import FrameType, SimpleNamespace
from typing import Any, Final

PRELOADED: Final = ("boto3", "pydantic", "msgspec", "aws_lambda_powertools")
INIT_TIMEOUT_S: Final = 10.0
"""What importing the handler may take before its first event, beside the event's own timeout."""
FRAME_BYTES_MAX: Final = 8 * 2**20
_PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    """Fork a worker for each request until the launcher is gone."""
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    control = socket.socket(fileno=os.dup(0))
    while True:
        readable, _writable, _broken = select.select([control], [], [], 1.0)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not readable:
            continue
        header, handed, _flags, _address = socket.recv_fds(control, 4, 1)
        request = _exactly(control, int.from_bytes(header, "big")) if len(header) == 4 else None  # noqa: PLR2004
        if request is None:
            return
        (descriptor,) = handed
        if os.fork() == 0:
            control.close()
            try:
                _work(socket.socket(fileno=descriptor), SimpleNamespace(**json.loads(request)))
            except BaseException:  # noqa: BLE001 - the last line of a process
                traceback.print_exc()
            os._exit(1)
        os.close(descriptor)


def _work(connection: socket.socket, function: SimpleNamespace) -> None:
    """Become an execution environment of `function`; answer events until the other end is closed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    log = os.open(function.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(function.environment)
    time.tzset()
    os.chdir(function.folder)
    sys.path.insert(0, function.folder)
    send(connection, {"pid": os.getpid()})
    handler = None
    while (event := receive(connection)) is not None:
        _say(f"START RequestId: {event['request_id']}")
        begun = time.monotonic()
        # The kernel ends the process when the time is up, whatever the handler is doing.
        signal.setitimer(signal.ITIMER_REAL, function.timeout_s + (0 if handler else INIT_TIMEOUT_S))
        try:
            if handler is None:
                module, _dot, name = function.handler.rpartition(".")
                handler = getattr(importlib.import_module(module), name)
                signal.setitimer(signal.ITIMER_REAL, function.timeout_s)
            context = _Context(function, event, time.monotonic() + function.timeout_s)
            answer: dict[str, Any] = {"payload": json.dumps(handler(event["event"], context), default=_no_json)}
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises is its answer
            traceback.print_exc()
            answer = {"error": _told(error, event["request_id"])}
        signal.setitimer(signal.ITIMER_REAL, 0)
        taken_ms = (time.monotonic() - begun) * 1000
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "linux" else 2**20)
        _say(
            f"REPORT RequestId: {event['request_id']} Duration: {taken_ms:.1f} ms "
            f"Memory Size: {function.memory_mib} MB Max Memory Used: {peak_mib} MB"
        )
        send(connection, answer | {"peak_mib": peak_mib})
    os._exit(0)


class _Context:
    """What a handler is told of its invocation, by the names that AWS gives."""

    def __init__(self, function: SimpleNamespace, event: dict[str, Any], deadline: float) -> None:
        self.aws_request_id = event["request_id"]
        self.function_name = function.name
        self.function_version = "$LATEST"
        self.invoked_function_arn = function.arn
        self.memory_limit_in_mb = str(function.memory_mib)
        self.log_group_name = function.environment["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = function.environment["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = None
        self.client_context = None
        self._deadline = deadline

    def get_remaining_time_in_millis(self) -> int:
        """Return how long the handler may still run."""
        return max(0, int((self._deadline - time.monotonic()) * 1000))


def send(connection: socket.socket, message: dict[str, Any]) -> None:
    """Write one frame."""
    body = json.dumps(message).encode()
    connection.sendall(len(body).to_bytes(4, "big") + body)


def receive(connection: socket.socket) -> dict[str, Any] | None:
    """Read one frame; None when the other end is closed."""
    header = _exactly(connection, 4)
    if header is None:
        return None
    size = int.from_bytes(header, "big")
    if size > FRAME_BYTES_MAX:
        raise ValueError(f"a frame has at most {FRAME_BYTES_MAX} bytes, was {size}")
    body = _exactly(connection, size)
    if body is None:
        return None
    message: dict[str, Any] = json.loads(body)
    return message


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    parts = []
    while size:
        part = connection.recv(min(size, 2**16))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _told(error: BaseException, request_id: str) -> dict[str, Any]:
    return {
        "errorMessage": str(error),
        "errorType": type(error).__name__,
        "requestId": request_id,
        "stackTrace": traceback.format_tb(error.__traceback__)[1:],
    }


def _no_json(value: object) -> object:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _say(line: str) -> None:
    os.write(2, f"{line}\n".encode())


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Ctrl-C in the terminal is the launcher's to handle."""


if __name__ == "__main__":
    signal.signal(signal.SIGINT, _ignore)
    main()

"""Looks at every source a few times a second and gives threads to those with something to do."""

import heapq
import itertools
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from local.cloud import Cloud, Invocation
from local.control import FunctionStatus
from local.delivery import functions, lake, mappings, rules
from local.delivery.calls import AsynchronousCalls
from local.delivery.functions import Function, function_name
from local.delivery.mappings import Source
from local.delivery.runner import PAYLOAD_BYTES_MAX, Count, Runner, ThrottledError
from local.delivery.schedules import Schedules, UnknownScheduleError
from local.delivery.targets import Targets
from local.deploy import Deployment
from local.refusals import Answer

LOOK_EVERY_S: Final = 0.05
THREADS_MAX: Final = 16
ERROR_PAUSE_S: Final = 2.0
"""A source that failed rests for so long."""
TEND_EVERY_S: Final = 5.0
logger = logging.getLogger(__name__)


class Dispatcher:
    """Everything that is delivered in one deployment."""

    def __init__(
        self,
        deployment: Deployment,
        cloud: Cloud,
        *,
        logs: Path,
        inline: Path,
        inject: Callable[[Function], Mapping[str, str]],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Prepare to deliver. Raises ValueError for whatever is declared and cannot be carried out here."""
        self.functions = functions.by_name(functions.declared(deployment, inline))
        self.runner = Runner(logs, inject)
        self._targets = Targets(cloud, deployment)
        self._cloud = cloud
        self._now = now
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._later_lock = threading.Lock()
        self._order = itertools.count()
        self._calls = AsynchronousCalls(self.runner, self._targets, self._run_later)
        self.schedules = Schedules(deployment, self._targets, cloud, now())
        self._sources: list[Source] = [
            *mappings.declared(deployment, self.functions, self.runner, self._targets, cloud),
            *rules.declared(deployment, self._targets, cloud),
            *lake.declared(deployment, cloud),
        ]
        self._busy: set[int] = set()
        self._calling: set[int] = set()
        self._resting: dict[int, float] = {}
        self._stopping = threading.Event()
        self._threads = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="delivery")
        self._thread = threading.Thread(target=self._look, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Answer calls of functions, and look at sources from here on."""
        self._cloud.run_functions(self.answer, self._run_now)
        self._thread.start()

    def stop(self) -> None:
        """Stop looking; let what is under way end, or be ended."""
        self._stopping.set()
        self._cloud.run_functions(None)
        if self._thread.is_alive():
            self._thread.join()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.runner.stop()

    def answer(self, invocation: Invocation) -> Answer:
        """Answer one call of a function, as the API of Lambda does."""
        name = function_name(invocation.function)
        function = self.functions.get((invocation.region, name))
        if function is None:
            message = f"Function not found: arn:aws:lambda:{invocation.region}:{self._cloud.account}:function:{name}"
            return Answer.error(404, "ResourceNotFoundException", message)
        if len(invocation.payload) > PAYLOAD_BYTES_MAX:
            return Answer.error(413, "RequestTooLargeException", f"at most {PAYLOAD_BYTES_MAX} bytes")
        try:
            event = json.loads(invocation.payload or b"{}")
        except ValueError:
            return Answer.error(400, "InvalidRequestContentException", "Could not parse request body into json")
        request_id = ("x-amzn-RequestId", str(uuid.uuid4()))
        if invocation.kind == "DryRun":
            return Answer("204 No Content", [request_id], b"")
        if invocation.kind == "Event":
            self._calls.accept(function, event)
            return Answer("202 Accepted", [request_id], b"")
        try:
            outcome = self.runner.invoke(function, event)
        except ThrottledError as error:
            return Answer.error(429, "TooManyRequestsException", str(error))
        headers = [request_id, ("Content-Type", "application/json"), ("X-Amz-Executed-Version", "$LATEST")]
        if not outcome.is_success:
            headers.append(("X-Amz-Function-Error", "Unhandled"))
        return Answer("200 OK", headers, outcome.payload.encode())

    @property
    def summary(self) -> str:
        """How much there is to deliver."""
        return f"{len(self.functions)} functions, {len(self._sources)} sources, {len(self.schedules.all)} schedules"

    def statuses(self) -> list[FunctionStatus]:
        """Return how each function is."""
        counts = self.runner.counts
        labels = sorted(function.label for function in self.functions.values())
        return [FunctionStatus(name=label, **asdict(counts.get(label) or Count())) for label in labels]

    def call(self, function: Function, event: Any) -> None:  # noqa: ANN401 - any JSON
        """Call a function without waiting for it."""
        self._calls.accept(function, event)

    def run_schedule(self, name: str) -> str:
        """Run the schedule of that name now, whatever its clock says; return its label. Raises UnknownScheduleError."""
        schedule = self.schedules.named(name)
        schedule.run(self._now())
        return schedule.label

    def _run_now(self, name: str) -> Answer:
        try:
            return Answer("200 OK", [("Content-Type", "text/plain")], self.run_schedule(name).encode())
        except UnknownScheduleError as error:
            return Answer("404 Not Found", [("Content-Type", "text/plain")], str(error).encode())

    def settle(self, timeout_s: float) -> bool:
        """Wait until nothing is under way and nothing waits; return whether that came in time. For tests."""
        deadline = time.monotonic() + timeout_s
        quiet = 0
        while time.monotonic() < deadline:
            with self._later_lock:
                is_quiet = not (self._later or self._busy or self._calling)
            quiet = quiet + 1 if is_quiet and not any(source.has_work() for source in self._sources) else 0
            if quiet > 2:  # noqa: PLR2004 - seen thrice, so nothing was between two places
                return True
            time.sleep(LOOK_EVERY_S)
        return False

    def _run_later(self, pause_s: float, work: Callable[[], None]) -> None:
        with self._later_lock:
            heapq.heappush(self._later, (time.monotonic() + pause_s, next(self._order), work))

    def _look(self) -> None:
        tended = time.monotonic()
        while not self._stopping.wait(LOOK_EVERY_S):
            now = time.monotonic()
            for place, source in enumerate(self._sources):
                if place not in self._busy and self._resting.get(place, 0.0) <= now and self._has_work(place, source):
                    self._busy.add(place)
                    self._threads.submit(self._step, place, source)
            for work in self._due(now):
                self._calling.add(id(work))
                self._threads.submit(self._work, work)
            for schedule in self.schedules.due(self._now()):
                self._threads.submit(schedule.run, self._now())
            if now - tended > TEND_EVERY_S:
                self.runner.tend()
                tended = now

    def _has_work(self, place: int, source: Source) -> bool:
        try:
            return source.has_work()
        except LookupError:
            logger.exception("%s is gone", source.label)
            self._resting[place] = float("inf")
            return False

    def _due(self, now: float) -> list[Callable[[], None]]:
        due = []
        with self._later_lock:
            while self._later and self._later[0][0] <= now:
                due.append(heapq.heappop(self._later)[2])
        return due

    def _work(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            logger.exception("an asynchronous call failed")
        finally:
            self._calling.discard(id(work))

    def _step(self, place: int, source: Source) -> None:
        try:
            source.step()
        except (ClientError, BotoCoreError) as error:
            if not self._stopping.is_set():
                logger.warning("%s: %s", source.label, error)
            self._resting[place] = time.monotonic() + ERROR_PAUSE_S
        except Exception:
            logger.exception("%s failed", source.label)
            self._resting[place] = time.monotonic() + ERROR_PAUSE_S
        finally:
            self._busy.discard(place)

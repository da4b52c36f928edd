"""What a process measures, and how long requests took, for a collector that speaks OTLP over HTTP, as JSON.

Without an address nothing is kept and nothing is sent. Nothing waits for a collector: what does not fit into a bounded
buffer, or cannot be sent, is lost and counted. Names and codes go out, never accounts, keys or amounts.
"""

import asyncio
import http.client
import json
import logging
import os
import secrets
import socket
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from runtime.shared.settings import split_address

logger = logging.getLogger(__name__)

SPANS_MAX: Final = 2_000
"""Kept until the next pulse, which sends them."""
TIMEOUT_S: Final = 3.0
TRACES: Final = "/v1/traces"
METRICS: Final = "/v1/metrics"
_SERVER: Final = 2
"""A span that answers somebody else's request."""
_OK: Final = 1
_ERROR: Final = 2
_SCOPE: Final = {"name": "bursa"}


class Span(NamedTuple):
    """One request that was answered. Times are nanoseconds since 1970; a code is that of our errors, 0 for none."""

    name: str
    start_ns: int
    end_ns: int
    code: int = 0
    is_fault: bool = False
    """Whether it went wrong on our side."""


class Telemetry:
    """Gathers and sends. Used from one event loop, and waited for by the pulse alone."""

    def __init__(self, service: str, address: str = "", *, trace_one_in: int = 1) -> None:
        """Send to the collector at `address` (host:port; empty is off) one request in `trace_one_in`."""
        self._address = split_address(address) if address else None
        self._resource = _attributes(
            {"service.name": service, "service.instance.id": f"{socket.gethostname()}-{os.getpid()}"}
        )
        self._one_in = trace_one_in
        self._requests = 0
        self._spans: deque[Span] = deque()
        self._numbers: dict[str, tuple[int, int]] = {}
        self.lost = 0
        """Spans that were not sent, since the start."""

    def wants(self) -> bool:
        """Count a request, and tell whether it is one of those that are traced."""
        if self._address is None:
            return False
        self._requests += 1
        return self._requests % self._one_in == 0

    def answered(self, span: Span) -> None:
        """Keep a span until the next pulse, or lose it."""
        if len(self._spans) < SPANS_MAX:
            self._spans.append(span)
        else:
            self.lost += 1

    def measured(self, numbers: Mapping[str, int]) -> None:
        """Keep the newest value of each number until the next pulse."""
        if self._address is not None:
            now_ns = time.time_ns()
            self._numbers |= {name: (value, now_ns) for name, value in numbers.items()}

    async def flush(self) -> None:
        """Send what was gathered since the last time. A collector that does not take it is a line in the log."""
        spans, self._spans = list(self._spans), deque()
        numbers, self._numbers = self._numbers, {}
        try:
            if spans:
                await asyncio.to_thread(self._post, TRACES, traces(self._resource, spans))
            if numbers:
                await asyncio.to_thread(self._post, METRICS, gauges(self._resource, numbers))
        except (OSError, http.client.HTTPException) as error:
            self.lost += len(spans)
            logger.warning("telemetry was not taken: %s", error)

    def _post(self, path: str, document: Mapping[str, Any]) -> None:
        assert self._address
        connection = http.client.HTTPConnection(*self._address, timeout=TIMEOUT_S)
        try:
            connection.request("POST", path, json.dumps(document).encode(), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:  # noqa: PLR2004 - what OTLP answers
                raise http.client.HTTPException(f"{path} was answered with {answer.status} {answer.reason}")
        finally:
            connection.close()


def traces(resource: list[Any], spans: Iterable[Span]) -> dict[str, Any]:
    """Return the request of OTLP that tells of `spans`, each a trace of its own."""
    told = [_span(span) for span in spans]
    return {
        "resourceSpans": [
            {"resource": {"attributes": resource}, "scopeSpans": [{"scope": _SCOPE, "spans": told}]},
        ]
    }


def gauges(resource: list[Any], numbers: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """Return the request of OTLP that tells of `numbers`: by name, the value and when it was so."""
    told = [
        {"name": f"bursa_{name}", "gauge": {"dataPoints": [{"timeUnixNano": str(at_ns), "asInt": str(value)}]}}
        for name, (value, at_ns) in sorted(numbers.items())
    ]
    return {
        "resourceMetrics": [
            {"resource": {"attributes": resource}, "scopeMetrics": [{"scope": _SCOPE, "metrics": told}]},
        ]
    }


def _span(span: Span) -> dict[str, Any]:
    # X-Ray wants the seconds since 1970 in front of a trace's id; everybody else takes any.
    trace_id = f"{span.start_ns // 1_000_000_000:08x}{secrets.token_hex(12)}"
    return {
        "traceId": trace_id,
        "spanId": secrets.token_hex(8),
        "name": span.name,
        "kind": _SERVER,
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _attributes({"bursa.code": str(span.code)} if span.code else {}),
        "status": {"code": _ERROR if span.is_fault else _OK},
    }


def _attributes(named: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"key": name, "value": {"stringValue": value}} for name, value in named.items()]

"""What goes to a collector, and that nobody waits for one."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from runtime.shared import pulse, telemetry
from runtime.shared.telemetry import Span, Telemetry


class Collector:
    """A collector that keeps what it is sent; `status` is what it answers."""

    def __init__(self) -> None:
        self.status = 200
        self.taken: list[tuple[str, Any]] = []
        self.came = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.headers["Content-Type"] == "application/json"
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                collector.taken.append((self.path, body))
                collector.came.set()
                self.send_response(collector.status)
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_said: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"127.0.0.1:{self.server.server_port}"


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_span_is_told_as_otlp_has_it_and_xray_can_read_its_id(collector: Collector) -> None:
    told = Telemetry("rest", collector.address)
    start_ns = time.time_ns()
    told.answered(Span("GET /api/v3/time", start_ns, start_ns + 5))
    told.answered(Span("POST /api/v3/order", start_ns, start_ns + 7, -2010))
    told.answered(Span("GET /api/v3/depth", start_ns, start_ns + 9, -1001, is_fault=True))
    asyncio.run(told.flush())
    ((path, body),) = collector.taken
    assert path == "/v1/traces"
    (of_resource,) = body["resourceSpans"]
    named = {each["key"]: each["value"]["stringValue"] for each in of_resource["resource"]["attributes"]}
    assert named["service.name"] == "rest"
    assert named["service.instance.id"]
    first, refused, failed = of_resource["scopeSpans"][0]["spans"]
    assert (first["name"], first["kind"]) == ("GET /api/v3/time", 2)
    assert (int(first["startTimeUnixNano"]), int(first["endTimeUnixNano"])) == (start_ns, start_ns + 5)
    assert (len(first["traceId"]), len(first["spanId"])) == (32, 16)
    assert int(first["traceId"][:8], 16) == start_ns // 10**9
    assert len({each["traceId"] for each in (first, refused, failed)}) == 3
    assert [each["status"]["code"] for each in (first, refused, failed)] == [1, 1, 2], "a refusal is no fault of ours"
    assert refused["attributes"] == [{"key": "bursa.code", "value": {"stringValue": "-2010"}}]


def test_numbers_are_told_once_with_their_newest_value(collector: Collector) -> None:
    told = Telemetry("ledger", collector.address)
    told.measured({"stopped_s": 1, "behind": 2**60})
    told.measured({"stopped_s": 3})
    asyncio.run(told.flush())
    asyncio.run(told.flush())
    ((path, body),) = collector.taken
    assert path == "/v1/metrics"
    metrics = body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    values = {each["name"]: each["gauge"]["dataPoints"][0]["asInt"] for each in metrics}
    assert values == {"bursa_behind": str(2**60), "bursa_stopped_s": "3"}, "as text: JSON's readers round large numbers"


def test_without_an_address_nothing_is_kept() -> None:
    told = Telemetry("rest")
    assert [told.wants() for _ in range(5)] == [False] * 5
    told.measured({"x": 1})
    asyncio.run(told.flush())
    assert told.lost == 0


def test_one_request_in_so_many_is_traced(collector: Collector) -> None:
    told = Telemetry("rest", collector.address, trace_one_in=3)
    assert [told.wants() for _ in range(6)] == [False, False, True] * 2


@pytest.mark.parametrize("trouble", ["gone", "refuses"])
def test_a_collector_in_trouble_loses_spans_and_harms_nobody(collector: Collector, trouble: str) -> None:
    told = Telemetry("rest", collector.address if trouble == "refuses" else "127.0.0.1:1")
    collector.status = 503
    told.answered(Span("GET /", 1, 2))
    asyncio.run(told.flush())
    assert told.lost == 1


def test_a_buffer_that_is_full_loses_what_comes(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "SPANS_MAX", 2)
    told = Telemetry("rest", collector.address)
    for _ in range(5):
        told.answered(Span("GET /", 1, 2))
    assert told.lost == 3
    asyncio.run(told.flush())
    told.answered(Span("GET /", 1, 2))
    assert told.lost == 3, "there is room again"


def test_the_pulse_sends_what_it_tells(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "PULSE_S", 0.01)

    async def scenario() -> None:
        beating = asyncio.create_task(pulse.beat(lambda: {"waiting": 4}, Telemetry("x", collector.address)))
        await asyncio.to_thread(collector.came.wait, 5)
        beating.cancel()

    asyncio.run(asyncio.wait_for(scenario(), 5))
    assert collector.taken[0][0] == "/v1/metrics"

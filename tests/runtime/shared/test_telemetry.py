"""What goes to a collector, and that nobody waits for one."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from runtime.shared import pulse, telemetry
from runtime.shared.telemetry import Span, Telemetry


class Collector:
    """A collector that keeps what it is sent; `status` is what it answers."""

    def __init__(self) -> None:
        self.status = 200
        self.delay_s = 0.0
        self.taken: list[tuple[str, bytes]] = []
        self.came = threading.Event()
        self.ended = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.headers["Content-Type"] == "application/x-protobuf"
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.taken.append((self.path, body))
                collector.came.set()
                collector.ended.wait(collector.delay_s)
                self.send_response(collector.status)
                self.end_headers()

            def log_message(self, *_said: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"127.0.0.1:{self.server.server_port}"

    def of(self, path: str) -> list[bytes]:
        """Return the bodies that came to `path`."""
        return [body for where, body in self.taken if where == path]


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.ended.set()
    made.server.shutdown()
    made.server.server_close()


def named(resource: Any) -> dict[str, str]:
    return {each.key: each.value.string_value for each in resource.attributes}


def test_a_span_says_how_a_request_went(collector: Collector) -> None:
    told = Telemetry("rest", collector.address)
    start_ns = time.time_ns()
    told.answered(Span("GET /api/v3/time", start_ns, start_ns + 5))
    told.answered(Span("POST /api/v3/order", start_ns, start_ns + 7, -2010))
    told.answered(Span("GET /api/v3/depth", start_ns, start_ns + 9, -1001, is_fault=True))
    told.close()
    (body,) = collector.of("/v1/traces")
    (of_resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    assert named(of_resource.resource)["service.name"] == "rest"
    assert named(of_resource.resource)["service.instance.id"]
    first, refused, failed = of_resource.scope_spans[0].spans
    assert (first.name, first.kind) == ("GET /api/v3/time", first.SPAN_KIND_SERVER)
    assert (first.start_time_unix_nano, first.end_time_unix_nano) == (start_ns, start_ns + 5)
    assert len({each.trace_id for each in (first, refused, failed)}) == 3
    codes = [each.status.code for each in (first, refused, failed)]
    assert codes == [1, 1, 2], "a refusal is no fault of ours"
    assert [(each.key, each.value.int_value) for each in refused.attributes] == [("bursa.code", -2010)]
    assert not first.attributes


def test_numbers_are_told_with_their_newest_value(collector: Collector) -> None:
    told = Telemetry("ledger", collector.address)
    told.measured({"stopped_s": 1, "behind": 2**60})
    told.measured({"stopped_s": 3})
    told.close()
    (body,) = collector.of("/v1/metrics")
    metrics = ExportMetricsServiceRequest.FromString(body).resource_metrics[0].scope_metrics[0].metrics
    values = {each.name: each.gauge.data_points[0].as_int for each in metrics}
    assert values == {"bursa_behind": 2**60, "bursa_stopped_s": 3}


def test_without_an_address_nothing_is_kept_nor_loaded() -> None:
    told = Telemetry("rest")
    assert [told.wants() for _ in range(5)] == [False] * 5
    told.answered(Span("GET /", 1, 2))
    told.measured({"x": 1})
    told.close()
    code = (
        "import sys; from runtime.shared.telemetry import Telemetry; Telemetry('x').measured({'x': 1}); "
        "sys.exit('opentelemetry.sdk' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_one_request_in_so_many_is_traced(collector: Collector) -> None:
    told = Telemetry("rest", collector.address, trace_one_in=3)
    assert [told.wants() for _ in range(6)] == [False, False, True] * 2
    told.close()


@pytest.mark.parametrize("trouble", ["gone", "refuses", "hangs"])
def test_a_collector_in_trouble_holds_nobody_up(
    collector: Collector, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry, "TIMEOUT_S", 0.2)
    collector.status, collector.delay_s = 503, 30.0 * (trouble == "hangs")
    told = Telemetry("rest", "127.0.0.1:1" if trouble == "gone" else collector.address)
    began = time.monotonic()
    for number in range(5_000):
        told.answered(Span("GET /", number, number + 1))
        told.measured({"x": number})
    assert time.monotonic() - began < 5
    told.close()
    assert time.monotonic() - began < 10, "a process that ends is not held up for long"


def test_the_pulse_tells_its_numbers(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "PULSE_S", 0.01)
    monkeypatch.setattr(telemetry, "INTERVAL_MS", 20)

    async def scenario() -> None:
        told = Telemetry("x", collector.address)
        beating = asyncio.create_task(pulse.beat(lambda: {"waiting": 4}, told))
        await asyncio.to_thread(collector.came.wait, 5)
        beating.cancel()
        await asyncio.to_thread(told.close)

    asyncio.run(asyncio.wait_for(scenario(), 10))
    assert collector.of("/v1/metrics")

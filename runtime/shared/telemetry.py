"""What a process measures, and how long requests took, told to a collector by OpenTelemetry's own library.

Without an address nothing is kept, sent or loaded. Nothing waits for a collector: the library sends from threads of its
own, and loses, with a line in the log, what a bounded buffer does not hold or a collector does not take. Names and
codes go out, never accounts, keys or amounts.
"""

import os
import socket
from collections.abc import Callable, Mapping
from typing import NamedTuple

INTERVAL_MS: float = 10_000
"""Between two times that numbers are sent; a pulse measures them as often."""
TIMEOUT_S: float = 1.0
"""Longest time in which a batch is sent, tries again included. A process that ends sends at most five more."""


class Span(NamedTuple):
    """One request that was answered. Times are nanoseconds since 1970; a code is that of our errors, 0 for none."""

    name: str
    start_ns: int
    end_ns: int
    code: int = 0
    is_fault: bool = False
    """Whether it went wrong on our side."""


class Telemetry:
    """Tells a collector. Used from one thread."""

    def __init__(self, service: str, address: str = "", *, trace_one_in: int = 1) -> None:
        """Send to the collector at `address` (host:port; empty is off) one request in `trace_one_in`."""
        self._one_in = trace_one_in
        self._requests = 0
        self._tell: Callable[[Span], None] | None = None
        self._set: Callable[[str, int], None] | None = None
        self._closers: list[Callable[[], None]] = []
        if address:
            self._connect(service, address)

    def _connect(self, service: str, address: str) -> None:
        # Loaded where something is told: it takes a tenth of a second and some MiB.
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.trace import SpanKind, StatusCode  # noqa: PLC0415

        resource = Resource({"service.name": service, "service.instance.id": f"{socket.gethostname()}-{os.getpid()}"})
        traces = TracerProvider(resource=resource)
        traces.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(f"http://{address}/v1/traces", timeout=TIMEOUT_S))
        )
        sender = OTLPMetricExporter(f"http://{address}/v1/metrics", timeout=TIMEOUT_S)
        reader = PeriodicExportingMetricReader(sender, INTERVAL_MS, TIMEOUT_S * 1_000)
        metrics = MeterProvider([reader], resource)
        tracer, meter = traces.get_tracer("bursa"), metrics.get_meter("bursa")

        def tell(span: Span) -> None:
            codes = {"bursa.code": span.code} if span.code else None
            told = tracer.start_span(span.name, kind=SpanKind.SERVER, attributes=codes, start_time=span.start_ns)
            told.set_status(StatusCode.ERROR if span.is_fault else StatusCode.OK)
            told.end(span.end_ns)

        self._tell = tell
        self._set = lambda name, value: meter.create_gauge(f"bursa_{name}").set(value)
        self._closers = [traces.shutdown, metrics.shutdown]

    def wants(self) -> bool:
        """Count a request, and tell whether it is one of those that are traced."""
        if self._tell is None:
            return False
        self._requests += 1
        return self._requests % self._one_in == 0

    def answered(self, span: Span) -> None:
        """Tell of a request, soon."""
        if self._tell is not None:
            self._tell(span)

    def measured(self, numbers: Mapping[str, int]) -> None:
        """Tell the newest value of each number, soon."""
        if self._set is not None:
            for name, value in numbers.items():
                self._set(name, value)

    def close(self) -> None:
        """Tell what is left. A process that ends does that by itself."""
        for close in self._closers:
            close()

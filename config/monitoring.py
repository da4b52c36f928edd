"""Where traces and numbers of processes go, beside the logs: off until it is turned on here."""

from dataclasses import dataclass
from typing import Annotated

from config.checks import Checked, between


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringConfig(Checked):
    """A collector that takes OTLP from services: traces go to X-Ray, numbers to a workspace of Managed Prometheus.

    Functions and state machines send their traces to X-Ray by themselves, whether it is on or not.
    """

    collects: bool = False
    trace_one_in: Annotated[int, between(1, 100_000)] = 100
    """Of so many requests to the REST gateway, one is traced."""

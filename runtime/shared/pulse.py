"""A service tells how it is, in one log line every few seconds: what degrades without failing is a number there.

Metric filters read these lines (`exchange_constructs.log_metric`), so a field that is renamed is renamed there, too.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from runtime.shared.telemetry import Telemetry

logger = logging.getLogger(__name__)

PULSE_S: Final = 10.0


async def beat(tell: Callable[[], Mapping[str, int]], telemetry: Telemetry | None = None) -> None:
    """Log what `tell` returns as the fields of a line `pulse`, every PULSE_S, for ever; tell `telemetry` as well."""
    while True:
        await asyncio.sleep(PULSE_S)
        numbers = dict(tell())
        logger.info("pulse", extra=numbers)
        if telemetry is not None:
            telemetry.measured(numbers)

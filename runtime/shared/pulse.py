"""A service tells how it is, in one log line every few seconds: what degrades without failing is a number there.

Metric filters read these lines (`exchange_constructs.log_metric`), so a field that is renamed is renamed there, too.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

logger = logging.getLogger(__name__)

PULSE_S: Final = 10.0


async def beat(tell: Callable[[], Mapping[str, int]]) -> None:
    """Log what `tell` returns as the fields of a line `pulse`, every PULSE_S, for ever."""
    while True:
        await asyncio.sleep(PULSE_S)
        logger.info("pulse", extra=dict(tell()))

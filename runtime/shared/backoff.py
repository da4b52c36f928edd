"""How long to wait before the next attempt to connect."""

import asyncio
import math
import random
import time
from typing import Final

LASTING_S: Final = 1.0
"""A connection that lasted this long was a good one: after it the pauses are short again."""


class Backoff:
    """Pauses that double from `least_s` to `most_s`, spread so that many clients do not return at one instant."""

    def __init__(self, least_s: float, most_s: float) -> None:
        """Begin with the shortest pause."""
        self._least_s = least_s
        self._most_s = most_s
        self._pause_s = least_s
        self._connected_s = math.inf

    def connected(self) -> None:
        """Note that an attempt succeeded just now."""
        self._connected_s = time.monotonic()

    async def pause(self) -> None:
        """Wait before the next attempt; call it after every end, whether an attempt failed or a connection broke."""
        if time.monotonic() - self._connected_s > LASTING_S:
            self._pause_s = self._least_s
        self._connected_s = math.inf
        await asyncio.sleep(self._pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads, keeps no secret
        self._pause_s = min(self._pause_s * 2, self._most_s)

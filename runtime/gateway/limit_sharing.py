"""Shares what gateways count through Valkey a few times a second, so that every one sees what the others counted.

Without Valkey each gateway enforces the limits on what it sees itself.
"""

import asyncio
import logging
from typing import Final, Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from runtime.gateway.cache_login import cache_login
from runtime.gateway.limits import Counter, Limiter

logger = logging.getLogger(__name__)

SHARE_INTERVAL_S: Final = 0.25
SHARE_RETRY_S: Final = 5.0
SHARE_BATCH_MAX: Final = 2_000
TROUBLE: Final = (RedisError, OSError, TimeoutError)
"""What sharing counts may run into; none of it stops a gateway."""


class CountStore(Protocol):
    """Where gateways add up their counts."""

    async def add(self, counts: list[tuple[str, int, int]]) -> list[int]:
        """Add each (key, count, seconds to live); return the totals."""

    async def close(self) -> None:
        """Let go of connections."""


class ValkeyCounts:
    """The counts in Valkey."""

    def __init__(self, url: str, cache: str) -> None:
        """Connect to `url` when first needed, which is bounded in time as every call is.

        The user of `url` (rediss://user@host:port), if it has one, signs in with a token for the cache called `cache`.
        """
        address, login = cache_login(url, cache)
        self._redis: Redis = Redis.from_url(
            address,
            credential_provider=login,
            socket_timeout=1.0,
            socket_connect_timeout=1.0,
            max_connections=2,
            # Neither tell the name of the library nor ask for news of maintenance: our user may send counts only.
            driver_info=None,
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )

    async def add(self, counts: list[tuple[str, int, int]]) -> list[int]:
        """Add each (key, count, seconds to live) in one round trip; return the totals. Raises RedisError, OSError."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for key, count, live_s in counts:
                pipeline.incrby(key, count)
                pipeline.expire(key, live_s)
            results: list[int] = await pipeline.execute()
        return results[::2]

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


async def share_counts(limiter: Limiter, store: CountStore) -> None:
    """Exchange counts with the other gateways, for ever; on trouble go on alone and try again later."""
    while True:
        await asyncio.sleep(SHARE_RETRY_S if limiter.is_alone else SHARE_INTERVAL_S)
        try:
            for counter in limiter.counters:
                await _share(counter, store)
        except TROUBLE as error:
            if not limiter.is_alone:
                logger.warning("limits are enforced by each gateway alone: %s", type(error).__name__)
            limiter.is_alone = True
        else:
            if limiter.is_alone:
                logger.info("limits are shared between gateways again")
            limiter.is_alone = False


async def _share(counter: Counter, store: CountStore) -> None:
    number = counter.number
    changes = counter.take_unshared(SHARE_BATCH_MAX)
    if not changes:
        return
    prefix = f"limits:{counter.name}:{counter.period_s}:{number}:"
    try:
        totals = await store.add([(f"{prefix}{key}", count, 2 * counter.period_s) for key, count in changes.items()])
    except TROUBLE:
        counter.put_back(changes, number)
        raise
    for key, total in zip(changes, totals, strict=True):
        counter.note_total(key, total, number)

"""Trades into the Kinesis stream, in order, in the background: never in the way of market data."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from runtime.shared.trade_records import TradeRecord, encode_batch

logger = logging.getLogger(__name__)

TRADES_PER_RECORD_MAX: Final = 2_000
"""About half a megabyte of JSON, below what one record may have."""
TRADES_WAITING_MAX: Final = 100_000
"""Trades kept while the stream does not take them; past it the oldest are given up."""
BACKOFF_MIN_S: Final = 0.1
BACKOFF_MAX_S: Final = 10.0
STOP_TIMEOUT_S: Final = 2.0
_TIMEOUT_S: Final = 5

Put = Callable[[bytes, str | None], str]
"""Puts one record after the one of the given number, and returns its number. Blocks; raises botocore's errors."""


def kinesis_put(stream: str, group: str) -> Put:
    """Return what puts records into `stream`, all of `group` in one shard, so that their order holds."""
    client = boto3.client(
        "kinesis", config=Config(connect_timeout=_TIMEOUT_S, read_timeout=_TIMEOUT_S, retries={"total_max_attempts": 1})
    )

    def put(data: bytes, after: str | None) -> str:
        ordering = {} if after is None else {"SequenceNumberForOrdering": after}
        reply = client.put_record(StreamName=stream, Data=data, PartitionKey=group, **ordering)
        return str(reply["SequenceNumber"])

    return put


class TradePublisher:
    """A bounded queue and the task that empties it: while one record is on its way, the next one gathers."""

    def __init__(self, put: Put, group: str) -> None:
        """Publish through `put`."""
        self.given_up = 0
        """Trades that were dropped because the stream did not take them."""
        self._put = put
        self._group = group
        self._waiting: deque[TradeRecord] = deque()
        self._gone = 0
        """Trades that have left the front of the queue, ever."""
        self._stuck_since_s = 0.0
        """When the stream first refused what is on its way, on the monotonic clock; 0 while it takes everything."""
        self._wake = asyncio.Event()
        self._is_stopping = False

    def pulse(self) -> dict[str, int]:
        """Return how long trades have waited for the stream, in whole seconds, how many wait, and were given up."""
        stuck_s = int(time.monotonic() - self._stuck_since_s) if self._stuck_since_s else 0
        return {"trades_stuck_s": stuck_s, "trades_waiting": len(self._waiting), "trades_given_up": self.given_up}

    def offer(self, trades: list[TradeRecord]) -> None:
        """Queue trades."""
        if not trades:
            return
        self._waiting.extend(trades)
        excess = len(self._waiting) - TRADES_WAITING_MAX
        if excess > 0:
            self._drop(excess)
            self.given_up += excess
        self._wake.set()

    def _drop(self, count: int) -> None:
        for _ in range(count):
            self._waiting.popleft()
        self._gone += count

    async def run(self) -> None:
        """Publish until `stop` was called and all is out."""
        number: str | None = None
        while True:
            while not self._waiting:
                if self._is_stopping:
                    return
                self._wake.clear()
                await self._wake.wait()
            end = self._gone + min(len(self._waiting), TRADES_PER_RECORD_MAX)
            number = await self._put_in_the_end(list(islice(self._waiting, TRADES_PER_RECORD_MAX)), number)
            self._drop(max(0, end - self._gone))  # some may have been given up meanwhile

    async def stop(self, running: asyncio.Task[None]) -> None:
        """Give the stream a last chance to take what waits, then end `running`, the task of `run`."""
        self._is_stopping = True
        self._wake.set()
        _, late = await asyncio.wait((running,), timeout=STOP_TIMEOUT_S)
        if late:
            logger.error("%d trades were not published", len(self._waiting))
            running.cancel()

    async def _put_in_the_end(self, batch: list[TradeRecord], after: str | None) -> str:
        data = encode_batch(self._group, batch)
        backoff_s = BACKOFF_MIN_S
        while True:
            try:
                number = await asyncio.to_thread(self._put, data, after)
            except (BotoCoreError, ClientError) as error:
                self._stuck_since_s = self._stuck_since_s or time.monotonic()
                logger.warning(
                    "the trade stream takes nothing: %s; %d trades wait, %d were given up, next try in %.1f s",
                    error,
                    len(self._waiting),
                    self.given_up,
                    backoff_s,
                )
            else:
                self._stuck_since_s = 0.0
                return number
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)

"""Ends of links for tests, and clients that keep books by the documented rules."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from runtime.shared.frames import FrameSplitter
from runtime.shared.market_messages import FromMarketData, Published, decode_from_market_data


async def until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    """Return once `condition` holds; fail if it does not in time."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for knows nothing of the test
            await asyncio.sleep(0.002)


class FakeTransport:
    """A gateway's socket: everything written is read, until `is_stuck`."""

    def __init__(self) -> None:
        self.messages: list[FromMarketData] = []
        self.frames = 0
        self.unread = 0
        self.is_stuck = False
        self._splitter = FrameSplitter()

    def write(self, data: bytes) -> None:
        if self.is_stuck:
            self.unread += len(data)
        for payload in self._splitter.feed(data):
            self.frames += 1
            self.messages += decode_from_market_data(payload)

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return False

    def take(self) -> list[FromMarketData]:
        taken, self.messages = self.messages, []
        return taken

    def events(self, stream: str) -> list[Any]:
        """What was published of one stream, as JSON."""
        return [json.loads(m.payload) for m in self.messages if isinstance(m, Published) and m.stream == stream]


class DepthClient:
    """Keeps a book from REST depth and `@depth` events, as JSON; any gap is an AssertionError."""

    def __init__(self) -> None:
        self.buffered: list[Any] = []
        self.last_id = -1
        self.applied = 0
        self.bids: dict[str, str] = {}
        self.asks: dict[str, str] = {}

    def snapshot(self, body: Any) -> None:
        self.last_id = body["lastUpdateId"]
        self.bids, self.asks = dict(body["bids"]), dict(body["asks"])
        self.applied = 0
        buffered, self.buffered = self.buffered, []
        for event in buffered:
            self.take(event)

    def take(self, event: Any) -> None:
        if self.last_id < 0:
            self.buffered.append(event)
            return
        if event["u"] <= self.last_id:
            assert not self.applied
            return
        if self.applied:
            assert event["U"] == self.last_id + 1
        else:
            assert event["U"] <= self.last_id + 1 <= event["u"]
        for side, changes in ((self.bids, event["b"]), (self.asks, event["a"])):
            for price, quantity in changes:
                if float(quantity):
                    side[price] = quantity
                else:
                    side.pop(price, None)
        self.last_id = event["u"]
        self.applied += 1

    def book(self) -> tuple[list[list[str]], list[list[str]]]:
        return (
            [[price, self.bids[price]] for price in sorted(self.bids, key=float, reverse=True)],
            [[price, self.asks[price]] for price in sorted(self.asks, key=float)],
        )

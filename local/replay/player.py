"""Sends the synthesized orders over the public WebSocket API and compares our book with the recorded one."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from local.replay.feed import DepthDiff, Record, Top, Trade
from local.replay.synthesis import OwnOrder, Synthesis
from runtime.market_maker.client import RefusedError, Session
from runtime.shared.catalogue import Asset, Market
from runtime.shared.messages import BUY, SELL
from runtime.shared.money import format_decimal, parse_decimal

INTERNAL_CODES: Final = frozenset({-1000, -1001, -1006, -1007, -1008})
"""Answers that say the exchange, not the order, was at fault."""
UNKNOWN_ORDER: Final = -2011
IN_FLIGHT_MAX: Final = 256
"""Requests sent and not yet answered; a connection takes more."""
READINGS_PER_MINUTE: Final = 2_000
"""Readings of our best prices, each of weight 2: well below the 6,000 of an address, which orders in flight share."""
SETTLE_TRIES: Final = 40
SETTLE_PAUSE_S: Final = 0.025
"""Market data follows the engine by some milliseconds: the top is read again for up to a second before it counts."""
MISSES_SHOWN: Final = 10
_SIDE_NAMES: Final = {BUY: "BUY", SELL: "SELL"}


@dataclass(slots=True)
class Report:
    """What a replay did and saw."""

    records: int = 0
    diffs: int = 0
    placed: int = 0
    canceled: int = 0
    immediate: int = 0
    fills: int = 0
    already_gone: int = 0
    internal_errors: int = 0
    rejects: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    compared: int = 0
    tracked: int = 0
    misses: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def requests(self) -> int:
        """Orders and cancels that the exchange answered."""
        return self.placed + self.canceled + self.immediate + self.already_gone + sum(self.rejects.values())

    @property
    def tracking(self) -> float:
        """Share of depth updates after which our best prices equalled the recorded ones."""
        return self.tracked / self.compared if self.compared else 0.0


class Player:
    """Plays one feed in one market: `maker` rests the book, `taker` makes the trades happen."""

    def __init__(self, maker: Session, taker: Session, market: Market, base: Asset, run: str) -> None:
        """Use two logged-on connections of two accounts. `run` keeps client order ids apart between runs."""
        self.report = Report()
        self._maker = maker
        self._taker = taker
        self._market = market
        self._base = base
        self._lot_units = parse_decimal(market.lot, base.decimals)
        self._synthesis = Synthesis(market, base, run)
        self._tops: deque[Top] = deque()
        self._trades: list[Trade] = []
        self._slots = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._minute = 0
        self._readings = 0

    async def play(self, records: Iterable[Record], progress: Callable[[Report], None]) -> Report:
        """Play all records as fast as the exchange answers. Raises UnavailableError when it is gone."""
        started = time.monotonic()
        for record in records:
            self.report.records += 1
            if isinstance(record, Top):
                self._tops.append(record)
            elif isinstance(record, Trade):
                self._trades.append(record)
            else:
                await self._take_trades()
                await self._follow(record)
                self.report.seconds = time.monotonic() - started
                progress(self.report)
        await self._take_trades()
        self.report.seconds = time.monotonic() - started
        return self.report

    async def _take_trades(self) -> None:
        trades, self._trades = self._trades, []
        await asyncio.gather(*(self._take(trade) for trade in trades))

    async def _take(self, trade: Trade) -> None:
        side, price, lots = self._synthesis.taker(trade)
        order = {
            "type": "LIMIT",
            "timeInForce": "IOC",
            "newOrderRespType": "FULL",
            **self._order_params(side, price, lots),
        }
        result = await self._place_order("trade", self._taker, order)
        if result is None:
            return
        self.report.immediate += 1
        for fill in result["fills"]:
            self.report.fills += 1
            self._synthesis.filled(1 - side, self._market.ticks(fill["price"]), self._synthesis.lots(fill["qty"]))

    async def _follow(self, diff: DepthDiff) -> None:
        self.report.diffs += 1
        actions = self._synthesis.follow(diff)
        await asyncio.gather(*(self._cancel(order) for order in actions.cancels))
        await asyncio.gather(*(self._place(order) for order in actions.places))
        await self._compare(diff)

    async def _cancel(self, order: OwnOrder) -> None:
        params = {"symbol": self._market.symbol, "origClientOrderId": order.client_order_id}
        try:
            async with self._slots:
                await self._maker.call("order.cancel", **params)
            self.report.canceled += 1
        except RefusedError as error:
            if error.code != UNKNOWN_ORDER:
                self._refused("cancel", error)
                return
            self.report.already_gone += 1
        self._synthesis.gone(order)

    async def _place(self, order: OwnOrder) -> None:
        params = {
            "type": "LIMIT_MAKER",
            "newOrderRespType": "ACK",
            "newClientOrderId": order.client_order_id,
            **self._order_params(order.side, order.price, order.lots),
        }
        if await self._place_order("depth", self._maker, params) is not None:
            self.report.placed += 1
            self._synthesis.placed(order)

    def _order_params(self, side: int, price: int, lots: int) -> dict[str, str]:
        return {
            "symbol": self._market.symbol,
            "side": _SIDE_NAMES[side],
            "price": self._market.price_text(price),
            "quantity": format_decimal(lots * self._lot_units, self._base.decimals),
        }

    async def _place_order(self, kind: str, session: Session, params: dict[str, str]) -> Any:  # noqa: ANN401 - JSON
        """Return the exchange's answer, or None for a refusal, which is counted."""
        try:
            async with self._slots:
                return await session.call("order.place", **params)
        except RefusedError as error:
            self._refused(kind, error)
            return None

    def _refused(self, kind: str, error: RefusedError) -> None:
        self.report.rejects[(kind, error.code, error.text)] += 1
        if error.code in INTERNAL_CODES:
            self.report.internal_errors += 1

    async def _compare(self, diff: DepthDiff) -> None:
        """Compare best prices with the last book ticker not newer than `diff`."""
        while len(self._tops) > 1 and self._tops[1].update_id <= diff.last:
            self._tops.popleft()
        if not self._tops or self._tops[0].update_id > diff.last:
            return
        top = self._tops[0]
        wanted = (self._market.ticks(top.bid), self._market.ticks(top.ask))
        self.report.compared += 1
        for _ in range(SETTLE_TRIES):
            ours = await self._top()
            if ours == wanted:
                self.report.tracked += 1
                return
            await asyncio.sleep(SETTLE_PAUSE_S)
        if len(self.report.misses) < MISSES_SHOWN:
            text = " / ".join(f"{self._market.price_text(price)}" for price in ours)
            self.report.misses.append(f"update {diff.last}: recorded {top.bid} / {top.ask}, ours {text}")

    async def _top(self) -> tuple[int, int]:
        """Return our best prices; wait for the next minute where more readings would use up the address's weight."""
        minute = int(time.time() // 60)
        if minute != self._minute:
            self._minute, self._readings = minute, 0
        elif self._readings >= READINGS_PER_MINUTE:
            await asyncio.sleep((minute + 1) * 60 - time.time() + 1.0)
        self._readings += 1
        ticker = await self._maker.request("ticker.book", {"symbol": self._market.symbol})
        return self._market.ticks(ticker["bidPrice"]), self._market.ticks(ticker["askPrice"])


async def cancel_all(client: Session, symbol: str) -> int:
    """Cancel every open order of the account in `symbol`; return how many there were."""
    try:
        return len(await client.call("openOrders.cancelAll", symbol=symbol))
    except RefusedError as error:
        if error.code == UNKNOWN_ORDER:
            return 0
        raise

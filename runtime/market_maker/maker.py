"""The market maker at work: sessions, turns, quotes, takes, and leaving nothing behind."""

import asyncio
import contextlib
import logging
import os
import secrets
from pathlib import Path
from random import Random
from typing import Any, Final

from runtime.market_maker.account import Account
from runtime.market_maker.client import Key, RefusedError, Stream, UnavailableError, get
from runtime.market_maker.quoting import (
    ASK,
    BID,
    PPM,
    SCALE,
    Instrument,
    NotQuotableError,
    Quote,
    Walk,
    changes,
    ladder,
    outside,
    quote_lots,
    take,
)
from runtime.market_maker.recording import Recording
from runtime.market_maker.settings import MakerSettings

logger = logging.getLogger(__name__)

STEP_PPM: Final = 50
"""Distance of neighbouring quotes, as a share of the price."""
VOLATILITY_PPM: Final = 60
"""Largest step of the wandering price, per refresh."""
CHANGES_MAX: Final = 8
"""Orders changed in one symbol at one refresh."""
SKEW_STEPS_MAX: Final = 2
BUDGET_SHARE: Final = 3
"""A third of what is held is quoted."""
TAKE_PPM: Final = 250_000
"""Chance of a taker's order in one symbol at one refresh."""
TAKE_LEAN_PPM: Final = 400_000
RENEW_PPM: Final = 500_000
"""Chance that one quote is placed anew, with another size, at one refresh."""
HOLD_S: Final = 10.0
"""Pause in a symbol after the exchange refused an order for a reason of its own."""
SETTLE_S: Final = 0.3
"""After cancelling, until the public book is free of the cancelled orders."""
STOP_TIMEOUT_S: Final = 5.0
REPORT_S: Final = 60.0
_BACKOFF_MIN_S: Final = 0.5
_BACKOFF_MAX_S: Final = 30.0
_STABLE_S: Final = 60.0
_UNKNOWN_ORDER: Final = -2011
_REJECTED: Final = -2010
_WOULD_MATCH: Final = "immediately match"


def is_paused(folder: Path | None, symbol: str) -> bool:
    """Tell whether a living process has asked to have `symbol` for itself."""
    if folder is None:
        return False
    try:
        pid = int((folder / symbol).read_text())
        os.kill(pid, 0)
    except PermissionError:
        return True  # it lives, as someone else
    except (OSError, ValueError, OverflowError):
        return False
    return pid > 0


class Desk:
    """One symbol: its price, its rhythm, what others show there."""

    def __init__(self, instrument: Instrument, seed: int) -> None:
        """Begin away from the symbol."""
        self.instrument = instrument
        self.seed = seed
        self.random = Random(f"{seed}/{instrument.symbol}")  # noqa: S311 - prices may be guessed, that is their use
        self.walk: Walk | None = None
        """None while away."""
        self.step = 1
        self.turn = 0
        self.held_until = 0.0
        self.best_bid = 0
        self.best_ask = 0

    def begin(self, mid: int) -> None:
        """Quote around `mid` from now on."""
        self.walk = Walk(anchor=mid, mid=mid, volatility_ppm=VOLATILITY_PPM, random=self.random)
        self.step = max(1, mid * STEP_PPM // PPM)

    def next_mid(self, recorded: tuple[str, str] | None) -> int:
        """Return the price to quote around now: the recorded one, or the next step of the walk."""
        assert self.walk is not None
        self.turn += 1
        if recorded is not None:
            self.walk.move_to(self.instrument.mid(*recorded))
            return self.walk.mid
        if self.best_bid > self.walk.mid:  # others pay more than our price: it is too low
            self.walk.move_to(self.best_bid + self.step)
        elif 0 < self.best_ask < self.walk.mid:
            self.walk.move_to(self.best_ask - self.step)
        return self.walk.step()


class Maker:
    """Quotes and takes until told to stop, over as many connections as it needs."""

    def __init__(self, settings: MakerSettings, keys: tuple[Key, Key], recording: Recording | None) -> None:
        """Prepare; `run` does the work."""
        self._settings = settings
        self._recording = recording
        self._maker, self._taker = map(Account, keys)
        self._stream = Stream(self._on_book)
        self._desks: dict[str, Desk] = {}
        self._life = secrets.token_hex(4)
        self._orders = 0
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    async def run(self, stopping: asyncio.Event) -> None:
        """Quote for ever, reconnecting after every loss with growing pauses."""
        backoff_s = _BACKOFF_MIN_S
        while not stopping.is_set():
            began = self._loop.time()
            try:
                await self._quote(stopping)
            except (UnavailableError, RefusedError, NotQuotableError) as error:
                if self._loop.time() - began > _STABLE_S:
                    backoff_s = _BACKOFF_MIN_S
                logger.warning("interrupted: %s; again in %.1f s", error, backoff_s)
                await _within(stopping, backoff_s)
                backoff_s = min(backoff_s * 2, _BACKOFF_MAX_S)
            finally:
                await self._leave_all()

    async def _quote(self, stopping: asyncio.Event) -> None:
        """Connect, then give each symbol its turn. Raises UnavailableError, RefusedError or NotQuotableError."""
        rest = self._settings.rest_url
        described = (await get(rest, "/api/v3/exchangeInfo"))["symbols"]
        if not described:
            raise NotQuotableError("exchangeInfo lists no symbol")
        for instrument in map(Instrument.read, described):
            known = self._desks.get(instrument.symbol)
            if known is None or known.instrument != instrument:
                self._desks[instrument.symbol] = Desk(instrument, self._settings.maker_seed)
        await self._maker.open(self._settings.ws_api_url)
        await self._taker.open(self._settings.ws_api_url)
        streams = [f"{symbol.lower()}@bookTicker" for symbol in self._desks]
        await self._stream.open(self._settings.stream_url, streams)
        for desk in self._desks.values():
            await self._leave(desk)
        logger.info("quoting %s", ", ".join(self._desks))
        await self._take_turns(stopping)

    async def _take_turns(self, stopping: asyncio.Event) -> None:
        pause_s = self._settings.maker_refresh_ms / 1_000 / len(self._desks)
        report_at = self._loop.time() + REPORT_S
        while not stopping.is_set():
            for desk in self._desks.values():
                await self._turn(desk)
                if await _within(stopping, pause_s):
                    return
                if not (self._maker.session.is_open and self._taker.session.is_open and self._stream.is_open):
                    raise UnavailableError("a connection was closed")
            if self._loop.time() >= report_at:
                report_at += REPORT_S
                logger.info("so far: maker %s, taker %s", dict(self._maker.counts), dict(self._taker.counts))

    async def _turn(self, desk: Desk) -> None:
        """Bring one symbol's quotes up to date, and now and then have the taker trade."""
        if is_paused(self._settings.maker_pause_dir, desk.instrument.symbol):
            if desk.walk is not None:
                logger.info("staying away from %s: paused", desk.instrument.symbol)
                await self._leave(desk)
            return
        if self._loop.time() < desk.held_until:
            return
        if desk.walk is None and not await self._begin(desk):
            return
        try:
            await self._update_quotes(desk)
            if desk.random.randint(1, PPM) <= TAKE_PPM:
                await self._take(desk)
        except RefusedError as error:
            logger.warning("%s: %s; next try in %g s", desk.instrument.symbol, error, HOLD_S)
            desk.held_until = self._loop.time() + HOLD_S

    async def _begin(self, desk: Desk) -> bool:
        """Find the price to start from: the last trade, or the configured price, but never through others' orders."""
        symbol, instrument = desk.instrument.symbol, desk.instrument
        rest = self._settings.rest_url
        await asyncio.sleep(SETTLE_S)
        book = await get(rest, f"/api/v3/ticker/bookTicker?symbol={symbol}")
        desk.best_bid, desk.best_ask = instrument.ticks(book["bidPrice"]), instrument.ticks(book["askPrice"])
        last = instrument.ticks((await get(rest, f"/api/v3/ticker/price?symbol={symbol}"))["price"])
        mid = last or instrument.ticks(self._settings.maker_start_prices.get(symbol, "0"))
        if not mid:
            logger.warning("%s never traded and has no price in MAKER_START_PRICES: not quoted", symbol)
            desk.held_until = self._loop.time() + HOLD_S
            return False
        mid = max(mid, desk.best_bid)
        mid = min(mid, desk.best_ask) if desk.best_ask else mid
        recorded = self._recorded(symbol)
        desk.begin(mid if recorded is None else instrument.mid(*recorded))
        return True

    async def _update_quotes(self, desk: Desk) -> None:
        symbol, instrument = desk.instrument.symbol, desk.instrument
        mid = desk.next_mid(self._recorded(symbol))
        mid += self._maker.lean(instrument.base, SKEW_STEPS_MAX * desk.step)
        wanted = ladder(instrument, mid=mid, step=desk.step, levels=self._settings.maker_levels, seed=desk.seed)
        mine = {name: quote for name, (where, quote) in self._maker.resting.items() if where == symbol}
        # What the book shows beyond our own best quotes is of others; only that limits where we may quote.
        own_bid = max((quote.price for quote in mine.values() if quote.side == BID), default=0)
        own_ask = min((quote.price for quote in mine.values() if quote.side == ASK), default=0)
        wanted = outside(
            wanted,
            best_bid=desk.best_bid if desk.best_bid > own_bid else 0,
            best_ask=desk.best_ask if not own_ask or desk.best_ask < own_ask else 0,
        )
        renewed = desk.random.choice(list(mine)) if mine and desk.random.randint(1, PPM) <= RENEW_PPM else ""
        mine.pop(renewed, None)
        plan = changes(mine, wanted, most=CHANGES_MAX)
        if plan.cancel_all:
            await self._cancel_all(self._maker, symbol)
        else:
            await asyncio.gather(*(self._cancel(symbol, name) for name in (*plan.cancel, *filter(None, [renewed]))))
        allowed = self._maker.pacer.allow(len(plan.place), self._loop.time())
        await asyncio.gather(*(self._place(desk, quote) for quote in plan.place[:allowed]))

    def _recorded(self, symbol: str) -> tuple[str, str] | None:
        """Return the recorded best prices now; None without a recording, or once it is over."""
        recording = self._recording
        if recording is None or recording.is_over:
            return None
        recording.advance(int((self._loop.time() - self._began) * 1e9))
        if recording.is_over:
            logger.info("the recording is over: from here the prices wander")
        return recording.best.get(symbol)

    def _level_budget(self, desk: Desk, quote: Quote) -> int:
        """Return what one quote may be worth, so that all symbols that share the asset can quote it."""
        instrument = desk.instrument
        asset = instrument.quote if quote.side == BID else instrument.base
        sharing = sum(asset in (one.instrument.base, one.instrument.quote) for one in self._desks.values())
        budget = self._maker.holding(asset) // (BUDGET_SHARE * self._settings.maker_levels * sharing)
        return budget if quote.side == BID else budget * quote.price * instrument.tick // 10**SCALE

    async def _place(self, desk: Desk, quote: Quote) -> None:
        instrument = desk.instrument
        budget = self._level_budget(desk, quote)
        lots = quote_lots(instrument, quote, budget=budget, seed=desk.seed, turn=desk.turn)
        if not lots:
            return
        self._orders += 1
        name = f"mm-{self._life}-{self._orders}"
        self._maker.resting[name] = instrument.symbol, quote  # before the reply: a fill may be told first
        try:
            await self._maker.session.call(
                "order.place",
                symbol=instrument.symbol,
                side=quote.side,
                type="LIMIT_MAKER",
                price=instrument.price_text(quote.price),
                quantity=instrument.quantity_text(lots),
                newClientOrderId=name,
                newOrderRespType="ACK",
            )
        except RefusedError as error:
            self._maker.resting.pop(name, None)
            if not (error.code == _REJECTED and _WOULD_MATCH in error.text):  # the market moved: next turn, elsewhere
                raise
        else:
            self._maker.counts["placed"] += 1

    async def _cancel(self, symbol: str, name: str) -> None:
        try:
            await self._maker.session.call("order.cancel", symbol=symbol, origClientOrderId=name)
        except RefusedError as error:
            if error.code != _UNKNOWN_ORDER:  # filled a moment ago
                raise
        self._maker.resting.pop(name, None)
        self._maker.counts["cancelled"] += 1

    async def _cancel_all(self, account: Account, symbol: str) -> None:
        try:
            await account.session.call("openOrders.cancelAll", symbol=symbol)
        except RefusedError as error:
            if error.code != _UNKNOWN_ORDER:  # there was none
                raise
        for name in [name for name, (where, _) in account.resting.items() if where == symbol]:
            del account.resting[name]

    async def _take(self, desk: Desk) -> None:
        instrument = desk.instrument
        order = take(
            instrument,
            best_bid=desk.best_bid,
            best_ask=desk.best_ask,
            buy_ppm=PPM // 2 + self._taker.lean(instrument.base, TAKE_LEAN_PPM),
            random=desk.random,
        )
        if order is None or not self._taker.pacer.allow(1, self._loop.time()):
            return
        await self._taker.session.call(
            "order.place",
            symbol=instrument.symbol,
            side=order.side,
            type="LIMIT",
            timeInForce="IOC",
            price=instrument.price_text(order.price),
            quantity=instrument.quantity_text(order.lots),
            newOrderRespType="ACK",
        )
        self._taker.counts["taken"] += 1

    async def _leave(self, desk: Desk) -> None:
        """Cancel everything in the symbol and stay away from it."""
        desk.walk = None
        for account in (self._maker, self._taker):
            await self._cancel_all(account, desk.instrument.symbol)

    async def _leave_all(self) -> None:
        """Cancel what can still be cancelled, and hang up."""
        with contextlib.suppress(UnavailableError, RefusedError, TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                for desk in self._desks.values():
                    await self._leave(desk)
        for connection in (self._maker.session, self._taker.session, self._stream):
            connection.close()

    def _on_book(self, ticker: dict[str, Any]) -> None:
        desk = self._desks.get(ticker.get("s", ""))
        if desk is not None:
            desk.best_bid, desk.best_ask = desk.instrument.ticks(ticker["b"]), desk.instrument.ticks(ticker["a"])


async def _within(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait for `event`, at most `timeout_s`; tell whether it is set."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), timeout_s)
    return event.is_set()

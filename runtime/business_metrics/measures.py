"""What is measured of markets, ledger and withdrawals, and what of it is wrong. Pure; whole numbers only.

A spread is in hundredths of a basis point, which are parts per million of the price in the middle.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from runtime.shared.business_events import CaseOpened
from runtime.shared.catalogue import PPM
from runtime.shared.messages import TRADING, MarketState

UNBALANCED: Final = "ledger_assets_unbalanced"
SHARE: Final = "withdrawn_share_ppm"
CLOSED: Final = "markets_closed"
WIDE: Final = "markets_wide"
TRADES: Final = "trades"
FEW: Final = "trades_are_few"
"""Fields of the log that alarms read."""
HOUR_S: Final = 3600
DEPTH_PERCENT: Final = 1
"""How far from the middle an order still counts as depth."""
_BIPS: Final = 100
"""Parts per million in a basis point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traded:
    """Trades of one market within a minute."""

    trades: int = 0
    turnover: int = 0
    """Ticks times lots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketMeasure:
    """One market now, and its last whole minute. Amounts are in the smallest unit of the quote asset."""

    symbol: str
    is_trading: bool
    spread_ppm: int | None
    """None while a side is empty."""
    bid_depth: int
    ask_depth: int
    trades: int
    volume: int

    def is_wide(self, bips_max: int) -> bool:
        """Whether customers find no price, or one further apart than `bips_max` basis points."""
        return self.is_trading and (self.spread_ppm is None or self.spread_ppm > bips_max * _BIPS)


def spread_ppm(bid: int, ask: int) -> int:
    """Return how far two prices in ticks are apart, of the price in the middle. Rounded up: never told too narrow.

    Above 0 for every book, since it holds no bid that reaches an ask; below for one that does, as in an auction.
    """
    return -((bid - ask) * 2 * PPM // (bid + ask))


def depth(state: MarketState) -> tuple[int, int]:
    """Return what bids and asks offer within DEPTH_PERCENT of the middle, in ticks times lots; 0 for an empty side."""
    if not state.bids or not state.asks:
        return 0, 0
    twice_the_middle = state.bids[0][0] + state.asks[0][0]
    least, most = (100 - DEPTH_PERCENT) * twice_the_middle, (100 + DEPTH_PERCENT) * twice_the_middle
    return (
        sum(price * lots for price, lots in state.bids if price * 200 >= least),
        sum(price * lots for price, lots in state.asks if price * 200 <= most),
    )


def market_measure(symbol: str, quote_units: int, state: MarketState, traded: Traded) -> MarketMeasure:
    """Return the measure of a market; `quote_units` are units of the quote asset in one tick times one lot."""
    bid_depth, ask_depth = depth(state)
    return MarketMeasure(
        symbol=symbol,
        is_trading=state.status == TRADING,
        spread_ppm=spread_ppm(state.bids[0][0], state.asks[0][0]) if state.bids and state.asks else None,
        bid_depth=bid_depth * quote_units,
        ask_depth=ask_depth * quote_units,
        trades=traded.trades,
        volume=traded.turnover * quote_units,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSum:
    """Debits and credits of one asset, the world outside included. Each is 0 in a ledger that is right."""

    asset: str
    balances: int
    """Over the balances of all accounts."""
    postings: int
    """Over what was posted lately."""

    @property
    def is_balanced(self) -> bool:
        """Whether nothing was made or lost."""
        return self.balances == 0 and self.postings == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outflow:
    """What customers asked to withdraw of one asset in this hour of the clock, and where all withdrawals halt."""

    asset: str
    units: int
    units_max: int

    @property
    def share_ppm(self) -> int:
        """How much of the hour's limit is used; rounded up."""
        return -(-self.units * PPM // self.units_max)


def unbalanced(sums: Iterable[LedgerSum]) -> list[LedgerSum]:
    """Return the sums that are not zero."""
    return [each for each in sums if not each.is_balanced]


def ledger_case(wrong: Sequence[LedgerSum], now_s: int) -> CaseOpened:
    """Return the case of sums that are not zero: the same one, by its id, within an hour."""
    name = f"ledger-sum/{now_s // HOUR_S}"
    told: Mapping[str, object] = {
        each.asset: {"balances": str(each.balances), "postings": str(each.postings)} for each in wrong
    }
    return CaseOpened(
        event_id=name,
        at_us=now_s * 1_000_000,
        case_id=name,
        kind="ledger-sum",
        severity="critical",
        # What does not fit is in the log.
        evidence=json.dumps(told)[:1024],
    )

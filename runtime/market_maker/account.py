"""One account of the market maker: its session, what it holds, which of its orders rest, how fast it may trade."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from runtime.market_maker.client import Key, Pacer, Session
from runtime.market_maker.quoting import SCALE, Quote, skew
from runtime.shared.money import parse_decimal

INVENTORY_SHARE: Final = 10
"""The mid leans as far as it may once a tenth of the first holding was gained or lost."""
PACE_PERCENT: Final = 80
"""Share of the account's order limit that is used."""
_GONE: Final = frozenset({"FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH", "REJECTED"})


class Account:
    """One account: its session, what it holds, which of its orders rest."""

    def __init__(self, key: Key) -> None:
        """Prepare; `open` connects."""
        self.session = Session(key, self._on_event)
        self.resting: dict[str, tuple[str, Quote]] = {}
        """Client order id → symbol and quote."""
        self.counts: Counter[str] = Counter()
        self.pacer = Pacer(1, 1)
        self._holdings: dict[str, int] = {}
        self._first: dict[str, int] = {}

    async def open(self, url: str) -> None:
        """Connect and learn what the account holds and how fast it may trade. Raises as `Session.call`."""
        await self.session.open(url)
        limits = await self.session.call("account.rateLimits.orders")
        self.pacer = Pacer(*order_pace(limits))
        self._note((await self.session.call("account.status"))["balances"], "asset", "free", "locked")

    def holding(self, asset: str) -> int:
        """Return what the account holds of `asset`, free and locked, in units of 10**-SCALE."""
        return self._holdings.get(asset, 0)

    def lean(self, asset: str, most: int) -> int:
        """Return -most to most: how much more of `asset` is wanted, against what was there at first."""
        first = self._first.get(asset, 0)
        return skew(self.holding(asset), first, limit=first // INVENTORY_SHARE, shift_max=most)

    def _on_event(self, event: dict[str, Any]) -> None:
        if event.get("e") == "outboundAccountPosition":
            self._note(event["B"], "a", "f", "l")
        elif event.get("e") == "executionReport":
            self.counts["fills"] += event["x"] == "TRADE"
            if event["X"] in _GONE:
                self.resting.pop(event["C"] or event["c"], None)

    def _note(self, balances: Iterable[Mapping[str, Any]], asset: str, free: str, locked: str) -> None:
        for balance in balances:
            held = parse_decimal(balance[free], SCALE) + parse_decimal(balance[locked], SCALE)
            self._holdings[balance[asset]] = held
            self._first.setdefault(balance[asset], held)


def order_pace(limits: Iterable[Mapping[str, Any]]) -> tuple[int, float]:
    """Return how many orders in how many seconds use PACE_PERCENT of the tightest of an account's order limits."""
    lengths = {"SECOND": 1, "MINUTE": 60, "HOUR": 3_600, "DAY": 86_400}
    windows = [
        (int(limit["limit"]) * PACE_PERCENT // 100, float(lengths[limit["interval"]] * int(limit["intervalNum"])))
        for limit in limits
        if limit["rateLimitType"] == "ORDERS"
    ]
    if not windows:
        return 1, 1.0
    burst, _ = min(windows, key=lambda window: window[1])
    count, seconds = min(windows, key=lambda window: window[0] / window[1])
    return burst, burst * seconds / count

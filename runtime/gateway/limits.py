"""How much a client may ask for: request weight per address, new orders per account, connections per address.

Counts live in intervals aligned to the clock, as clients expect: a minute's count starts again at every full minute.
They are kept here, so that counting never waits; `limit_sharing` adds up what all gateways counted.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final

import msgspec

from runtime.gateway.errors import IP_BANNED, TOO_MANY_ORDERS, TOO_MUCH_WEIGHT
from runtime.gateway.limit_models import LimitSettings, RateLimit
from runtime.shared.catalogue import Catalogue, Tier

logger = logging.getLogger(__name__)

MINUTE_S: Final = 60
ORDERS_SHORT_S: Final = 10
DAY_S: Final = 86_400
CONNECTS_S: Final = 300
BAN_FIRST_S: Final = 120
BAN_LONGEST_S: Final = 3 * DAY_S
KEYS_MAX: Final = 100_000
"""Addresses or accounts counted apart in one interval; later ones share one count, so that memory is bounded."""
OFFENDERS_MAX: Final = 100_000
_OTHERS: Final = "*"


class Rate:
    """A limit as clients are told about it."""

    def __init__(self, kind: str, interval: str, interval_num: int, limit: int) -> None:
        """Describe `limit` of `kind` per `interval_num` of `interval`."""
        self.limit = limit
        self.members = RateLimit(kind, interval, interval_num, limit)
        self._head = msgspec.json.encode(self.members)[:-1]

    def with_count(self, count: int) -> bytes:
        """Return the limit and how much of it is used, as JSON."""
        return b'%b,"count":%d}' % (self._head, count)


Key = str | int
"""What is counted apart: an address, or the number of an account."""


class Counter:
    """Counts per key in intervals of `period_s`, of which only the current one is kept."""

    def __init__(self, name: str, period_s: int) -> None:
        """Start empty. `name` tells this counter from others where they are shared."""
        self.name = name
        self.period_s = period_s
        self.number = 0
        self.ends_s = 0
        """When this interval ends, in seconds since 1970."""
        self._own: dict[Key, int] = {}
        self._foreign: dict[Key, int] = {}
        self._shared: dict[Key, int] = {}
        """How much of our own counts the other gateways have seen."""
        self._changed: dict[Key, None] = {}

    def roll(self, now_s: float) -> None:
        """Begin a new interval when its time has come."""
        if now_s >= self.ends_s or now_s < self.ends_s - self.period_s:
            self.number = int(now_s) // self.period_s
            self.ends_s = (self.number + 1) * self.period_s
            self._own, self._foreign, self._shared, self._changed = {}, {}, {}, {}

    def add(self, key: Key, count: int) -> int:
        """Count `count` more (or less) for `key`; return the total of all gateways as far as it is known, at least 0.

        What is taken back never exceeds what was counted here in this interval: there is no credit.
        """
        own = self._own
        before = own.get(key)
        if before is None:
            before = 0
            if len(own) >= KEYS_MAX:
                key = _OTHERS
                before = own.get(key, 0)
        after = before + count
        if after < 0:  # noqa: PLR1730 - `max` would be a call, four times for each order
            after = 0
        own[key] = after
        self._changed[key] = None
        if not self._foreign:  # as where there is one gateway, and at the beginning of each interval
            return after
        total = after + self._foreign.get(key, 0)
        return max(0, total)

    def total(self, key: Key) -> int:
        """Return the count of `key` in this interval, at least 0."""
        own = self._own.get(key)
        if own is None and len(self._own) >= KEYS_MAX:
            key, own = _OTHERS, self._own.get(_OTHERS)
        total = (own or 0) + self._foreign.get(key, 0)
        return max(0, total)

    def take_unshared(self, most: int) -> dict[Key, int]:
        """Return up to `most` changes that other gateways have not seen, and count them as seen."""
        keys = list(self._changed)[:most]
        changes: dict[Key, int] = {}
        for key in keys:
            del self._changed[key]
            changes[key] = self._own[key] - self._shared.get(key, 0)
            self._shared[key] = self._own[key]
        return changes

    def put_back(self, changes: dict[Key, int], number: int) -> None:
        """Undo `take_unshared`, unless its interval is over."""
        if number == self.number:
            for key, count in changes.items():
                self._shared[key] -= count
                self._changed[key] = None

    def note_total(self, key: Key, total: int, number: int) -> None:
        """Take note of the total of all gateways after our changes, in interval `number`."""
        if number == self.number:
            self._foreign[key] = total - self._shared[key]


class Offender:
    """An address that did not stop when told to."""

    def __init__(self) -> None:
        """Begin with nothing held against it."""
        self.refusals = 0
        self.minute = 0
        self.bans = 0
        self.banned_until_s = 0.0


class Limiter:
    """Counts and refuses. Every method is immediate."""

    def __init__(
        self, settings: LimitSettings, catalogue: Catalogue, *, clock_s: Callable[[], float] = time.time
    ) -> None:
        """Enforce `settings`, and the order rates of the tiers in `catalogue`."""
        self.settings = settings
        self._clock_s = clock_s
        self._tiers = {tier.name: tier for tier in catalogue.tiers}
        self.weight_rate = Rate("REQUEST_WEIGHT", "MINUTE", 1, settings.weight_per_minute)
        self._order_rates = {
            tier.name: (
                Rate("ORDERS", "SECOND", ORDERS_SHORT_S, tier.orders_per_10s),
                Rate("ORDERS", "DAY", 1, tier.orders_per_day),
            )
            for tier in catalogue.tiers
        }
        self._slowest = min(catalogue.tiers, key=lambda tier: tier.orders_per_day)
        self.weights = Counter("weight", MINUTE_S)
        self.orders_short = Counter("orders", ORDERS_SHORT_S)
        self.orders_day = Counter("orders", DAY_S)
        self.connects = Counter("connects", CONNECTS_S)
        self.counters = (self.weights, self.orders_short, self.orders_day, self.connects)
        self.is_alone = False
        """Whether other gateways' counts are out of reach, so that the limits hold here and not across them."""
        self._offenders: OrderedDict[str, Offender] = OrderedDict()

    # ---- addresses -----------------------------------------------------------------------------------------------

    def charge(self, address: str, weight: int) -> int:
        """Count a request of `weight` for `address`; return the weight used this minute.

        Raises -1003: 429 past the limit, 418 while banned.
        """
        now_s = self._clock_s()
        key = client_network(address)
        self._check_ban(key, now_s)
        self.weights.roll(now_s)
        used = self.weights.add(key, weight)
        if used > self.settings.weight_per_minute:
            self._refuse(key, now_s)
        return used

    def refund(self, address: str, weight: int, minute: int) -> int:
        """Take back what was charged in `minute`, a number of `weights`; return the weight used this minute.

        What was charged in a minute that is over has been forgotten with it.
        """
        self.weights.roll(self._clock_s())
        key = client_network(address)
        return self.weights.add(key, -weight) if minute == self.weights.number else self.weights.total(key)

    def used_weight(self, address: str) -> int:
        """Return the weight that `address` used this minute."""
        self.weights.roll(self._clock_s())
        return self.weights.total(client_network(address))

    def connect(self, address: str) -> bool:
        """Count a new connection; return False when `address` made too many, or is banned."""
        now_s = self._clock_s()
        key = client_network(address)
        offender = self._offenders.get(key)
        if offender is not None and offender.banned_until_s > now_s:
            return False
        self.connects.roll(now_s)
        return self.connects.add(key, 1) <= self.settings.connects_per_5_minutes

    def _check_ban(self, key: str, now_s: float) -> None:
        if self._offenders and (offender := self._offenders.get(key)) and offender.banned_until_s > now_s:
            raise self._banned(offender)

    def _refuse(self, key: str, now_s: float) -> None:
        offender = self._offenders.setdefault(key, Offender())
        if offender.minute != self.weights.number:
            offender.minute, offender.refusals = self.weights.number, 0
        offender.refusals += 1
        if offender.refusals > self.settings.refusals_before_ban:
            length_s = min(BAN_FIRST_S << min(offender.bans, 16), BAN_LONGEST_S)
            if now_s - offender.banned_until_s > BAN_LONGEST_S:
                length_s, offender.bans = BAN_FIRST_S, 0
            offender.bans += 1
            offender.refusals = 0
            offender.banned_until_s = now_s + length_s
            logger.warning("address banned", extra={"address": key, "seconds": length_s, "bans": offender.bans})
        self._offenders.move_to_end(key)
        if len(self._offenders) > OFFENDERS_MAX:
            self._offenders.popitem(last=False)
        if offender.banned_until_s > now_s:
            raise self._banned(offender)
        raise TOO_MUCH_WEIGHT.error(
            self.settings.weight_per_minute, "1 MINUTE", retry_at_us=self.weights.ends_s * 1_000_000
        )

    @staticmethod
    def _banned(offender: Offender) -> Exception:
        until_us = int(offender.banned_until_s * 1_000_000)
        return IP_BANNED.error(until_us // 1000, retry_at_us=until_us)

    # ---- accounts ------------------------------------------------------------------------------------------------

    def count_order(self, account: int, tier: str) -> tuple[int, int]:
        """Count a new order of `account`; return as `order_counts`. Raises -1015 when its tier allows no more now."""
        now_s = self._clock_s()
        short, day, allowed = self.orders_short, self.orders_day, self.tier(tier)
        short.roll(now_s)
        day.roll(now_s)
        of_short, of_day = short.add(account, 1), day.add(account, 1)
        if of_short <= allowed.orders_per_10s and of_day <= allowed.orders_per_day:
            return of_short, of_day
        short.add(account, -1)
        day.add(account, -1)
        if of_short > allowed.orders_per_10s:
            raise TOO_MANY_ORDERS.error(allowed.orders_per_10s, "10 SECOND", retry_at_us=short.ends_s * 1_000_000)
        raise TOO_MANY_ORDERS.error(allowed.orders_per_day, "1 DAY", retry_at_us=day.ends_s * 1_000_000)

    def forget_order(self, account: int) -> tuple[int, int]:
        """Take an order back that was refused, or filled at once: only unfilled orders count. Returns the counts."""
        now_s = self._clock_s()
        self.orders_short.roll(now_s)
        self.orders_day.roll(now_s)
        return self.orders_short.add(account, -1), self.orders_day.add(account, -1)

    def order_counts(self, account: int) -> tuple[int, int]:
        """Return the unfilled orders of this 10 seconds and of this day."""
        now_s = self._clock_s()
        self.orders_short.roll(now_s)
        self.orders_day.roll(now_s)
        return self.orders_short.total(account), self.orders_day.total(account)

    def tier(self, name: str) -> Tier:
        """Return the tier called `name`; a key of a tier that is gone gets the slowest."""
        return self._tiers.get(name, self._slowest)

    # ---- what clients are told -----------------------------------------------------------------------------------

    def order_rates(self, tier: str = "") -> tuple[Rate, Rate]:
        """Return the order limits of a tier, without a name those of the slowest."""
        return self._order_rates.get(tier) or self._order_rates[self._slowest.name]


@lru_cache(maxsize=65_536)
def client_network(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or a /64 of IPv6, which is what one line is given."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
    return address

"""Rings: a few owners who pass the same quantity round, each to the next, and the last to the first. Pure.

Nothing changes hands in a ring, but the tape shows volume, and between no two of its owners is there a wash trade. A
ring is told from ordinary trading by three marks, each a limit: every owner sold mostly to the next and bought mostly
from the one before, all passed on about as much, and it went round more than once.

"Mostly" means more than half, so of each owner at most one other can be the next, and a walk finds a ring or its
absence without a search. A ring that hides in as much other trading escapes; it pays fees for that.
"""

from typing import Final, NamedTuple

from msgspec import Struct

PPM: Final = 1_000_000
PASSES_KEPT: Final = 400
"""Passes that are remembered of one market; beyond them the oldest goes, window or not."""
SLOT_S: Final = 300
_SLOT_US: Final = SLOT_S * 1_000_000


class RingLimits(Struct, frozen=True, kw_only=True):
    """Where ordinary trading ends. The values are the operator's choice; no rule that we know gives figures."""

    window_s: int = 3600
    owners_min: int = 3
    """Two who trade to and fro are too common to be a sign: any maker and any taker do."""
    owners_max: int = 6
    share_ppm: int = 500_000
    """Each owner passed on more than this share of what they sold to the next, and of what they bought likewise. Not
    below 500000, or an owner could have two next ones."""
    even_ppm: int = 800_000
    """The least that one owner passed on, as a share of the most."""
    rounds: int = 2
    """Trades from each owner to the next. Once round may be chance."""

    def __post_init__(self) -> None:
        """Refuse limits with which a ring would not be unambiguous. Raises ValueError."""
        if not PPM // 2 <= self.share_ppm < PPM:
            raise ValueError(f"share_ppm must be {PPM // 2} to {PPM - 1}, was {self.share_ppm}")
        if not 3 <= self.owners_min <= self.owners_max:  # noqa: PLR2004 - said in the message
            raise ValueError(f"owners must be 3 <= min <= max, were {self.owners_min} and {self.owners_max}")


class Pass(Struct, array_like=True):
    """What one owner sold to another within a slot of SLOT_S seconds. Accounts and trade are the last that did."""

    slot_us: int
    seller: str
    buyer: str
    lots: int
    trades: int
    seller_account: int
    buyer_account: int
    trade_id: int


class Ring(Struct, frozen=True):
    """A ring that has just been closed once more. Lots are sums over the window, in the order of the walk."""

    accounts: tuple[int, ...]
    """One or two of each owner: with which they bought last, and with which they sold."""
    trades: tuple[int, ...]
    """The last trade from each owner to the next."""
    lots: tuple[int, ...]
    rounds: int
    first_us: int


class _Flow(NamedTuple):
    """What an owner sold to the next one, over the window."""

    buyer: str
    passes: list[Pass]
    lots: int
    trades: int


def remember(passes: list[Pass], new: Pass, limits: RingLimits) -> list[Pass]:
    """Return `passes` with `new` counted, without what is older than the window or beyond PASSES_KEPT.

    `new.slot_us` is the time of the trade; it is rounded down to its slot.
    """
    new.slot_us = max(new.slot_us // _SLOT_US * _SLOT_US, passes[-1].slot_us if passes else 0)
    oldest_us = new.slot_us - limits.window_s * 1_000_000
    if passes and passes[0].slot_us <= oldest_us:
        passes = [each for each in passes if each.slot_us > oldest_us]
    for each in reversed(passes):
        if each.slot_us != new.slot_us:
            break
        if each.seller == new.seller and each.buyer == new.buyer:
            each.lots += new.lots
            each.trades += new.trades
            each.seller_account, each.buyer_account, each.trade_id = (
                new.seller_account,
                new.buyer_account,
                new.trade_id,
            )
            return passes
    return [*passes[-(PASSES_KEPT - 1) :], new]


def ring(passes: list[Pass], seller: str, buyer: str, limits: RingLimits) -> Ring | None:
    """Return the ring that the newest trade, from `seller` to `buyer`, closed; None if there is none.

    It is told once a round: when the trade is the one that every other pass of the round was waiting for.
    """
    walk = _walk(passes, seller, limits)
    if len(walk) < limits.owners_min or walk[0].buyer != buyer:
        return None
    lots = [flow.lots for flow in walk]
    rounds = walk[0].trades
    others = min(flow.trades for flow in walk[1:])
    if rounds < limits.rounds or others < rounds or min(lots) * PPM < max(lots) * limits.even_ppm:
        return None
    newest = [flow.passes[-1] for flow in walk]
    return Ring(
        accounts=tuple(sorted({account for each in newest for account in (each.seller_account, each.buyer_account)})),
        trades=tuple(sorted(each.trade_id for each in newest)),
        lots=tuple(lots),
        rounds=rounds,
        first_us=min(flow.passes[0].slot_us for flow in walk),
    )


def _walk(passes: list[Pass], start: str, limits: RingLimits) -> list[_Flow]:
    """Return the flows from `start` back to it; none when the walk ends elsewhere or is too long."""
    walk: list[_Flow] = []
    at = start
    while len(walk) < limits.owners_max:
        flow = _next(passes, at, limits)
        if flow is None:
            return []
        walk.append(flow)
        at = flow.buyer
        if at == start:
            return walk
    return []


def _next(passes: list[Pass], giver: str, limits: RingLimits) -> _Flow | None:
    """Return what `giver` sold to the one who took most of it, and who took most from `giver`."""
    taken: dict[str, int] = {}
    for each in passes:
        if each.seller == giver:
            taken[each.buyer] = taken.get(each.buyer, 0) + each.lots
    if not taken:
        return None
    taker = max(taken, key=taken.__getitem__)
    lots = taken[taker]
    if lots * PPM <= sum(taken.values()) * limits.share_ppm:
        return None
    to_taker = [each for each in passes if each.buyer == taker]
    if lots * PPM <= sum(each.lots for each in to_taker) * limits.share_ppm:
        return None
    passed = [each for each in to_taker if each.seller == giver]
    return _Flow(taker, passed, lots, sum(each.trades for each in passed))

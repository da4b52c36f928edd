"""A feed read for some accounts: every command, and of those that touched one of them every event."""

from typing import get_args

import msgspec
import pytest

from runtime.shared import messages as m
from runtime.shared.event_owners import decode_feed_of

ORDER = m.Order(5, "mine", 1000, 1, m.BUY, m.LIMIT, m.GTC, 9, 9, 0, 0, 0, m.NEW, 0, 0, 1, 1, m.OrderTerms(3))
OF_1000: list[m.Event] = [
    m.OrderChanged(m.EXEC_TRADE, ORDER, 1, 2, 3, 4, 5, cancel_id="x"),
    m.BalanceChanged(1000, 3, -1, 0),
    m.AccountChanged(1000, "a", 1),
    m.Transferred(1000, 3, 10**18, "t"),
    m.ListChanged(m.LIST_STARTED, m.OrderList(7, 1000, 1, m.OCO, "list", 0, [(5, "mine"), (6, "other")], 1, 1)),
    m.HoldChanged(1000, 3, 1, "h", m.HELD),
    m.FeeCharged(1000, 3, 1, "f"),
    m.AccountOptionsChanged(1000, 1, 2),
]
OF_NOBODY: list[m.Event] = [
    m.Traded(1000, 1000, 1000, 1000, buyer_is_maker=True, buy_order_id=5, sell_order_id=6, buyer=1000, seller=1000,
             buyer_fee=1, seller_fee=1),
    m.LevelChanged(1000, 1000, 0, 1000, 1000),
    m.MarketStatusChanged(1000, 1),
    m.Configured([1000], [], []),
    m.SelfTradePrevented(1000, *[1000] * 12),
    m.ReferencePriceChanged(1000, 1000),
]  # fmt: skip
"""Told beside an event of the account, or of no account at all."""


def feed(*commands: list[m.Event]) -> bytes:
    return m.encode([m.Happened(sequence, 7, events) for sequence, events in enumerate(commands, 1)])


def test_every_kind_of_event_is_known() -> None:
    assert {type(each) for each in OF_1000 + OF_NOBODY} == set(get_args(m.Event))


@pytest.mark.parametrize("event", OF_1000, ids=lambda event: type(event).__name__)
def test_a_command_that_touched_the_account_comes_whole(event: m.Event) -> None:
    payload = feed(OF_NOBODY, [*OF_NOBODY, event], [])
    whole = m.decode_feed(payload)
    without = [m.Happened(1, 7, []), m.Happened(2, 7, []), m.Happened(3, 7, [])]
    assert decode_feed_of(payload, {1000: "somebody"}) == [without[0], whole[1], without[2]]
    assert decode_feed_of(payload, {1001, 1, 3, 5}) == without
    assert decode_feed_of(payload, ()) == without


@pytest.mark.parametrize("broken", [[[1, 7, [[99]]]], [[1, 7, [[4, "1000"]]]], [[1, 7]], {}])
def test_what_is_no_feed_is_refused_whoever_listens(broken: object) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_feed_of(m.encode(broken), ())

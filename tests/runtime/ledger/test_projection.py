"""What each event becomes: entries that balance, and balances that agree with the engine, or a loud stop."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.ledger.projection import (
    FEE,
    TRADE,
    BalanceRow,
    DisagreementError,
    FeedGapError,
    Posting,
    Scale,
    project,
)
from runtime.shared.messages import (
    BUY,
    FEE_ACCOUNT,
    SELL,
    BalanceChanged,
    Command,
    Configured,
    Happened,
    Traded,
)
from tests.runtime.ledger.feeds import ANA, BUDI, batches, commands, funded_feed, order

BTC, USDT = 1, 3


@given(commands(), st.lists(st.integers(1, 9), max_size=20))
@settings(max_examples=150, deadline=None)
def test_any_feed_in_any_batches_gives_balanced_entries_and_the_engines_balances_and_orders(
    made: list[Command], sizes: list[int]
) -> None:
    feed = funded_feed()
    for command in made:
        feed.do(command)
    position = 0
    markets: dict[int, Scale] = {}
    postings: list[Posting] = []
    balances: dict[tuple[int, int], BalanceRow] = {}
    orders = {}
    for batch in batches(feed.happened, sizes):
        rows = project(batch, position, markets)
        position = rows.sequence
        markets |= rows.markets
        for key, row in rows.balances.items():
            stored = balances.get(key)
            assert row.before == (stored.free + stored.held if stored else 0)
        balances |= rows.balances
        postings += rows.postings
        orders |= rows.orders

    entries: Counter[tuple[int, int, int]] = Counter()
    totals: Counter[tuple[int, int]] = Counter()
    for posting in postings:
        entries[posting.sequence, posting.event, posting.asset] += posting.amount
        totals[posting.account, posting.asset] += posting.amount
    assert set(entries.values()) == {0}
    expected = {key: amounts for key, amounts in feed.balances().items() if key in balances}
    assert {key: (row.free, row.held) for key, row in balances.items()} == expected
    assert {key: total for key, total in totals.items() if total} == {
        key: free + held for key, (free, held) in feed.balances().items() if free + held
    }
    for market in feed.engine.markets.values():
        for resting in market.book.orders.values():
            assert orders[resting.order_id] == resting.view()


def test_a_trade_becomes_full_amounts_and_fees() -> None:
    feed = funded_feed()
    feed.do(order(ANA, SELL, 6_000_000, 1_000, "a"))
    feed.do(order(BUDI, BUY, 6_000_000, 400, "b"))
    rows = project(feed.happened, 0, {})
    lines = [(p.account, p.asset, p.amount, p.kind) for p in rows.postings if p.sequence == rows.sequence]
    assert lines == [
        (ANA, BTC, -400_000, TRADE),
        (BUDI, BTC, 400_000, TRADE),
        (BUDI, USDT, -24_000_000_000, TRADE),
        (ANA, USDT, 24_000_000_000, TRADE),
        (BUDI, BTC, -400, FEE),
        (FEE_ACCOUNT, BTC, 400, FEE),
        (ANA, USDT, -24_000_000, FEE),
        (FEE_ACCOUNT, USDT, 24_000_000, FEE),
    ]


def _matched() -> list[Happened]:
    feed = funded_feed()
    feed.do(order(ANA, SELL, 6_000_000, 1_000, "a"))
    feed.do(order(BUDI, BUY, 6_000_000, 400, "b"))
    return feed.happened


def _tampered(happened: Happened, change: dict[type, dict[str, int]]) -> Happened:
    events = [
        msgspec.structs.replace(event, **change[type(event)]) if type(event) in change else event
        for event in happened.events
    ]
    return Happened(happened.sequence, happened.time_us, events)


@pytest.mark.parametrize(
    "change",
    [{Traded: {"lots": 401}}, {Traded: {"buyer_fee": 0}}, {Traded: {"seller": ANA + 7}}, {BalanceChanged: {"held": 1}}],
)
@pytest.mark.parametrize("together", [True, False])
def test_a_trade_that_does_not_explain_the_balances_stops_the_ledger(
    change: dict[type, dict[str, int]], *, together: bool
) -> None:
    feed = _matched()
    feed[-1] = _tampered(feed[-1], change)
    if together:
        with pytest.raises(DisagreementError, match="sequence 13"):
            project(feed, 0, {})
        return
    before = project(feed[:-1], 0, {})
    try:
        rows = project(feed[-1:], before.sequence, before.markets)
    except DisagreementError:
        return
    stored = {key: row.free + row.held for key, row in before.balances.items()}
    assert any(row.before != stored.get(key, 0) for key, row in rows.balances.items()), "the store would not notice"


def test_a_balance_that_moves_unreported_stops_the_ledger() -> None:
    feed = _matched()
    feed[-1] = Happened(13, 0, [event for event in feed[-1].events if not isinstance(event, BalanceChanged)])
    with pytest.raises(DisagreementError, match="reports no change"):
        project(feed, 0, {})


@pytest.mark.parametrize("positions", [[2], [1, 3], [1, 1], [1, 2, 1], [0]])
def test_a_feed_that_skips_or_repeats_is_refused(positions: list[int]) -> None:
    with pytest.raises(FeedGapError, match="goes on with"):
        project([Happened(position, 0, []) for position in positions], 0, {})


def test_a_market_never_changes_its_scale() -> None:
    feed = funded_feed()
    (configured,) = [event for event in feed.happened[0].events if isinstance(event, Configured)]
    other = msgspec.structs.replace(configured.markets[0], lot_units=7)
    with pytest.raises(DisagreementError, match="market 1"):
        project([*feed.happened, Happened(12, 0, [Configured([], [other], [])])], 0, {})

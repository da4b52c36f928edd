"""Triggers, auctions, bounds, fees and withdrawals, by example and against brute force."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.engine.auction import equilibrium
from runtime.engine.audit import ConservationError, check_conservation
from runtime.engine.replica import Replica
from runtime.shared import messages as m
from tests.runtime.engine.flows import CONFIGURE
from tests.runtime.engine.test_engine import ALICE, BOB, BTC, COIN, USDT, Desk

PRICE = 1_000_000
"""10,000 USDT in ticks."""


@pytest.fixture
def desk() -> Desk:
    return Desk()


def trade(desk: Desk, price: int, lots: int = 100) -> None:
    """Have Alice sell to Bob at a price, so that it is the last."""
    desk.order(ALICE, m.SELL, price, lots, time_in_force=m.GTC)
    placed = desk.order(BOB, m.BUY, price, lots)
    assert isinstance(placed, m.OrderPlaced)
    assert placed.order.status == m.FILLED


def stop(desk: Desk, side: int, stop_price: int, delta: int = 0, **other: object) -> m.Order:
    fields = {"order_type": m.STOP_LOSS, "stop_price": stop_price, "trailing_delta": delta} | other
    placed = desk.order(ALICE, side, 0, 1_000, **fields)
    assert isinstance(placed, m.OrderPlaced), placed
    return placed.order


def status(desk: Desk, order: m.Order) -> int:
    """Return NEW while an order is open, else FILLED."""
    own = desk.engine.accounts.accounts[ALICE].open_orders[1].orders
    return own[order.order_id].status if order.order_id in own else m.FILLED


# ---- triggers --------------------------------------------------------------------------------------------------------


def test_a_trailing_stop_follows_the_price_and_fires_exactly_at_its_distance(desk: Desk) -> None:
    desk.order(BOB, m.BUY, PRICE * 9 // 10, 100_000)
    trade(desk, PRICE)
    order = stop(desk, m.SELL, 0, 100)  # one percent
    for price in (PRICE + 20_000, PRICE + 9_801):  # 1 % below the new high would be 1,009,800
        trade(desk, price)
        assert status(desk, order) == m.NEW
    trade(desk, PRICE + 9_800)
    assert status(desk, order) == m.FILLED


def test_a_trailing_stop_with_a_stop_price_trails_from_there_only(desk: Desk) -> None:
    trade(desk, PRICE)
    order = stop(desk, m.BUY, PRICE + 10_000, 50)
    assert desk.balance(ALICE, USDT)[1] == 1_000 * (PRICE + 10_000) * 10
    desk.order(BOB, m.SELL, PRICE + 40_000, 100_000)
    for price in (PRICE - 50_000, PRICE, PRICE + 9_999):  # rises by far more than half a percent, but not yet there
        trade(desk, price)
    assert desk.engine.markets[1].triggers.waiting[order.order_id].is_trailing is False
    trade(desk, PRICE + 10_000)
    trigger = desk.engine.markets[1].triggers.waiting[order.order_id]
    assert (trigger.is_trailing, trigger.price) == (True, 1_015_050)
    trade(desk, PRICE + 15_049)
    assert status(desk, order) == m.NEW
    trade(desk, PRICE + 15_050)
    assert status(desk, order) == m.FILLED
    check_conservation(desk.engine)


def test_one_stop_sets_off_the_next_within_the_same_command(desk: Desk) -> None:
    for price in (PRICE - 100, PRICE - 200, PRICE - 300):
        desk.order(BOB, m.BUY, price, 1_000)
    trade(desk, PRICE)
    orders = [stop(desk, m.SELL, PRICE - below) for below in (50, 100, 200)]
    trade(desk, PRICE - 50)
    trades = [event for event in desk.events if isinstance(event, m.Traded)]
    assert [each.price for each in trades] == [PRICE - 50, PRICE - 100, PRICE - 200, PRICE - 300]
    assert [status(desk, order) for order in orders] == [m.FILLED] * 3


def test_of_stops_reached_together_the_oldest_fires_first(desk: Desk) -> None:
    for price in (PRICE - 100, PRICE - 200, PRICE - 300):
        desk.order(BOB, m.BUY, price, 1_000)
    trade(desk, PRICE)
    orders = [stop(desk, m.SELL, PRICE - 50) for _ in range(3)]
    trade(desk, PRICE - 50)
    own = [order.order_id for order in orders]
    fills = [
        (event.order.order_id, event.last_price)
        for event in desk.events
        if isinstance(event, m.OrderChanged) and event.execution == m.EXEC_TRADE and event.order.order_id in own
    ]
    assert fills == list(zip(own, (PRICE - 100, PRICE - 200, PRICE - 300), strict=True))


def test_a_buy_stop_that_its_account_cannot_pay_expires(desk: Desk) -> None:
    trade(desk, PRICE)
    order = stop(desk, m.BUY, PRICE + 10)
    free, _ = desk.balance(ALICE, USDT)
    assert desk.do(m.HoldFunds(ALICE, USDT, free, "all of it")) == m.Done()
    desk.order(BOB, m.SELL, PRICE + 90_000, 10_000)
    trade(desk, PRICE + 10, 50)
    (expired,) = [e.order for e in desk.events if isinstance(e, m.OrderChanged) and e.order.order_id == order.order_id]
    assert (expired.status, expired.expiry) == (m.EXPIRED, m.UNFUNDED)
    check_conservation(desk.engine)


# ---- auctions and bounds ---------------------------------------------------------------------------------------------

levels = st.dictionaries(st.integers(95, 105), st.integers(1, 9), max_size=8)


@settings(max_examples=300, deadline=None)
@given(levels, levels, st.integers(90, 110))
def test_the_price_of_an_auction_is_the_one_that_brute_force_finds(
    bids: dict[int, int], asks: dict[int, int], reference: int
) -> None:
    price, matched = equilibrium(sorted(bids.items(), reverse=True), sorted(asks.items()), reference)

    def at(candidate: int) -> tuple[int, int]:
        demand = sum(lots for bid, lots in bids.items() if bid >= candidate)
        supply = sum(lots for ask, lots in asks.items() if ask <= candidate)
        return min(demand, supply), demand - supply

    candidates = sorted({*bids, *asks})
    most = max((at(each)[0] for each in candidates), default=0)
    assert matched == most
    if not most:
        assert price == 0
        return
    best = [each for each in candidates if at(each)[0] == most]
    least = min(abs(at(each)[1]) for each in best)
    best = [each for each in best if abs(at(each)[1]) == least]
    surpluses = {at(each)[1] > 0 for each in best}
    if least and len(surpluses) == 1:
        assert price == (best[-1] if surpluses == {True} else best[0])
    else:
        assert price == min(best, key=lambda each: (abs(each - reference), each))


def test_an_interrupted_market_reopens_by_an_auction_when_its_time_has_come(desk: Desk) -> None:
    trade(desk, PRICE)
    desk.order(BOB, m.SELL, PRICE * 12 // 10, 500)
    desk.order(BOB, m.SELL, PRICE * 11 // 10, 300)
    placed = desk.order(ALICE, m.BUY, PRICE * 12 // 10, 1_000)
    assert isinstance(placed, m.OrderPlaced)
    assert [fill.price for fill in placed.fills] == [PRICE * 11 // 10]  # ten percent is allowed, twenty are not
    (changed,) = [event for event in desk.events if isinstance(event, m.MarketStatusChanged)]
    market = desk.engine.markets[1]
    assert (market.status, changed.until_us) == (m.AUCTION, market.until_us)
    assert market.book.is_crossed()
    assert desk.order(BOB, m.SELL, 0, 10, order_type=m.MARKET, time_in_force=m.IOC) == m.Rejected(m.MARKET_CLOSED)
    assert isinstance(desk.order(BOB, m.SELL, PRICE * 115 // 100, 100), m.OrderPlaced)
    assert not [event for event in desk.events if isinstance(event, m.Traded)]
    restored = Replica()
    restored.engine = desk.engine
    restored = Replica.restore(restored.snapshot())
    engine = restored.engine
    _, events = engine.apply(engine.sequence + 1, changed.until_us - 1, m.CancelAll(1, 1))
    assert events == []
    _, events = engine.apply(engine.sequence + 1, changed.until_us, m.CancelAll(1, 1))
    trades = [event for event in events if isinstance(event, m.Traded)]
    assert [(each.price, each.lots) for each in trades] == [(PRICE * 12 // 10, 100), (PRICE * 12 // 10, 500)]
    assert (engine.markets[1].status, engine.markets[1].book.is_crossed()) == (m.TRADING, False)
    check_conservation(engine)


def test_all_markets_are_halted_at_once_and_a_crossed_book_never_trades_on_uncrossed(desk: Desk) -> None:
    assert desk.do(m.SetMarketStatus(m.ALL_MARKETS, m.AUCTION)) == m.Done()
    desk.order(ALICE, m.SELL, PRICE, 1_000)
    desk.order(BOB, m.BUY, PRICE + 100, 400)
    assert desk.do(m.SetMarketStatus(m.ALL_MARKETS, m.HALT)) == m.Done()
    assert {market.status for market in desk.engine.markets.values()} == {m.HALT}
    assert desk.do(m.CancelAll(ALICE, 1)) == m.Rejected(m.MARKET_CLOSED)
    assert desk.do(m.SetMarketStatus(1, m.TRADING)) == m.Done()
    assert [event.lots for event in desk.events if isinstance(event, m.Traded)] == [400]
    assert not desk.engine.markets[1].book.is_crossed()


def test_bands_refer_to_the_reference_price_until_it_is_stale(desk: Desk) -> None:
    trade(desk, PRICE)
    engine = desk.engine
    assert desk.do(m.SetReferencePrice(1, PRICE * 10)) == m.Done()

    def place(time_us: int) -> m.Reply:
        desk.clients += 1
        order = m.PlaceOrder(ALICE, 1, m.BUY, m.LIMIT, m.GTC, PRICE, 100, 0, f"band{desk.clients}")
        return engine.apply(engine.sequence + 1, time_us, order)[0]

    last = engine.time_us + engine.markets[1].spec.reference_age_us
    assert place(last) == m.Rejected(m.PRICE_BAND)
    assert isinstance(place(last + 1), m.OrderPlaced)


def test_a_position_is_bounded_whatever_an_account_has_or_is_buying(desk: Desk) -> None:
    spec = msgspec.structs.replace(CONFIGURE.markets[0], max_position=1000 * COIN + 2_000_000)  # 2,000 lots more
    assert desk.do(m.Configure(CONFIGURE.assets, [spec], CONFIGURE.tiers, m.RULES_2)) == m.Done()
    assert isinstance(desk.order(ALICE, m.BUY, PRICE, 1_500), m.OrderPlaced)
    assert desk.order(ALICE, m.BUY, PRICE, 501) == m.Rejected(m.POSITION_LIMIT)
    assert isinstance(desk.order(ALICE, m.BUY, PRICE, 500), m.OrderPlaced)
    desk.do(m.CancelAll(ALICE, 1))
    assert isinstance(desk.order(ALICE, m.BUY, PRICE, 2_000), m.OrderPlaced)


# ---- fees and withdrawals --------------------------------------------------------------------------------------------


def test_a_maker_gets_its_rebate_out_of_the_takers_fee(desk: Desk) -> None:
    tiers = [m.TierSpec(1, -300, 1000, 1)]
    everyone = [msgspec.structs.replace(tier, maker_ppm=max(0, tier.maker_ppm)) for tier in CONFIGURE.tiers[1:]]
    assert desk.do(m.Configure([], [], [*tiers, *everyone], m.RULES_2)) == m.Done()
    desk.order(ALICE, m.BUY, PRICE, 1_000)
    before = desk.balance(ALICE, USDT)[0]
    placed = desk.order(BOB, m.SELL, PRICE, 1_000)
    assert isinstance(placed, m.OrderPlaced)
    worth = PRICE * 1_000 * 10
    assert (placed.fills[0].fee, placed.fills[0].fee_asset) == (worth // 1000, USDT)
    assert desk.balance(ALICE, USDT)[0] - before == worth * 300 // 10**6
    assert desk.balance(m.FEE_ACCOUNT, USDT)[0] == worth * 700 // 10**6
    assert desk.balance(ALICE, BTC)[0] == 1000 * COIN + 1_000_000
    refused = desk.do(m.Configure([], [], [m.TierSpec(2, 0, 299, 1)], m.RULES_2))
    assert refused == m.Rejected(m.BAD_CATALOGUE, "tiers: a maker gets 300 ppm back, so no taker may pay less")
    check_conservation(desk.engine)


def test_fees_are_paid_in_the_chosen_asset_while_it_lasts(desk: Desk) -> None:
    assert desk.do(m.SetAccountOptions(BOB, fee_asset=USDT)) == m.Done()
    desk.order(ALICE, m.SELL, PRICE, 2_000)
    placed = desk.order(BOB, m.BUY, PRICE, 1_000)
    assert isinstance(placed, m.OrderPlaced)
    assert (placed.fills[0].fee, placed.fills[0].fee_asset) == (PRICE * 1_000 * 10 // 1000, USDT)
    free, _ = desk.balance(BOB, USDT)
    assert desk.do(m.HoldFunds(BOB, USDT, free - PRICE * 1_000 * 10, "leaves just the price")) == m.Done()
    placed = desk.order(BOB, m.BUY, PRICE, 1_000)
    assert isinstance(placed, m.OrderPlaced)
    assert (placed.fills[0].fee, placed.fills[0].fee_asset) == (1_000, BTC)
    check_conservation(desk.engine)


def test_a_withdrawal_is_held_then_settled_or_released_once(desk: Desk) -> None:
    assert desk.do(m.HoldFunds(ALICE, USDT, 1001 * COIN, "w1")) == m.Rejected(m.INSUFFICIENT_BALANCE)
    assert desk.do(m.HoldFunds(ALICE, USDT, 10 * COIN, "w1")) == m.Done()
    assert desk.balance(ALICE, USDT) == (990 * COIN, 10 * COIN)
    assert desk.do(m.HoldFunds(ALICE, USDT, 1, "w1")) == m.Rejected(m.DUPLICATE_TRANSFER)
    assert desk.do(m.Deposit(ALICE, USDT, 1, "w1")) == m.Rejected(m.DUPLICATE_TRANSFER)
    assert desk.do(m.SettleHold("w1", COIN)) == m.Done()
    assert [type(event).__name__ for event in desk.events][:3] == ["HoldChanged", "Transferred", "FeeCharged"]
    assert desk.balance(ALICE, USDT) == (990 * COIN, 0)
    assert desk.balance(m.FEE_ACCOUNT, USDT) == (COIN, 0)
    assert desk.balance(m.EXTERNAL_ACCOUNT, USDT) == (-1991 * COIN, 0)
    for again in (m.SettleHold("w1", 0), m.ReleaseHold("w1")):
        assert desk.do(again) == m.Rejected(m.UNKNOWN_HOLD)
    assert desk.do(m.HoldFunds(ALICE, USDT, 10 * COIN, "w2")) == m.Done()
    assert desk.do(m.ReleaseHold("w2")) == m.Done()
    assert desk.balance(ALICE, USDT) == (990 * COIN, 0)
    check_conservation(desk.engine)


@pytest.mark.parametrize("what", ["free", "held"])
def test_a_state_whose_money_does_not_add_up_cannot_be_snapshot(desk: Desk, what: str) -> None:
    replica = Replica()
    replica.engine = desk.engine
    desk.order(ALICE, m.BUY, PRICE, 1_000)
    replica.snapshot()
    holding = desk.engine.accounts.accounts[ALICE].holding(USDT)
    setattr(holding, what, getattr(holding, what) + 1)
    if what == "held":
        holding.free -= 1
    with pytest.raises(ConservationError, match="asset 3"):
        replica.snapshot()

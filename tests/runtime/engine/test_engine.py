"""What an order does to money and to the book, by example and on random streams."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.engine.audit import check_conservation
from runtime.engine.engine import Engine
from runtime.engine.replica import Replica
from runtime.shared import messages as m
from tests.runtime.engine.flows import CONFIGURE, entries, opening, random_commands, totals

BTC, ETH, USDT, IDR = 1, 2, 3, 4
ALICE, BOB = 1000, 1001
COIN = 10**8


class Desk:
    """An engine with two funded accounts of the standard tier, and short words for what they do."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.events: list[m.Event] = []
        self.clients = 0
        for command in (
            CONFIGURE,
            m.OpenAccount("alice", 1),
            m.OpenAccount("bob", 1),
            *(m.Deposit(a, x, 1000 * COIN, f"{a}{x}") for a in (ALICE, BOB) for x in (BTC, USDT)),
        ):
            assert not isinstance(self.do(command), m.Rejected)

    def do(self, command: m.Command) -> m.Reply:
        reply, self.events = self.engine.apply(self.engine.sequence + 1, 1_000 * self.engine.sequence, command)
        return reply

    def order(self, account: int, side: int, price: int, lots: int, **other: object) -> m.Reply:
        self.clients += 1
        fields = {"order_type": m.LIMIT, "time_in_force": m.GTC, "quote_amount": 0, "stp": m.STP_EXPIRE_MAKER}
        fields |= {"client_order_id": f"id{self.clients}"} | other
        return self.do(m.PlaceOrder(account, 1, side, price=price, lots=lots, **fields))  # type: ignore[arg-type]

    def balance(self, account: int, asset: int) -> tuple[int, int]:
        holding = self.engine.accounts.accounts[account].holding(asset)
        return holding.free, holding.held


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_resting_order_holds_and_a_cancel_frees(desk: Desk) -> None:
    placed = desk.order(ALICE, m.BUY, 6_000_000, 100_000)  # 1 BTC at 60,000 USDT is more than the 1,000 there are
    assert placed == m.Rejected(m.INSUFFICIENT_BALANCE)
    placed = desk.order(ALICE, m.BUY, 6_000_000, 1_000)  # 0.01 BTC
    assert isinstance(placed, m.OrderPlaced)
    assert placed.order.status == m.NEW
    assert desk.balance(ALICE, USDT) == (400 * COIN, 600 * COIN)
    assert [type(event) for event in desk.events] == [m.OrderChanged, m.LevelChanged, m.BalanceChanged]
    canceled = desk.do(m.CancelOrder(ALICE, 1, placed.order.order_id, "", "x"))
    assert isinstance(canceled, m.OrdersCanceled)
    assert desk.balance(ALICE, USDT) == (1000 * COIN, 0)
    assert desk.do(m.CancelOrder(ALICE, 1, placed.order.order_id, "", "x")) == m.Rejected(m.UNKNOWN_ORDER)


def test_a_match_settles_at_the_makers_price_less_fees(desk: Desk) -> None:
    desk.order(ALICE, m.SELL, 6_000_000, 1_000)
    placed = desk.order(BOB, m.BUY, 6_100_000, 1_500)
    assert isinstance(placed, m.OrderPlaced)
    assert placed.order.status == m.PARTIALLY_FILLED
    assert placed.fills == [m.Fill(1, 6_000_000, 1_000, 1_000, BTC)]  # 0.1 % of 0.01 BTC
    assert desk.balance(BOB, BTC) == (1000 * COIN + 1_000_000 - 1_000, 0)
    assert desk.balance(BOB, USDT) == (1000 * COIN - 600 * COIN - 305 * COIN, 305 * COIN)
    assert desk.balance(ALICE, USDT) == (1000 * COIN + 600 * COIN - COIN * 6 // 10, 0)
    assert desk.balance(m.FEE_ACCOUNT, USDT) == (COIN * 6 // 10, 0)
    assert [type(event).__name__ for event in desk.events][:4] == [
        "OrderChanged",
        "Traded",
        "OrderChanged",
        "OrderChanged",
    ]
    levels = [event for event in desk.events if isinstance(event, m.LevelChanged)]
    assert [(level.update_id, level.side, level.price, level.lots) for level in levels] == [
        (2, m.SELL, 6_000_000, 0),
        (3, m.BUY, 6_100_000, 500),
    ]


def test_immediate_or_cancel_fill_or_kill_and_post_only(desk: Desk) -> None:
    desk.order(ALICE, m.SELL, 6_000_000, 1_000)
    killed = desk.order(BOB, m.BUY, 6_000_000, 1_001, time_in_force=m.FOK)
    assert isinstance(killed, m.OrderPlaced)
    assert (killed.order.status, killed.order.expiry) == (m.EXPIRED, m.UNFILLED_FOK_ORDER_EXPIRED)
    assert killed.fills == []
    assert desk.order(BOB, m.BUY, 6_000_000, 10, order_type=m.LIMIT_MAKER) == m.Rejected(m.WOULD_MATCH)
    partly = desk.order(BOB, m.BUY, 6_000_000, 1_500, time_in_force=m.IOC)
    assert isinstance(partly, m.OrderPlaced)
    assert (partly.order.status, partly.order.executed_lots) == (m.EXPIRED, 1_000)
    assert partly.order.expiry == m.UNFILLED_IOC_QUANTITY_EXPIRED
    assert desk.balance(BOB, USDT) == (400 * COIN, 0)


def test_market_orders_by_quantity_and_by_amount(desk: Desk) -> None:
    desk.order(ALICE, m.SELL, 6_000_000, 1_000)
    desk.order(ALICE, m.SELL, 6_200_000, 1_000)
    market = {"order_type": m.MARKET, "time_in_force": m.IOC}
    bought = desk.order(BOB, m.BUY, 0, 500, **market)
    assert isinstance(bought, m.OrderPlaced)
    assert (bought.order.status, bought.order.executed_quote) == (m.FILLED, 300 * COIN)
    by_amount = desk.order(BOB, m.BUY, 0, 0, quote_amount=310 * COIN, **market)
    assert isinstance(by_amount, m.OrderPlaced)
    assert (by_amount.order.status, by_amount.order.lots) == (m.FILLED, 516)  # 500 at 60,000, then 16 of 16.1 at 62,000
    assert desk.balance(BOB, USDT) == (1000 * COIN - 300 * COIN - 300 * COIN - 992 * COIN // 100, 0)
    swept = desk.order(BOB, m.BUY, 0, 0, quote_amount=380 * COIN, **market)
    assert isinstance(swept, m.OrderPlaced)
    assert swept.order.status == m.FILLED
    dry = desk.order(BOB, m.SELL, 0, 500, **market)
    assert isinstance(dry, m.OrderPlaced)
    assert (dry.order.status, dry.order.expiry) == (m.EXPIRED, m.INSUFFICIENT_LIQUIDITY)


@pytest.mark.parametrize(
    ("stp", "executed"), [(m.STP_NONE, 200), (m.STP_EXPIRE_MAKER, 200), (m.STP_EXPIRE_TAKER, 0), (m.STP_EXPIRE_BOTH, 0)]
)
def test_fill_or_kill_is_all_or_nothing_whatever_self_trade_prevention_does(
    desk: Desk, stp: int, executed: int
) -> None:
    desk.order(BOB, m.SELL, 6_000_000, 100)
    desk.order(ALICE, m.SELL, 6_000_000, 100)
    desk.order(BOB, m.SELL, 6_000_000, 100)
    placed = desk.order(ALICE, m.BUY, 6_000_000, 200, time_in_force=m.FOK, stp=stp)
    assert isinstance(placed, m.OrderPlaced)
    assert placed.order.executed_lots == executed
    assert sum(fill.lots for fill in placed.fills) == executed


def test_an_amount_that_buys_exactly_the_whole_book_is_filled(desk: Desk) -> None:
    desk.order(ALICE, m.SELL, 6_000_000, 1_000)
    market = {"order_type": m.MARKET, "time_in_force": m.IOC}
    placed = desk.order(BOB, m.BUY, 0, 0, quote_amount=600 * COIN, **market)
    assert isinstance(placed, m.OrderPlaced)
    assert (placed.order.status, placed.order.executed_quote) == (m.FILLED, 600 * COIN)


@pytest.mark.parametrize("side", [m.BUY, m.SELL])
def test_a_market_order_without_funds_is_refused_and_leaves_no_trace(desk: Desk, side: int) -> None:
    desk.order(ALICE, m.SELL, 6_000_000, 1_000)
    desk.order(ALICE, m.BUY, 5_000_000, 1_000)
    desk.do(m.OpenAccount("carol", 1))
    for size in ({"lots": 500}, {"lots": 0, "quote_amount": 50 * COIN}):
        command = m.PlaceOrder(1002, 1, side, m.MARKET, m.IOC, 0, client_order_id="c", **({"quote_amount": 0} | size))
        assert desk.do(command) == m.Rejected(m.INSUFFICIENT_BALANCE)
    assert desk.engine.accounts.accounts[1002].holdings == {}


@pytest.mark.parametrize("text", ["", "a\0b", "a\nb", "x" * 200])
def test_texts_that_no_store_can_hold_are_refused(desk: Desk, text: str) -> None:
    assert isinstance(desk.do(m.OpenAccount(text, 1)), m.Rejected)
    assert isinstance(desk.do(m.Deposit(ALICE, BTC, 1, text)), m.Rejected)
    assert isinstance(desk.order(ALICE, m.SELL, 6_000_000, 1_000, client_order_id=text), m.Rejected)


@pytest.mark.parametrize(
    "change",
    [{"quote_units": 0}, {"lot_units": -1}, {"base": 3, "quote": 3}, {"id": 2**40}, {"min_lots": 9, "max_lots": 8}],
)
def test_an_unsound_market_is_refused(change: dict) -> None:
    fields = {field: getattr(CONFIGURE.markets[0], field) for field in CONFIGURE.markets[0].__struct_fields__}
    unsound = m.MarketSpec(**(fields | change))
    reply, _ = Engine().apply(1, 1, m.Configure(CONFIGURE.assets, [unsound], CONFIGURE.tiers, m.RULES_NEWEST))
    assert isinstance(reply, m.Rejected)


@pytest.mark.parametrize(
    ("stp", "maker", "taker"),
    [
        (m.STP_NONE, m.FILLED, m.FILLED),
        (m.STP_EXPIRE_MAKER, m.EXPIRED_IN_MATCH, m.NEW),
        (m.STP_EXPIRE_TAKER, m.NEW, m.EXPIRED_IN_MATCH),
        (m.STP_EXPIRE_BOTH, m.EXPIRED_IN_MATCH, m.EXPIRED_IN_MATCH),
    ],
)
def test_self_trade_prevention(desk: Desk, stp: int, maker: int, taker: int) -> None:
    resting = desk.order(ALICE, m.SELL, 6_000_000, 1_000)
    assert isinstance(resting, m.OrderPlaced)
    placed = desk.order(ALICE, m.BUY, 6_000_000, 1_000, stp=stp)
    assert isinstance(placed, m.OrderPlaced)
    assert placed.order.status == taker
    reports = {event.order.order_id: event.order.status for event in desk.events if isinstance(event, m.OrderChanged)}
    assert reports.get(resting.order.order_id, m.NEW) == maker


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"price": 0}, m.BAD_PRICE),
        ({"price": 10**9}, m.BAD_PRICE),
        ({"lots": 0}, m.BAD_QUANTITY),
        ({"lots": -1}, m.BAD_QUANTITY),
        ({"lots": 2**60}, m.BAD_QUANTITY),
        ({"lots": 1}, m.BAD_NOTIONAL),
        ({"account": 77}, m.UNKNOWN_ACCOUNT),
        ({"account": m.FEE_ACCOUNT}, m.UNKNOWN_ACCOUNT),
        ({"market": 9}, m.UNKNOWN_MARKET),
        ({"order_type": 9}, m.NOT_SUPPORTED),
        ({"side": 2}, m.NOT_SUPPORTED),
        ({"client_order_id": ""}, m.NOT_SUPPORTED),
        ({"order_type": m.MARKET, "price": 0, "lots": 2**60}, m.BAD_MARKET_QUANTITY),
        ({"order_type": m.MARKET, "price": 0, "lots": 0, "quote_amount": -5}, m.BAD_NOTIONAL),
    ],
)
def test_bad_orders_are_refused_and_change_nothing(desk: Desk, change: dict, reason: int) -> None:
    good = {"account": ALICE, "market": 1, "side": m.BUY, "order_type": m.LIMIT, "time_in_force": m.GTC}
    good |= {"price": 6_000_000, "lots": 1_000, "quote_amount": 0, "client_order_id": "x"}
    reply = desk.do(m.PlaceOrder(**(good | change)))
    assert isinstance(reply, m.Rejected)
    assert reply.reason == reason
    assert desk.events == []
    assert desk.balance(ALICE, USDT) == (1000 * COIN, 0)


def test_price_band_halt_and_cancel_only(desk: Desk) -> None:
    desk.order(ALICE, m.SELL, 6_000_000, 1_000)
    order = desk.order(BOB, m.BUY, 6_000_000, 500)
    assert isinstance(order, m.OrderPlaced)
    assert desk.order(BOB, m.BUY, 6_000_000 // 5 - 1, 1_000) == m.Rejected(m.PRICE_BAND)
    assert not isinstance(desk.order(BOB, m.BUY, 6_000_000 // 5, 1_000), m.Rejected)
    desk.do(m.SetMarketStatus(1, m.CANCEL_ONLY))
    assert desk.order(BOB, m.BUY, 6_000_000, 100) == m.Rejected(m.MARKET_CLOSED)
    assert isinstance(desk.do(m.CancelAll(BOB, 1)), m.OrdersCanceled)
    desk.do(m.SetMarketStatus(1, m.HALT))
    assert desk.do(m.CancelAll(ALICE, 1)) == m.Rejected(m.MARKET_CLOSED)


def test_duplicate_client_ids_and_deposits(desk: Desk) -> None:
    desk.order(ALICE, m.SELL, 6_000_000, 1_000, client_order_id="same")
    assert desk.order(ALICE, m.SELL, 6_000_000, 1_000, client_order_id="same") == m.Rejected(m.DUPLICATE_ORDER)
    assert not isinstance(desk.order(BOB, m.SELL, 6_000_000, 1_000, client_order_id="same"), m.Rejected)
    desk.do(m.CancelOrder(ALICE, 1, 0, "same", "x"))
    assert not isinstance(desk.order(ALICE, m.SELL, 6_000_000, 1_000, client_order_id="same"), m.Rejected)
    assert desk.do(m.Deposit(ALICE, BTC, 1, f"{ALICE}{BTC}")) == m.Rejected(m.DUPLICATE_TRANSFER)


def test_markets_cannot_change_their_scale(desk: Desk) -> None:
    spec = CONFIGURE.markets[0]
    changed = m.MarketSpec(spec.id, spec.base, spec.quote, spec.lot_units * 10, *list(_fields(spec))[4:])
    reply = desk.do(m.Configure(CONFIGURE.assets, [changed], CONFIGURE.tiers, m.RULES_NEWEST))
    assert isinstance(reply, m.Rejected)
    assert reply.reason == m.BAD_CATALOGUE


def _fields(spec: m.MarketSpec) -> list[int]:
    return [getattr(spec, field) for field in spec.__struct_fields__]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_nothing_is_created_lost_or_held_in_vain(seed: int) -> None:
    replica = Replica()
    stream = [*opening(), *random_commands(seed, 300)]
    update_ids: dict[int, int] = {}
    for entry in entries(iter(stream)):
        _, happened = replica.apply(1, entry)
        assert not any(totals(replica).values())
        for event in happened.events:
            if isinstance(event, m.LevelChanged):
                assert event.update_id == update_ids.get(event.market, 0) + 1
                update_ids[event.market] = event.update_id
    check_conservation(replica.engine)

"""Average cost in integers: nothing is lost, against exact fractions, and equal to the engine's own balances."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from config.markets import CATALOGUE
from runtime.engine.engine import Engine
from runtime.ledger.projection import project
from runtime.portfolio.holdings import FEE, PPM, TRADE, TRANSFER, Holding, Line, Portfolio, allocation
from runtime.shared.messages import Command
from tests.runtime.ledger.feeds import ANA, BUDI, commands, funded_feed

BTC, ETH, USDT, IDR = (CATALOGUE.asset(name).id for name in ("BTC", "ETH", "USDT", "IDR"))


def folded(*entries: list[tuple[int, int, int]]) -> Portfolio:
    """Return the portfolio after `entries`, each of (asset, amount, kind)."""
    portfolio = Portfolio(CATALOGUE)
    portfolio.take(Line(number, 0, *line) for number, entry in enumerate(entries) for line in entry)
    return portfolio


def bought(base: int, quote: int, fee: int = 0, currency: int = USDT) -> list[tuple[int, int, int]]:
    lines = [(BTC, base, TRADE), (currency, -quote, TRADE)]
    return [*lines, (BTC, -fee, FEE)] if fee else lines


def sold(base: int, quote: int, fee: int = 0, currency: int = USDT) -> list[tuple[int, int, int]]:
    lines = [(BTC, -base, TRADE), (currency, quote, TRADE)]
    return [*lines, (currency, -fee, FEE)] if fee else lines


def test_a_sale_realizes_proceeds_after_fee_over_average_cost() -> None:
    held = folded([(USDT, 10_000, TRANSFER)], bought(10, 1000), bought(10, 2000), sold(5, 1000, fee=10)).holding(BTC)
    assert held.quantity == 15
    assert (held.pools[USDT].quantity, held.pools[USDT].cost, held.pools[USDT].realized) == (15, 2250, 990 - 750)


def test_a_fee_in_what_was_bought_makes_the_rest_dearer() -> None:
    held = folded([(USDT, 1000, TRANSFER)], bought(10, 1000, fee=2)).holding(BTC)
    assert (held.quantity, held.pools[USDT].cost, held.fees) == (8, 1000, 2)


def test_each_currency_has_its_own_cost_and_what_came_by_transfer_has_none() -> None:
    book = folded([(BTC, 4, TRANSFER), (USDT, 500, TRANSFER), (IDR, 900, TRANSFER)], bought(5, 500))
    book.take([Line(9, 0, *line) for line in bought(3, 900, currency=IDR)])
    book.take([Line(10, 0, *line) for line in sold(8, 1600)])
    held = book.holding(BTC)
    assert held.quantity == 4
    assert held.uncosted == 1
    assert held.pools[USDT].realized == 1600 * 5 // 8 - 500, "only the part that was bought for this currency"
    assert (held.pools[IDR].quantity, held.pools[IDR].cost) == (3, 900)
    book.take([Line(11, 0, BTC, -2, TRANSFER)])
    assert (held.uncosted, held.pools[IDR].quantity, held.pools[IDR].cost) == (0, 2, 600)
    assert (held.transfers_in, held.transfers_out, held.trades_in, held.trades_out) == (4, 2, 8, 8)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 10**9), st.integers(1, 10**15)), max_size=40))
def test_no_unit_is_lost_and_cost_stays_at_the_exact_average(deals: list[tuple[bool, int, int]]) -> None:
    entries, exact_quantity, exact_cost, paid, sales = [[(USDT, 10**18, TRANSFER)]], 0, Fraction(0), 0, 0
    for is_sale, base, quote in deals:
        if is_sale:
            base = min(base, exact_quantity)  # noqa: PLW2901 - nobody sells what he has not
            if not base:
                continue
            exact_cost -= exact_cost * base / exact_quantity
            exact_quantity, paid, sales = exact_quantity - base, paid - quote, sales + 1
            entries.append(sold(base, quote))
        else:
            exact_quantity, exact_cost, paid = exact_quantity + base, exact_cost + quote, paid + quote
            entries.append(bought(base, quote))
    held = folded(*entries).holding(BTC)
    pool = held.pools.get(USDT)
    if pool is None:
        assert not paid
        return
    assert (held.quantity, pool.quantity, held.uncosted) == (exact_quantity, exact_quantity, 0)
    assert paid == pool.cost - pool.realized, "what was paid is either still held or realized"
    assert 0 <= pool.cost - exact_cost <= sales, "each sale rounds by less than one unit"


@given(commands())
def test_holdings_equal_the_balances_of_the_engine(made: list[Command]) -> None:
    feed = funded_feed()
    for command in made:
        feed.do(command)
    assert isinstance(feed.engine, Engine)
    postings = project(feed.happened, 0, {}).postings
    for account in (ANA, BUDI):
        book = Portfolio(CATALOGUE)
        book.take(
            Line(line.sequence, line.event, line.asset, line.amount, line.kind)
            for line in postings
            if line.account == account
        )
        found = {(account, asset): holding.quantity for asset, holding in book.holdings.items() if holding.quantity}
        expected = {
            key: free + held for key, (free, held) in feed.balances().items() if key[0] == account and free + held
        }
        assert found == expected
        for holding in book.holdings.values():
            assert holding.uncosted >= 0
            assert all(pool.cost >= 0 and (pool.quantity or not pool.cost) for pool in holding.pools.values())


@given(st.dictionaries(st.sampled_from((BTC, ETH, USDT, IDR)), st.integers(0, 10**15)), st.integers(1, 10**8))
def test_shares_make_one_whole(quantities: dict[int, int], price: int) -> None:
    shares = allocation(quantities, {1: price}, "USDT", CATALOGUE)
    assert {share.asset for share in shares} <= {BTC, USDT}, "ether has no price, and rupiah no market in tether"
    assert sum(share.share_ppm for share in shares) == (PPM if shares else 0)
    market = CATALOGUE.market_by_id[1]
    spec = CATALOGUE.spec(market)
    for share in shares:
        unit = spec.quote_units * price if share.asset == BTC else spec.lot_units
        assert share.value == quantities[share.asset] * unit // spec.lot_units


def test_a_holding_that_was_never_traded_is_empty() -> None:
    assert Holding().uncosted == 0
    assert allocation({}, {}, "IDR", CATALOGUE) == []

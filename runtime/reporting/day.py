"""The reports of one business day, from what the ledger holds of it. Pure.

Money is exact: integers of the smallest unit inside, decimal text in the files. Control totals are integers, so that
they can be compared with the ledger's postings to the last unit.

Errors:
    OutOfBalanceError  trades and postings of the day do not tell the same; nothing is filed
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final, NamedTuple

from runtime.reporting.files import Report, report
from runtime.shared.business_day import text_of
from runtime.shared.catalogue import Asset, Catalogue, Market
from runtime.shared.money import format_decimal

TRADE_COLUMNS: Final = (
    "symbol trade_id time taker_side price volume value buyer buy_order buyer_fee buyer_fee_asset"
    " seller sell_order seller_fee seller_fee_asset sequence"
)
TAX_NUMERATOR: Final = 21
TAX_DENOMINATOR: Final = 10_000
"""Final income tax on a sale: 0.21 % of its value (PMK 50/2025, Article 12(1))."""


class OutOfBalanceError(RuntimeError):
    """What was traded and what was posted differ."""


class DayTrade(NamedTuple):
    """A trade as the ledger holds it, in its integers."""

    market: int
    trade_id: int
    price: int
    lots: int
    buyer_is_maker: bool
    buy_order_id: int
    sell_order_id: int
    buyer: int
    seller: int
    buyer_fee: int
    seller_fee: int
    time_us: int
    sequence: int
    buyer_fee_asset: int
    """Below 0: what the buyer received."""
    seller_fee_asset: int


class GroupTransfer(NamedTuple):
    """What passed between two accounts of one group when their orders met: no trade, and no sale."""

    market: int
    price: int
    lots: int


class Sums(NamedTuple):
    """What the day's postings of trades add up to, by asset: credits of trades, and what the house took in fees."""

    moved: Mapping[int, int]
    fees: Mapping[int, int]


class Day(NamedTuple):
    """Everything the reports of one day are made of."""

    day: date
    trades: Sequence[DayTrade]
    transfers: Sequence[GroupTransfer]
    posted: Sums
    cases: Sequence[Mapping[str, Any]]


def tax_due(value: int) -> int:
    """Return the tax on sales of `value`, both in the smallest unit, rounded down.

    Never more than the rate is withheld; the official rounding is not confirmed to us.
    """
    return value * TAX_NUMERATOR // TAX_DENOMINATOR


def reports(day: Day, catalogue: Catalogue) -> list[Report]:
    """Return the reports of `day`. Raises OutOfBalanceError when its trades and its postings contradict each other."""
    refuse_imbalance(day, catalogue)
    return [trade_report(day, catalogue), tax_report(day, catalogue), suspicious_transactions(day, catalogue)]


def refuse_imbalance(day: Day, catalogue: Catalogue) -> None:
    """Raise OutOfBalanceError unless the trades add up, asset by asset, to what was posted for them."""
    moved, fees = Counter[int](), Counter[int]()
    passing: list[DayTrade | GroupTransfer] = [*day.trades, *day.transfers]
    for passed in passing:
        market = catalogue.market_by_id[passed.market]
        moved[catalogue.asset(market.base).id] += _base_units(passed, market, catalogue)
        moved[catalogue.asset(market.quote).id] += _quote_units(passed, market, catalogue)
    for trade in day.trades:
        buyer_asset, seller_asset = _fee_assets(trade, catalogue)
        fees[buyer_asset.id] += trade.buyer_fee
        fees[seller_asset.id] += trade.seller_fee
    for what, traded, posted in (("moved", moved, day.posted.moved), ("taken as fees", fees, day.posted.fees)):
        for asset in sorted(traded.keys() | posted.keys()):
            if traded[asset] != posted.get(asset, 0):
                raise OutOfBalanceError(
                    f"{day.day}: {traded[asset]} units of asset {asset} were {what} by trades, "
                    f"{posted.get(asset, 0)} by postings; nothing is filed until that is explained"
                )


def trade_report(day: Day, catalogue: Catalogue) -> Report:
    """Return every execution of the day: price, volume, exact time, side and both accounts."""
    totals = Counter[str]()

    def rows() -> Iterable[Sequence[Any]]:
        for trade in sorted(day.trades, key=lambda trade: (trade.sequence, trade.market, trade.trade_id)):
            market = catalogue.market_by_id[trade.market]
            base, quote = catalogue.asset(market.base), catalogue.asset(market.quote)
            volume, value = _base_units(trade, market, catalogue), _quote_units(trade, market, catalogue)
            buyer_asset, seller_asset = _fee_assets(trade, catalogue)
            for name, amount in (
                (f"{market.symbol} trades", 1),
                (f"{market.symbol} volume", volume),
                (f"{market.symbol} value", value),
                (f"{buyer_asset.name} fees", trade.buyer_fee),
                (f"{seller_asset.name} fees", trade.seller_fee),
            ):
                totals[name] += amount
            yield (
                market.symbol,
                trade.trade_id,
                text_of(trade.time_us),
                "SELL" if trade.buyer_is_maker else "BUY",
                market.price_text(trade.price),
                format_decimal(volume, base.decimals),
                format_decimal(value, quote.decimals),
                trade.buyer,
                trade.buy_order_id,
                format_decimal(trade.buyer_fee, buyer_asset.decimals),
                buyer_asset.name,
                trade.seller,
                trade.sell_order_id,
                format_decimal(trade.seller_fee, seller_asset.decimals),
                seller_asset.name,
                trade.sequence,
            )

    lines = list(rows())
    return report("trades", day.day, TRADE_COLUMNS.split(), lines, totals)


def tax_report(day: Day, catalogue: Catalogue) -> Report:
    """Return what is to be withheld of each seller's sales of the day, in the asset they were paid in.

    A sale against an asset that is no money is listed in that asset: its value in rupiah takes an official rate, which
    this project does not have. The engine does not withhold yet: these are amounts due.
    """
    sales = Counter[tuple[int, int]]()
    for trade in day.trades:
        market = catalogue.market_by_id[trade.market]
        sales[trade.seller, catalogue.asset(market.quote).id] += _quote_units(trade, market, catalogue)
    totals, rows = Counter[str](), []
    for (seller, asset_id), value in sorted(sales.items()):
        asset = catalogue.asset_by_id[asset_id]
        tax = tax_due(value)
        totals[f"{asset.name} sales"] += value
        totals[f"{asset.name} tax"] += tax
        rows.append(
            (
                seller,
                asset.name,
                "IDR" if asset.name == "IDR" else "needs a rate",
                format_decimal(value, asset.decimals),
                "0.0021",
                format_decimal(tax, asset.decimals),
            )
        )
    return report("tax", day.day, ("seller", "asset", "currency", "sales", "rate", "tax"), rows, totals)


def suspicious_transactions(day: Day, catalogue: Catalogue) -> Report:
    """Return the cases that a person decided, on that day, to report. The three working days for it are unconfirmed."""
    columns = ("case_id", "kind", "symbol", "accounts", "opened", "decided", "decided_by", "reason")
    rows = [
        (
            case["case_id"],
            case["kind"],
            catalogue.market_by_id[int(case["market"])].symbol,
            " ".join(str(account) for account in case["accounts"]),
            text_of(int(case["opened_us"])),
            text_of(int(case["decided_us"])),
            case["decided_by"],
            case["reason"],
        )
        for case in day.cases
    ]
    return report("suspicious-transactions", day.day, columns, rows, {"cases": len(rows)})


def _fee_assets(trade: DayTrade, catalogue: Catalogue) -> tuple[Asset, Asset]:
    """Return what buyer and seller paid their fees in."""
    market = catalogue.market_by_id[trade.market]
    buyer, seller = trade.buyer_fee_asset, trade.seller_fee_asset
    return (
        catalogue.asset(market.base) if buyer < 0 else catalogue.asset_by_id[buyer],
        catalogue.asset(market.quote) if seller < 0 else catalogue.asset_by_id[seller],
    )


def _base_units(trade: DayTrade | GroupTransfer, market: Market, catalogue: Catalogue) -> int:
    return trade.lots * catalogue.spec(market).lot_units


def _quote_units(trade: DayTrade | GroupTransfer, market: Market, catalogue: Catalogue) -> int:
    return trade.price * trade.lots * catalogue.spec(market).quote_units

"""What the business measures of trading: each number once, as an expression over the view `trades`. Pure.

Expressions are standard SQL over the columns of `TradeRecord`, in the engine's integers: prices in ticks, sizes in
lots, shares in parts per million. A dashboard, a report and a question by hand all take the number from here.
"""

from typing import Final, Literal, NamedTuple


class Metric(NamedTuple):
    """One number for a market and a day."""

    name: str
    """Its column."""
    title: str
    unit: str
    expression: str


METRICS: Final = (
    Metric("trades", "Trades", "trades", "count(*)"),
    Metric("lots", "Volume", "lots", "sum(lots)"),
    Metric("turnover", "Turnover", "ticks times lots", "sum(CAST(price_ticks AS decimal(38, 0)) * lots)"),
    Metric("buyers", "Accounts that bought", "accounts", "count(DISTINCT buyer)"),
    Metric("sellers", "Accounts that sold", "accounts", "count(DISTINCT seller)"),
    Metric(
        "takers_bought_ppm",
        "Volume whose taker bought",
        "parts per million",
        "sum(CASE WHEN buyer_is_maker THEN 0 ELSE lots END) * 1000000 / sum(lots)",
    ),
    Metric(
        "range_ppm",
        "Lowest to highest price",
        "parts per million of the lowest",
        "(max(price_ticks) - min(price_ticks)) * 1000000 / min(price_ticks)",
    ),
    Metric(
        "self_trades", "Trades of an account with itself", "trades", "sum(CASE WHEN buyer = seller THEN 1 ELSE 0 END)"
    ),
)
DIMENSIONS: Final[tuple[tuple[str, Literal["DATETIME", "STRING"], str], ...]] = (
    ("day", "DATETIME", "date_trunc('day', from_unixtime(time_us / 1000000))"),
    ("symbol", "STRING", "symbol"),
)
"""By what numbers are told apart: column, type, expression. Days are in UTC."""


def daily_query() -> str:
    """Return the query of every metric, by day and market."""
    chosen = [f"{expression} AS {name}" for name, _, expression in DIMENSIONS]
    chosen += [f"{metric.expression} AS {metric.name}" for metric in METRICS]
    groups = ", ".join(str(place) for place in range(1, len(DIMENSIONS) + 1))
    return f"SELECT {', '.join(chosen)} FROM trades GROUP BY {groups}"  # noqa: S608 - names and expressions of our own

"""What market makers promised, as lines across the spread and depth of each market."""

from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from config.liquidity import QuotePromise
from config.model import Environment
from exchange_constructs.business_dashboard import WIDTH, business_graph

NOTE_HEIGHT: Final = 2


class ObligationDashboard(Construct):
    """A row for each market. The market as a whole is measured, not a single maker's quotes, and the page says so."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Create the dashboard; a market without promises has its graphs without lines."""
        super().__init__(scope, construct_id)
        dashboard = cloudwatch.Dashboard(
            self, "Obligations", dashboard_name=f"Bursa-{config.name}-Obligations", default_interval=Duration.hours(8)
        )
        dashboard.add_widgets(
            cloudwatch.TextWidget(
                markdown="Measured: the market, all quotes together. Lines: what a market maker promised of its own"
                " quotes. **Whether a maker kept its promise is not judged: the programme is not built.**",
                width=WIDTH,
                height=NOTE_HEIGHT,
            )
        )
        catalogue = config.catalogue
        for market in sorted(catalogue.markets, key=lambda market: market.symbol):
            promises = [each for each in config.liquidity.promises if each.symbol == market.symbol]
            quote = {market.symbol: 10 ** catalogue.asset(market.quote).decimals}
            depth = [_line(each, each.depth_min, f"at least, {each.uptime_percent_min} %") for each in promises]
            dashboard.add_widgets(
                business_graph(
                    f"{market.symbol}: spread, basis points",
                    "Symbol",
                    "SpreadPpm",
                    {market.symbol: 100},
                    lines=[
                        _line(each, each.spread_bips_max, f"at most, {each.uptime_percent_min} %") for each in promises
                    ],
                ),
                business_graph(
                    f"{market.symbol}: bids within 1 %, {market.quote}", "Symbol", "BidDepth", quote, lines=depth
                ),
                business_graph(
                    f"{market.symbol}: asks within 1 %, {market.quote}", "Symbol", "AskDepth", quote, lines=depth
                ),
            )


def _line(promise: QuotePromise, value: int, meaning: str) -> cloudwatch.HorizontalAnnotation:
    return cloudwatch.HorizontalAnnotation(value=value, label=f"{promise.partner}: {meaning} of the day")

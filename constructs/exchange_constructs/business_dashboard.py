"""What the business looks at: trading of each market, reserves and withdrawals of each asset."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from config.model import Environment
from runtime.reconciliation.rules import COLD, HOT, TIERS
from runtime.shared.gauges import BUSINESS

EMITTER: Final = "business_metrics"
RECONCILER: Final = "reconciliation"
"""Services that measure; the embedded format makes the service a dimension."""
WIDTH: Final = 24
HEIGHT: Final = 6


class BusinessDashboard(Construct):
    """Graphs over what `runtime.shared.gauges` writes. Amounts are shown in whole assets, shares in percent."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Create the dashboard: a row of graphs for markets, a row for assets."""
        super().__init__(scope, construct_id)
        catalogue = config.catalogue
        markets = {
            market.symbol: 10 ** catalogue.asset(market.quote).decimals
            for market in sorted(catalogue.markets, key=lambda market: market.symbol)
        }
        assets = {asset.name: 10**asset.decimals for asset in catalogue.assets}
        ones = dict.fromkeys
        out = {rule.asset: assets[rule.asset] for rule in config.withdrawals.rules}
        on_chain = {asset.name for chain in config.nodes.chains for asset in chain.assets if chain.name == "ethereum"}
        tiers = tuple(
            business_graph(
                f"{tier.title()} wallets, percent of all",
                "Asset",
                "TierShareBips",
                ones(sorted(on_chain), 100),
                service=RECONCILER,
                minutes=config.reconciliation.every_minutes,
                lines=[
                    cloudwatch.HorizontalAnnotation(value=bips / 100, label=label)
                    for of, bips, label in (
                        (HOT, config.reconciliation.hot_bips_max, "no more"),
                        (COLD, config.reconciliation.cold_bips_min, "no less"),
                    )
                    if of == tier
                ],
                more={"Tier": tier},
            )
            for tier in TIERS
        )
        rows: Sequence[Sequence[cloudwatch.IWidget]] = (
            (
                business_graph("Volume in a minute, quote asset", "Symbol", "Volume", markets),
                business_graph("Trades in a minute", "Symbol", "Trades", ones(markets, 1)),
                business_graph("Spread, basis points", "Symbol", "SpreadPpm", ones(markets, 100)),
            ),
            (
                business_graph("Bids within 1 %, quote asset", "Symbol", "BidDepth", markets),
                business_graph("Asks within 1 %, quote asset", "Symbol", "AskDepth", markets),
                business_graph("Open for trading", "Symbol", "Trading", ones(markets, 1)),
            ),
            (
                business_graph("Ledger's sum, smallest units (must be 0)", "Asset", "LedgerSum", ones(assets, 1)),
                business_graph(
                    "Reserves, percent of what customers are owed",
                    "Asset",
                    "ReservePpm",
                    ones(sorted(on_chain), 10_000),
                    service=RECONCILER,
                    minutes=config.reconciliation.every_minutes,
                ),
                business_graph(
                    "Withdrawals this hour, percent of the limit", "Asset", "WithdrawnSharePpm", ones(out, 10_000)
                ),
            ),
            tiers,
        )
        dashboard = cloudwatch.Dashboard(
            self, "Business", dashboard_name=f"Bursa-{config.name}-Business", default_interval=Duration.hours(8)
        )
        for row in rows:
            dashboard.add_widgets(*row)


def business_graph(
    title: str,
    dimension: str,
    metric: str,
    scales: Mapping[str, int],
    *,
    service: str = EMITTER,
    minutes: int = 1,
    lines: Sequence[cloudwatch.HorizontalAnnotation] = (),
    more: Mapping[str, str] = MappingProxyType({}),
) -> cloudwatch.GraphWidget:
    """Return a graph with a line for each name in `scales`, its numbers divided by the scale, and across it `lines`.

    `more` are dimensions beside `dimension` and the service.
    """
    measured = [
        cloudwatch.MathExpression(
            expression=f"m{number} / {scale}",
            label=name,
            period=Duration.minutes(minutes),
            using_metrics={
                f"m{number}": cloudwatch.Metric(
                    namespace=BUSINESS,
                    metric_name=metric,
                    dimensions_map={dimension: name, "service": service, **more},
                    statistic="Maximum",
                    period=Duration.minutes(minutes),
                )
            },
        )
        for number, (name, scale) in enumerate(scales.items())
    ]
    return cloudwatch.GraphWidget(
        title=title, left=measured, left_annotations=list(lines), width=WIDTH // 3, height=HEIGHT
    )

"""Numbers in the lines of a log group, as metrics that are watched."""

from aws_cdk import aws_logs as logs
from constructs import Construct

CHAIN = "Bursa/Chain"
AGREED_AGE = "AgreedAgeSeconds"
REVERSED = "CreditedDepositsReversed"
DISAGREED = "NodesDisagree"
PRICES = "Bursa/PriceFeed"
STOPPED = "ReferencePricesStopped"
APART = "PriceApartPpm"


class WatcherMetrics(Construct):
    """What the lines of a deposit watcher tell: how long ago its nodes agreed, and what must never happen."""

    def __init__(self, scope: Construct, construct_id: str, *, log_group: logs.ILogGroup, chain: str) -> None:
        """Read the lines of `log_group`; alarms on the metrics follow from `alarm_kinds`."""
        super().__init__(scope, construct_id)
        for name, pattern, value in (
            (AGREED_AGE, logs.FilterPattern.exists("$.agreed_age_s"), "$.agreed_age_s"),
            (REVERSED, logs.FilterPattern.string_value("$.message", "=", "deposit * has left the chain*"), "1"),
            (DISAGREED, logs.FilterPattern.string_value("$.message", "=", "nodes of * disagree *"), "1"),
        ):
            logs.MetricFilter(
                self,
                name,
                log_group=log_group,
                filter_pattern=pattern,
                metric_namespace=CHAIN,
                metric_name=f"{name}-{chain}",
                metric_value=value,
            )


class PriceFeedMetrics(Construct):
    """What the pulse of the price feed tells: how many markets have no reference, how far trading is from it."""

    def __init__(self, scope: Construct, construct_id: str, *, log_group: logs.ILogGroup) -> None:
        """Read the lines of `log_group`; alarms on the metrics follow from `alarm_kinds`."""
        super().__init__(scope, construct_id)
        for name, field in ((STOPPED, "$.prices_stopped"), (APART, "$.apart_ppm")):
            logs.MetricFilter(
                self,
                name,
                log_group=log_group,
                filter_pattern=logs.FilterPattern.exists(field),
                metric_namespace=PRICES,
                metric_name=name,
                metric_value=field,
            )

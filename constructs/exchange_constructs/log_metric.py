"""Numbers in the lines of a log group, as metrics that are watched."""

from types import MappingProxyType
from typing import Final

from aws_cdk import aws_logs as logs
from constructs import Construct

from runtime.business_metrics.measures import CLOSED, FEW, SHARE, TRADES, UNBALANCED, WIDE
from runtime.canary.walk import FAILED, ORDER_MS
from runtime.controls.carrier import AMISS
from runtime.curation.day import SET_ASIDE
from runtime.reporting.delivery import LATE
from runtime.shared.gauges import BUSINESS

ANOMALIES: Final = "Bursa/Anomaly"
BOOKS: Final = "Bursa/Reconciliation"
CANARY: Final = "Bursa/Canary"
CHAIN: Final = "Bursa/Chain"
CONTROLS: Final = "Bursa/Controls"
CUSTODY: Final = "Bursa/Custody"
DELIVERY: Final = "Bursa/Delivery"
LAKE: Final = "Bursa/Lake"
PRICES: Final = "Bursa/PriceFeed"
SERVICES: Final = "Bursa/Services"

AGREED_AGE: Final = "AgreedAgeSeconds"
APART: Final = "PriceApartPpm"
ASSETS_APART: Final = "AssetsApart"
CANARY_FAILED: Final = "CanaryFailed"
CANARY_SLOW: Final = "CanaryOrderMilliseconds"
CONTROLS_AMISS: Final = "ControlsAmiss"
CUT_OFF: Final = "CutOff"
DELIVERIES_LATE: Final = "DeliveriesLate"
DISAGREED: Final = "NodesDisagree"
DRIFT: Final = "ModelDriftPpm"
LAKE_SET_ASIDE: Final = "LakeSetAside"
LEDGER_UNBALANCED: Final = "LedgerAssetsUnbalanced"
LEDGER_STOPPED: Final = "LedgerStoppedSeconds"
LIMITS_ALONE: Final = "LimitsAlone"
MARKETS_CLOSED: Final = "MarketsClosed"
MARKETS_WIDE: Final = "MarketsWide"
NOT_COLD: Final = "AssetsNotCold"
RESERVES_SHORT: Final = "ReservesShort"
REVERSED: Final = "CreditedDepositsReversed"
STOPPED: Final = "ReferencePricesStopped"
TOO_HOT: Final = "AssetsTooHot"
TRADED: Final = "Trades"
TRADES_FEW: Final = "TradesAreFew"
TRADES_GIVEN_UP: Final = "TradesGivenUp"
TRADES_STUCK: Final = "TradesStuckSeconds"
WITHDRAWN_SHARE: Final = "WithdrawnSharePpm"

NUMBERS: Final = MappingProxyType(
    {
        AGREED_AGE: (CHAIN, "$.agreed_age_s"),
        APART: (PRICES, "$.apart_ppm"),
        ASSETS_APART: (BOOKS, "$.assets_apart"),
        CANARY_FAILED: (CANARY, f"$.{FAILED}"),
        CANARY_SLOW: (CANARY, f"$.{ORDER_MS}"),
        CONTROLS_AMISS: (CONTROLS, f"$.{AMISS}"),
        CUT_OFF: (SERVICES, "$.cut_off"),
        DELIVERIES_LATE: (DELIVERY, f"$.{LATE}"),
        DRIFT: (ANOMALIES, "$.anomaly_drift_ppm"),
        LAKE_SET_ASIDE: (LAKE, f"$.{SET_ASIDE}"),
        LEDGER_UNBALANCED: (BOOKS, f"$.{UNBALANCED}"),
        MARKETS_CLOSED: (BUSINESS, f"$.{CLOSED}"),
        MARKETS_WIDE: (BUSINESS, f"$.{WIDE}"),
        NOT_COLD: (CUSTODY, "$.assets_not_cold"),
        RESERVES_SHORT: (BOOKS, "$.reserves_short"),
        TOO_HOT: (CUSTODY, "$.assets_too_hot"),
        TRADED: (BUSINESS, f"$.{TRADES}"),
        TRADES_FEW: (BUSINESS, f"$.{FEW}"),
        WITHDRAWN_SHARE: (BUSINESS, f"$.{SHARE}"),
        LEDGER_STOPPED: (SERVICES, "$.ledger_stopped_s"),
        LIMITS_ALONE: (SERVICES, "$.limits_alone"),
        STOPPED: (PRICES, "$.prices_stopped"),
        TRADES_GIVEN_UP: (SERVICES, "$.trades_given_up"),
        TRADES_STUCK: (SERVICES, "$.trades_stuck_s"),
    }
)
"""Metric → its namespace, and the field of a log line that tells it."""
LINES: Final = MappingProxyType(
    {REVERSED: (CHAIN, "deposit * has left the chain*"), DISAGREED: (CHAIN, "nodes of * disagree *")}
)
"""Metric that counts lines → its namespace, and the message of such a line."""


class LogMetrics(Construct):
    """Some of NUMBERS and LINES, from one log group; alarms on them follow from `alarm_kinds`."""

    def __init__(
        self, scope: Construct, construct_id: str, *, log_group: logs.ILogGroup, metrics: tuple[str, ...], of: str = ""
    ) -> None:
        """Read `metrics` from the lines of `log_group`; their names end with whose they are, where `of` says so."""
        super().__init__(scope, construct_id)
        for metric in metrics:
            if metric in NUMBERS:
                namespace, value = NUMBERS[metric]
                pattern = logs.FilterPattern.exists(value)
            else:
                namespace, message = LINES[metric]
                pattern, value = logs.FilterPattern.string_value("$.message", "=", message), "1"
            logs.MetricFilter(
                self,
                metric,
                log_group=log_group,
                filter_pattern=pattern,
                metric_namespace=namespace,
                metric_name=f"{metric}-{of}" if of else metric,
                metric_value=value,
            )

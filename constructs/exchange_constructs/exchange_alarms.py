"""Alarms and one dashboard for what runs and what is stored; each alarm tells the operators' topic."""

from typing import Final

import cdk_monitoring_constructs as monitoring
from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sns as sns
from constructs import Construct

from config.model import Environment
from exchange_constructs.api_key_table import ApiKeyTable
from exchange_constructs.business_events import BusinessEvents
from exchange_constructs.command_journal import CommandJournal
from exchange_constructs.fargate_service import FargateService
from exchange_constructs.ledger_database import LedgerDatabase
from exchange_constructs.ticker_cache import TickerCache
from exchange_constructs.trade_stream import TradeStream

USAGE_PERCENT_MAX: Final = 80
ABOVE: Final = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
BELOW: Final = cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD
MISSING_IS_BAD: Final = cloudwatch.TreatMissingData.BREACHING


class ExchangeAlarms(Construct):
    """One verb for each noun of the exchange; a noun without a call here has no alarm."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment, operators: sns.ITopic) -> None:
        """Create the dashboard; alarms come with the calls."""
        super().__init__(scope, construct_id)
        self._facade = monitoring.MonitoringFacade(
            self,
            "Exchange",
            alarm_factory_defaults=monitoring.AlarmFactoryDefaults(
                actions_enabled=True,
                alarm_name_prefix=f"Bursa-{config.name}",
                action=monitoring.SnsAlarmActionStrategy(on_alarm_topic=operators, on_ok_topic=operators),
                datapoints_to_alarm=3,
            ),
        )

    def service(self, service: FargateService, *, task_count: int) -> None:
        """Tell when `service` runs fewer than `task_count` tasks or one of them is short of CPU or memory."""
        self._facade.monitor_simple_fargate_service(
            fargate_service=service.service,
            human_readable_name=service.process.service,
            alarm_friendly_name=service.process.service,
            add_running_task_count_alarm={
                "Missing": monitoring.RunningTaskCountThreshold(
                    max_running_tasks=task_count,
                    comparison_operator_override=BELOW,
                    treat_missing_data_override=MISSING_IS_BAD,
                )
            },
            add_cpu_usage_alarm={"High": monitoring.UsageThreshold(max_usage_percent=USAGE_PERCENT_MAX)},
            add_memory_usage_alarm={"High": monitoring.UsageThreshold(max_usage_percent=USAGE_PERCENT_MAX)},
        )

    def balancer(self, name: str, *, namespace: str, dimensions: dict[str, str]) -> None:
        """Tell when a balancer has a target that does not answer, or none that does."""

        def hosts(metric_name: str) -> cloudwatch.Metric:
            return cloudwatch.Metric(
                namespace=namespace,
                metric_name=metric_name,
                dimensions_map=dimensions,
                statistic=cloudwatch.Stats.MINIMUM,
                period=Duration.minutes(1),
            )

        self._facade.monitor_custom(
            human_readable_name=f"Targets of the {name} balancer",
            alarm_friendly_name=f"{name}-balancer",
            metric_groups=[
                monitoring.CustomMetricGroup(
                    title="Targets",
                    metrics=[
                        _alarm("unhealthy-targets", hosts("UnHealthyHostCount"), ABOVE, threshold=0),
                        _alarm(
                            "healthy-targets", hosts("HealthyHostCount"), BELOW, threshold=1, missing=MISSING_IS_BAD
                        ),
                    ],
                )
            ],
        )

    def database(self, database: LedgerDatabase, *, capacity_units_max: float) -> None:
        """Tell when the database is busy or has grown close to its ceiling."""
        self._facade.monitor_aurora_cluster(
            cluster=database.cluster,
            human_readable_name="Ledger database",
            alarm_friendly_name="database",
            add_cpu_usage_alarm={"High": monitoring.UsageThreshold(max_usage_percent=USAGE_PERCENT_MAX)},
            add_max_serverless_database_capacity_alarm={
                "NearCeiling": monitoring.UsageCountThreshold(
                    max_usage_count=capacity_units_max * USAGE_PERCENT_MAX / 100
                )
            },
        )

    def cache(self, cache: TickerCache) -> None:
        """Tell when the cache refuses work."""
        self._facade.monitor_serverless_elasti_cache(
            cluster_id=cache.cache_name,
            human_readable_name="Ticker cache",
            alarm_friendly_name="cache",
            add_throttle_rate_alarm={"Some": monitoring.MaxThrottleRateThreshold(max_throttle_rate_percent=0)},
        )

    def journal(self, journal: CommandJournal) -> None:
        """Tell when a part of the journal has no leader. Serverless clusters publish no such metric."""
        if journal.offline_partitions is None:
            return
        self._facade.monitor_custom(
            human_readable_name="Command journal",
            alarm_friendly_name="journal",
            metric_groups=[
                monitoring.CustomMetricGroup(
                    title="Partitions without a leader",
                    metrics=[_alarm("offline-partitions", journal.offline_partitions, ABOVE, threshold=0)],
                )
            ],
        )

    def api_keys(self, keys: ApiKeyTable) -> None:
        """Tell when looking keys up fails."""
        self._facade.monitor_dynamo_table(
            table=keys.table,
            human_readable_name="API keys",
            alarm_friendly_name="api-keys",
            add_read_throttled_events_count_alarm={
                "Some": monitoring.ThrottledEventsThreshold(max_throttled_events_threshold=0)
            },
            add_system_error_count_alarm={"Some": monitoring.ErrorCountThreshold(max_error_count=0)},
        )

    def trades(self, trades: TradeStream) -> None:
        """Tell when a trade could not be published."""
        self._facade.monitor_kinesis_data_stream(
            stream_name=trades.stream.stream_name,
            human_readable_name="Trade stream",
            alarm_friendly_name="trades",
            add_put_records_failed_alarm={"Some": monitoring.RecordsFailedThreshold(max_records_failed_threshold=0)},
            add_put_records_throttled_alarm={
                "Some": monitoring.RecordsThrottledThreshold(max_records_throttled_threshold=0)
            },
        )

    def events(self, events: BusinessEvents) -> None:
        """Tell when a business event could not be delivered."""
        self._facade.monitor_sqs_queue(
            queue=events.undelivered,
            human_readable_name="Undelivered events",
            alarm_friendly_name="undelivered-events",
            add_queue_max_size_alarm={"Some": monitoring.MaxMessageCountThreshold(max_message_count=0)},
        )


def _alarm(
    name: str,
    metric: cloudwatch.Metric,
    comparison: cloudwatch.ComparisonOperator,
    *,
    threshold: int,
    missing: cloudwatch.TreatMissingData | None = None,
) -> monitoring.CustomMetricWithAlarm:
    return monitoring.CustomMetricWithAlarm(
        alarm_friendly_name=name,
        metric=metric,
        add_alarm={
            "Bad": monitoring.CustomThreshold(
                threshold=threshold, comparison_operator=comparison, treat_missing_data_override=missing
            )
        },
    )

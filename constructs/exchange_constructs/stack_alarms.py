"""The alarms of one stack: one look at everything in it, by kind.

They lie in the stack they watch, so that an alarm always names the resource that is there now, in its own region and
account, and goes when the resource goes.
"""

import itertools
from collections.abc import Mapping
from functools import cache
from typing import Final, cast

import cdk_monitoring_constructs as monitoring
from aws_cdk import CfnCondition, CfnResource, Duration, Stack, Stage
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct, IConstruct

from config.model import Environment
from exchange_constructs.alarm_kinds import Bound, Watch, watch_of
from exchange_constructs.operator_topics import OperatorTopics

UNNAMED: Final = frozenset({"Resource", "Default"})
"""Ids that CDK gives to the one resource of a construct."""
WAKES: Final = "Page"
WAITS: Final = "Ticket"


class StackAlarms(Construct):
    """Watches every resource of a stack whose kind is known, tells operators, and shows it all on one dashboard."""

    def __init__(self, stack: Stack, construct_id: str, *, config: Environment, topics: OperatorTopics) -> None:
        """Look through `stack` as it is now: create this after everything else in it."""
        inside = stack.node.find_all()
        # What a switch turns off must not be referred to; its own service tells when it is on.
        switched = any(isinstance(each, CfnCondition) for each in inside)
        watched = {
            resource: watch
            for resource in inside
            if isinstance(resource, CfnResource)
            and (watch := watch_of(resource))
            and not (switched and resource.cfn_options.condition)
        }
        super().__init__(stack, construct_id)
        self.stack = stack
        self.dashboard_name = prefix = f"Bursa-{config.name}-{stack.node.id}"
        self.names: tuple[str, ...] = ()
        """Of its alarms; empty where nothing is watched, and then there is no dashboard either."""
        if not watched:
            return
        self._runbooks = config.operations.runbooks_url
        facade = monitoring.MonitoringFacade(
            self,
            "Watch",
            alarm_factory_defaults=monitoring.AlarmFactoryDefaults(
                actions_enabled=True,
                alarm_name_prefix=prefix,
                disambiguator_action={
                    WAKES: monitoring.SnsAlarmActionStrategy(on_alarm_topic=topics.pager, on_ok_topic=topics.tickets),
                    WAITS: monitoring.SnsAlarmActionStrategy(on_alarm_topic=topics.tickets),
                },
            ),
            dashboard_factory=monitoring.DefaultDashboardFactory(self, "Dashboards", dashboard_name_prefix=prefix),
        )
        above = f"{stack.node.path}/"
        for resource, watch in watched.items():
            name = _name(above, resource)
            self._watch(facade, name, watch)
            self.names += tuple(f"{prefix}-{name}-{bound.name}-{_told(bound)}" for bound in watch.bounds)

    def _watch(self, facade: monitoring.MonitoringFacade, name: str, watch: Watch) -> None:
        facade.monitor_custom(
            human_readable_name=f"{name} ({watch.runbook})",
            alarm_friendly_name=name,
            metric_groups=[
                monitoring.CustomMetricGroup(title=bound.name, metrics=[self._alarm(watch, bound)])
                for bound in watch.bounds
            ],
        )

    def _alarm(
        self, watch: Watch, bound: Bound
    ) -> monitoring.CustomMetricWithAlarm | monitoring.CustomMetricWithAnomalyDetection:
        if bound.deviations is not None:
            return self._alarm_on_anomaly(watch, bound, bound.deviations)
        above = bound.above is not None
        limit = bound.above if bound.above is not None else bound.below
        assert limit is not None, bound.name
        return monitoring.CustomMetricWithAlarm(
            alarm_friendly_name=bound.name,
            metric=_metric(watch, bound, {**watch.dimensions, **bound.more}),
            add_alarm={
                _told(bound): monitoring.CustomThreshold(
                    threshold=limit,
                    comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
                    if above
                    else cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
                    datapoints_to_alarm=bound.periods,
                    treat_missing_data_override=cloudwatch.TreatMissingData.BREACHING
                    if bound.silence_is_bad
                    else cloudwatch.TreatMissingData.NOT_BREACHING,
                    runbook_link=f"{self._runbooks}/{watch.runbook}.md",
                )
            },
        )

    def _alarm_on_anomaly(
        self, watch: Watch, bound: Bound, deviations: float
    ) -> monitoring.CustomMetricWithAnomalyDetection:
        return monitoring.CustomMetricWithAnomalyDetection(
            alarm_friendly_name=bound.name,
            metric=_metric(watch, bound, {**watch.dimensions, **bound.more}),
            period=_minutes(bound.minutes),
            anomaly_detection_standard_deviation_to_render=deviations,
            add_alarm_on_anomaly={
                _told(bound): monitoring.AnomalyDetectionThreshold(
                    alarm_when_above_the_band=True,
                    alarm_when_below_the_band=True,
                    standard_deviation_for_alarm=deviations,
                    evaluation_periods=bound.periods,
                    datapoints_to_alarm=bound.periods,
                    # While it learns there is no band, which is no fault.
                    treat_missing_data_override=cloudwatch.TreatMissingData.NOT_BREACHING,
                    runbook_link=f"{self._runbooks}/{watch.runbook}.md",
                )
            },
        )


def _metric(watch: Watch, bound: Bound, dimensions: Mapping[str, str]) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=bound.namespace or watch.namespace,
        metric_name=bound.metric,
        dimensions_map=dict(dimensions),
        statistic=bound.statistic,
        period=_minutes(bound.minutes),
    )


def _told(bound: Bound) -> str:
    return WAKES if bound.wakes else WAITS


@cache
def _minutes(count: int) -> Duration:
    return Duration.minutes(count)


def _name(above: str, resource: IConstruct) -> str:
    """Return the path of `resource` below `above`, as a name."""
    path = resource.node.path.removeprefix(above).split("/")
    return "-".join(part for part, _ in itertools.groupby(path) if part not in UNNAMED)


def watch_every_stack(
    stage: Stage, *, config: Environment, topics: tuple[OperatorTopics, ...]
) -> tuple[StackAlarms, ...]:
    """Give each stack of `stage` its alarms. They tell the pair of `topics` that is near, or a pair of their own.

    An alarm can tell a topic of its own region and account only. A stack that stands alone brings its own `topics`.
    """
    alarms = []
    pairs = {(Stack.of(pair).account, Stack.of(pair).region): pair for pair in topics}
    for stack in [cast(Stack, child) for child in stage.node.children if Stack.is_stack(child)]:
        where = (stack.account, stack.region)
        if isinstance(own := getattr(stack, "topics", None), OperatorTopics):
            alarms.append(StackAlarms(stack, "Alarms", config=config, topics=own))
            continue
        if where not in pairs:
            pairs[where] = OperatorTopics(stack, "Operators", config=config)
        alarms.append(StackAlarms(stack, "Alarms", config=config, topics=pairs[where]))
    return tuple(alarms)

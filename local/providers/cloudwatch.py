"""Alarms and dashboards. No metric reaches them here; a test may set an alarm's state."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from local.providers import Placed, Provider, Wanted, provides
from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud


@provides("AWS::CloudWatch::Alarm")
class Alarm(Provider):
    """An alarm on a metric or on an expression of metrics."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Put the alarm."""
        cloudwatch = cloud.client("cloudwatch", wanted.region)
        name = wanted.name("AlarmName", limit=255)
        given = {key: value for key, value in wanted.properties.items() if key not in {"AlarmName", "Tags"}}
        cloudwatch.put_metric_alarm(AlarmName=name, **given)
        (alarm,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return Placed(name, {"Arn": alarm["AlarmArn"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the alarm."""
        alarm: dict[str, Json]
        (alarm,) = cloud.client("cloudwatch", wanted.region).describe_alarms(AlarmNames=[placed.ref])["MetricAlarms"]
        return alarm


@provides("AWS::CloudWatch::Dashboard")
class Dashboard(Provider):
    """A dashboard, whose body is text."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Put the dashboard."""
        name = wanted.name("DashboardName", limit=255)
        body = wanted.properties["DashboardBody"]
        json.loads(body)  # what is not JSON would be refused by AWS and taken by moto
        cloud.client("cloudwatch", wanted.region).put_dashboard(DashboardName=name, DashboardBody=body)
        return Placed(name)

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the dashboard."""
        found: dict[str, Json] = cloud.client("cloudwatch", wanted.region).get_dashboard(DashboardName=placed.ref)
        return found

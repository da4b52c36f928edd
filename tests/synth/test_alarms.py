"""Everything that runs or stores has an alarm, and whoever reads one at night finds the page that helps."""

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from exchange_constructs.alarm_kinds import KINDS, NOT_WATCHED

RUNBOOKS = Path(__file__).resolve().parents[2] / "docs/runbooks"
STATEFUL = set(
    json.loads(files("cfnlint.data").joinpath("AdditionalSpecs/StatefulResources.json").read_text())["ResourceTypes"]
)
"""What CloudFormation's linter takes to hold data: a list that we do not keep."""
RUNNING = {
    "AWS::AutoScaling::AutoScalingGroup",
    "AWS::CloudFront::Distribution",
    "AWS::ECS::Service",
    "AWS::ElastiCache::ServerlessCache",
    "AWS::ElasticLoadBalancingV2::LoadBalancer",
    "AWS::ElasticLoadBalancingV2::TargetGroup",
    "AWS::Events::Rule",
    "AWS::KinesisAnalyticsV2::Application",
    "AWS::KinesisFirehose::DeliveryStream",
    "AWS::Lambda::Function",
    "AWS::MSK::Cluster",
    "AWS::MSK::ServerlessCluster",
    "AWS::RDS::DBProxy",
    "AWS::SNS::Topic",
    "AWS::Scheduler::Schedule",
    "AWS::StepFunctions::StateMachine",
}
RUNBOOK = re.compile(r"Runbook: https://\S+/([\w-]+)\.md")


def alarms(exchange: Any, stack: str) -> Iterator[dict[str, Any]]:
    for path, alarm in exchange.of_type("AWS::CloudWatch::Alarm"):
        if path.startswith(f"{stack}/"):
            yield alarm


def watched(exchange: Any, path: str, resource: dict[str, Any]) -> bool:
    """Whether an alarm in the same stack is about `resource`: by reference, or by the name that it was given."""
    stack, logical_id = path.split("/")
    names = {
        value
        for key, value in resource.get("Properties", {}).items()
        if key in {"ClusterName", "ServerlessCacheName", "GroupName"} and isinstance(value, str)
    }
    for alarm in alarms(exchange, stack):
        text = json.dumps([alarm.get("Dimensions"), alarm.get("Metrics")])
        if f'"{logical_id}"' in text or any(f'"{name}"' in text for name in names):
            return True
    return False


def test_what_runs_or_stores_has_an_alarm(exchange: Any) -> None:
    missing = [
        f"{path} ({resource['Type']})"
        for path, resource in exchange.resources()
        if "Condition" not in resource  # a switch: what is off cannot be watched
        and resource["Type"] in (STATEFUL | RUNNING) - NOT_WATCHED.keys()
        and not watched(exchange, path, resource)
    ]
    assert missing == [], "add its kind to alarm_kinds.py, or say there why it needs none"


def test_what_is_not_watched_is_so_for_a_reason() -> None:
    assert not NOT_WATCHED.keys() & KINDS.keys()
    assert all(len(reason) >= len("not used") for reason in NOT_WATCHED.values())


def test_every_alarm_names_a_runbook_that_exists(exchange: Any) -> None:
    seen = set()
    for path, alarm in exchange.of_type("AWS::CloudWatch::Alarm"):
        link = RUNBOOK.search(exchange.text(alarm.get("AlarmDescription", "")))
        assert link, f"{path} names no runbook"
        assert (RUNBOOKS / f"{link[1]}.md").is_file(), f"{path}: docs/runbooks/{link[1]}.md is missing"
        seen.add(link[1])
    assert {"balancer", "database", "dead-letters", "service", "stream", "table"} <= seen


def test_every_alarm_reaches_somebody(exchange: Any) -> None:
    found = list(exchange.of_type("AWS::CloudWatch::Alarm"))
    assert len(found) >= 30
    for path, alarm in found:
        assert alarm.get("ActionsEnabled", True) is True, path
        (topic,) = alarm["AlarmActions"]
        expected = "Pager" if alarm["AlarmName"].endswith("Page") else "Tickets"
        assert expected in exchange.text(topic), path


def test_whoever_is_on_call_follows_every_topic_of_alarms(exchange: Any) -> None:
    """The pager's address each topic that wakes, the mailbox each other; what cannot be told is kept, under our key."""
    operations = exchange.config.operations
    topics = {
        (path.split("/")[0], path.split("/")[1])
        for path, _ in exchange.of_type("AWS::SNS::Topic")
        if "Pager" in path or "Tickets" in path
    }
    found = set()
    for path, given in exchange.of_type("AWS::SNS::Subscription"):
        stack, topic = path.split("/")[0], given["TopicArn"]["Ref"]
        found.add((stack, topic))
        expected = ("https", operations.pager_url) if "Pager" in topic else ("email", operations.ticket_email)
        assert (given["Protocol"], given["Endpoint"]) == expected, path
        queue = given["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
        sends = [
            statement
            for _, policy in exchange.of_type("AWS::SQS::QueuePolicy")
            if {"Ref": queue} in policy["Queues"]
            for statement in policy["PolicyDocument"]["Statement"]
            if statement["Principal"] == {"Service": "sns.amazonaws.com"}
        ]
        assert {"ArnEquals": {"aws:SourceArn": {"Ref": topic}}} in [each["Condition"] for each in sends], path
    assert found == topics
    assert {stack for stack, _ in found} >= {"Foundation", "Edge", "Custody", "Nodes"}


def test_what_stops_trading_wakes_somebody(prod: Any) -> None:
    wakes = {
        alarm["AlarmName"].removeprefix("Bursa-prod-")
        for _, alarm in prod.of_type("AWS::CloudWatch::Alarm")
        if alarm["AlarmName"].endswith("Page")
    }
    for name in ("Engine-Engine-Service-too-few-tasks", "Data-Journal-Provisioned-offline-partitions"):
        assert f"{name}-Page" in wakes


def test_an_alarm_has_a_name_of_its_own(exchange: Any) -> None:
    names = [alarm["AlarmName"] for _, alarm in exchange.of_type("AWS::CloudWatch::Alarm")]
    assert len(names) == len(set(names))
    assert all(name.startswith(f"Bursa-{exchange.config.name}-") for name in names)


def test_the_dashboard_of_the_order_path_shows_alarms_that_exist(exchange: Any) -> None:
    names = {alarm["AlarmName"] for _, alarm in exchange.of_type("AWS::CloudWatch::Alarm")}
    ((_, dashboard),) = (
        found for found in exchange.of_type("AWS::CloudWatch::Dashboard") if found[0].startswith("Observability/Order")
    )
    shown = set(re.findall(r":alarm:([\w-]+)", exchange.text(dashboard["DashboardBody"])))
    assert len(shown) > len(names) // 2
    assert shown <= names


def test_a_threshold_is_what_the_template_says_elsewhere(prod: Any) -> None:
    """Fewer tasks than wanted, not fewer than one."""
    (service,) = [s for path, s in prod.of_type("AWS::ECS::Service") if path.startswith("Engine/")]
    (alarm,) = [a for a in alarms(prod, "Engine") if "too-few-tasks" in a["AlarmName"]]
    assert alarm["Threshold"] == service["DesiredCount"] == prod.config.engine.task_count
    assert alarm["ComparisonOperator"] == "LessThanThreshold"
    assert alarm["TreatMissingData"] == "breaching"


@pytest.mark.parametrize("kind", sorted({*KINDS}))
def test_a_kind_is_a_type_of_cloudformation(kind: str) -> None:
    """A misspelt type would watch nothing, in silence."""
    from cfnlint.schema import PROVIDER_SCHEMA_MANAGER  # noqa: PLC0415 - a second to load

    assert kind in PROVIDER_SCHEMA_MANAGER.get_resource_types(
        "ap-southeast-3"
    ) + PROVIDER_SCHEMA_MANAGER.get_resource_types("us-east-1")

"""What bourse and clearing house come in by: each its own reports, by an id of its own, and nothing of anybody else."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aws_cdk import Stack, assertions
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs

from config.environments import DEV
from exchange_constructs.private_network import APPLICATION
from exchange_constructs.report_delivery import ReportDelivery
from runtime.reporting.delivery import LATE

HERE = "Reporting/Delivery"


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def one(exchange: Any, part: str, *types: str) -> dict[str, Any]:
    ((_, found),) = [item for item in exchange.of_type(*types) if item[0].startswith(f"{HERE}{part}")]
    return cast(dict[str, Any], found)


def allowed(exchange: Any, part: str) -> list[tuple[str, str, str]]:
    """Return action, resource and condition of everything that a role may do, without the ids' hashes."""
    statements = one(exchange, part, "AWS::IAM::ManagedPolicy")["PolicyDocument"]["Statement"]
    assert {statement["Effect"] for statement in statements} == {"Allow"}
    return sorted(
        (action, exchange.text(resource), json.dumps(statement.get("Condition", {})))
        for statement in statements
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    )


@pytest.mark.parametrize("name", ["bourse", "clearing"])
def test_a_recipient_reads_its_reports_empties_its_queue_and_may_do_nothing_else(exchange: Any, name: str) -> None:
    reports = exchange.config.records.recipients[name].reports
    given = allowed(exchange, f"{name.title()}Role")
    assert {action for action, _, _ in given} == {
        "kms:Decrypt",
        "s3:GetObject",
        "s3:ListBucket",
        "sqs:DeleteMessage",
        "sqs:ReceiveMessage",
    }
    read = [resource.partition("/")[2] for action, resource, _ in given if action == "s3:GetObject"]
    assert read == sorted(f"{report}/*" for report in reports)
    seen = [condition for action, _, condition in given if action == "s3:ListBucket"]
    assert sorted(seen) == sorted(json.dumps({"StringLike": {"s3:prefix": f"{report}/*"}}) for report in reports)
    assert all(resource.startswith("<Reports") for action, resource, _ in given if action.startswith("s3:"))
    queues = {resource for action, resource, _ in given if action.startswith("sqs:")}
    assert [queue.startswith(f"<Delivery{name.title()}Notices") for queue in queues] == [True]
    keys = {key: json.loads(condition) for action, key, condition in given if action == "kms:Decrypt"}
    assert [("Messages" in key, "Records" in key) for key in keys] == [(True, False), (False, True)]
    services = [f"{service}.{exchange.config.region}.amazonaws.com" for service in ("sqs", "s3")]
    assert list(keys.values()) == [{"StringEquals": {"kms:ViaService": service}} for service in services]


@pytest.mark.parametrize("name", ["bourse", "clearing"])
def test_only_machines_of_the_recipient_that_send_its_id_take_the_role(exchange: Any, name: str) -> None:
    recipient = exchange.config.records.recipients[name]
    ((statement),) = one(exchange, f"{name.title()}Role", "AWS::IAM::Role")["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Action"] == "sts:AssumeRole"
    assert exchange.text(statement["Principal"]["AWS"]) == f"arn:aws:iam::{recipient.account}:root"
    assert statement["Condition"] == {"StringEquals": {"sts:ExternalId": recipient.external_id}}


@pytest.mark.parametrize("name", ["Bourse", "Clearing"])
def test_notices_are_encrypted_go_to_dead_letters_and_are_watched(exchange: Any, name: str) -> None:
    queues = {path: queue for path, queue in exchange.of_type("AWS::SQS::Queue") if path.startswith(f"{HERE}{name}")}
    assert len(queues) == 2
    for queue in queues.values():
        assert "KeysMessages" in exchange.text(queue["KmsMasterKeyId"])
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
    notices = one(exchange, f"{name}Notices", "AWS::SQS::Queue")
    assert exchange.text(notices["RedrivePolicy"]["deadLetterTargetArn"]).startswith(f"<Delivery{name}Unread")
    for part in ("Notices", "Unread"):
        policy = one(exchange, f"{name}{part}", "AWS::SQS::QueuePolicy")["PolicyDocument"]["Statement"]
        assert {"Bool": {"aws:SecureTransport": "false"}} in [s["Condition"] for s in policy if s["Effect"] == "Deny"]
        watched = [
            alarm
            for path, alarm in exchange.of_type("AWS::CloudWatch::Alarm")
            if path.startswith("Reporting/") and f"Delivery{name}{part}" in path
        ]
        assert [alarm["MetricName"] for alarm in watched] == ["ApproximateAgeOfOldestMessage"]


def test_the_courier_tells_at_once_and_makes_good_each_hour_what_was_missed(exchange: Any) -> None:
    filed = one(exchange, "CourierFiled", "AWS::Events::Rule")
    wanted = {name for recipient in exchange.config.records.recipients.values() for name in recipient.reports}
    assert filed["EventPattern"]["source"] == ["bursa.reporting"]
    assert filed["EventPattern"]["detail-type"] == ["report.filed"]
    assert filed["EventPattern"]["detail"] == {"report": sorted(wanted)}
    assert one(exchange, "CourierHourly", "AWS::Events::Rule")["ScheduleExpression"] == "cron(50 * * * ? *)"
    told = exchange.text(
        one(exchange, "CourierFunction", "AWS::Lambda::Function")["Environment"]["Variables"]["RECIPIENTS"]
    )
    assert [(each["name"], tuple(each["reports"]), each["deliver_within_s"]) for each in json.loads(told)] == [
        (name, each.reports, each.deliver_within_hours * 3600)
        for name, each in exchange.config.records.recipients.items()
    ]
    sent = [resource for action, resource, _ in allowed(exchange, "CourierRole") if action == "sqs:SendMessage"]
    assert sum("Notices" in queue for queue in sent) == len(sent) - 1 == 2


def test_what_the_trail_saw_a_recipient_read_is_registered_by_who_can_do_no_more(exchange: Any) -> None:
    rule = one(exchange, "WitnessFetched", "AWS::Events::Rule")
    assert "EventBusName" not in rule, "AWS tells the default bus"
    assert rule["State"] == "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS", "GetObject is a read"
    detail = rule["EventPattern"]["detail"]
    assert (detail["eventSource"], detail["eventName"]) == (["s3.amazonaws.com"], ["GetObject"])
    assert detail["errorCode"] == [{"exists": False}], "who was refused has fetched nothing"
    assert exchange.text(detail["requestParameters"]["bucketName"][0]).startswith("<Reports")
    roles = [exchange.text(each) for each in detail["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"]]
    assert [role[: len("<DeliveryBourse")] for role in roles] == ["<DeliveryBourse", "<DeliveryCleari"]
    data = [action for action, _, _ in allowed(exchange, "WitnessRole") if action.startswith(("dynamodb:", "s3:"))]
    assert data == ["dynamodb:UpdateItem"]
    for path, trail in exchange.of_type("AWS::CloudTrail::Trail"):
        recorded = [selector["FieldSelectors"] for selector in trail["AdvancedEventSelectors"]]
        objects = [
            fields for fields in recorded if {"Field": "resources.type", "Equals": ["AWS::S3::Object"]} in fields
        ]
        assert objects, path
        assert "readOnly" not in json.dumps(objects), "the trail must see reads"


def test_late_deliveries_and_a_courier_that_is_silent_are_told(exchange: Any) -> None:
    made = one(exchange, "Metrics", "AWS::Logs::MetricFilter")
    assert exchange.text(made["LogGroupName"]).startswith("<DeliveryCourierLogs")
    (metric,) = made["MetricTransformations"]
    assert metric["MetricValue"] == f"$.{LATE}"
    (alarm,) = [
        each
        for _, each in exchange.of_type("AWS::CloudWatch::Alarm")
        if each.get("Namespace") == metric["MetricNamespace"]
    ]
    assert (alarm["MetricName"], alarm["Threshold"], alarm["TreatMissingData"]) == ("DeliveriesLate", 0, "breaching")
    assert alarm["Period"] * alarm["EvaluationPeriods"] == 3 * 3600
    assert "delivery.md" in exchange.text(alarm["AlarmDescription"])


def test_the_register_finds_days_of_a_recipient_in_order(exchange: Any) -> None:
    assert one(exchange, "Register", "AWS::DynamoDB::GlobalTable")["KeySchema"] == [
        {"AttributeName": "recipient", "KeyType": "HASH"},
        {"AttributeName": "report_day", "KeyType": "RANGE"},
    ]


def test_how_to_come_in_stands_in_the_outputs(exchange: Any) -> None:
    outputs = exchange.stacks["Reporting"]["Outputs"]
    for name in ("Bourse", "Clearing"):
        assert exchange.text(outputs[f"{name}RoleArn"]["Value"]).startswith(f"<Delivery{name}Role")
        assert exchange.text(outputs[f"{name}NoticesUrl"]["Value"]).startswith(f"<Delivery{name}Notices")


@pytest.mark.parametrize("present", [(), ("clearing",)])
def test_without_a_recipient_nothing_of_it_is_made(
    present: tuple[str, ...], synth_app: Callable[[Path], Any], tmp_path: Path
) -> None:
    stack = Stack(synth_app(tmp_path), "Delivery", env={"account": DEV.account, "region": DEV.region})
    key = kms.Key(stack, "Key")
    vpc = ec2.Vpc(
        stack, "Vpc", subnet_configuration=[{"name": APPLICATION, "subnetType": ec2.SubnetType.PRIVATE_ISOLATED}]
    )
    platform = SimpleNamespace(
        keys=SimpleNamespace(messages=key, logs=key, data=key),
        last_letters=sqs.Queue(stack, "Last"),
        network_access=iam.ManagedPolicy.from_managed_policy_name(stack, "Network", "network"),
        vpc=vpc,
        libraries=None,
    )
    fetching: list[str] = []
    reports = SimpleNamespace(bucket_name="reports", grant_fetch=lambda _who, *, prefix: fetching.append(prefix))
    absent = {name: None for name in ("bourse", "clearing") if name not in present}
    ReportDelivery(
        stack,
        "Delivery",
        config=dataclasses.replace(DEV, records=dataclasses.replace(DEV.records, **absent)),
        keys=cast(Any, platform.keys),
        platform=cast(Any, platform),
        bus=events.EventBus(stack, "Bus"),
        reports=cast(Any, reports),
    )
    template = assertions.Template.from_stack(stack)
    trusts = [json.dumps(each["Properties"]) for each in template.find_resources("AWS::IAM::Role").values()]
    assert sum("sts:ExternalId" in trust for trust in trusts) == len(present)
    assert len(template.find_resources("AWS::DynamoDB::GlobalTable")) == 1
    assert len(template.find_resources("AWS::Events::Rule")) == (3 if present else 1)
    assert (fetching != []) == bool(present)
    assert len([name for name in template.find_resources("AWS::SQS::Queue") if "Notices" in name]) == len(present)

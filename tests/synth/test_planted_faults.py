"""Each rule about all stacks is shown red once: a fault is planted in a copy of prod's templates."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from tests.synth import test_across_stacks as across
from tests.synth import test_alarms as watching
from tests.synth import test_data_protection as stored

Change = Callable[[dict[str, Any]], None]


def first(resources: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return the properties of the first resource of a type."""
    found: dict[str, Any] = next(each for each in resources.values() if each["Type"] == kind)["Properties"]
    return found


def without(kind: str, *names: str) -> Change:
    def change(resources: dict[str, Any]) -> None:
        properties = first(resources, kind)
        for name in names[:-1]:
            properties = properties[name]
        del properties[names[-1]]

    return change


def setting(kind: str, **values: Any) -> Change:
    return lambda resources: first(resources, kind).update(values)


def plus(**resource: Any) -> Change:
    return lambda resources: resources.update(Planted=resource)


def allowing(action: str, resource: str) -> Change:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return plus(Type="AWS::IAM::ManagedPolicy", Properties={"PolicyDocument": {"Statement": [statement]}})


def without_alarms_on(name: str) -> Change:
    def change(resources: dict[str, Any]) -> None:
        for logical_id in [
            logical_id
            for logical_id, each in resources.items()
            if each["Type"] == "AWS::CloudWatch::Alarm" and name in each["Properties"]["AlarmName"]
        ]:
            del resources[logical_id]

    return change


def kept_no_more(resources: dict[str, Any]) -> None:
    next(each for each in resources.values() if each["Type"] == "AWS::RDS::DBCluster")["DeletionPolicy"] = "Delete"


def renamed(resources: dict[str, Any]) -> None:
    name = next(name for name, each in resources.items() if each["Type"] == "AWS::DynamoDB::GlobalTable")
    resources[f"{name}New"] = resources.pop(name)


def lost_runbook(resources: dict[str, Any]) -> None:
    alarm = first(resources, "AWS::CloudWatch::Alarm")
    alarm["AlarmDescription"] = alarm["AlarmDescription"].replace(".md", "-of-nobody.md")


RULE = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "0.0.0.0/0"}
FAULTS: list[tuple[Callable[[Any], None], str, Change]] = [
    (across.test_no_action_is_a_star, "Engine", allowing("s3:*", "arn:aws:s3:::bucket")),
    (across.test_an_identity_may_not_touch_everything, "Engine", allowing("s3:GetObject", "*")),
    (
        across.test_nobody_unknown_is_let_in_by_a_resource,
        "Foundation",
        plus(
            Type="AWS::S3::BucketPolicy",
            Properties={
                "PolicyDocument": {
                    "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "a"}]
                }
            },
        ),
    ),
    (across.test_nothing_is_public_but_the_edge, "Data", setting("AWS::RDS::DBInstance", PubliclyAccessible=True)),
    (
        across.test_nothing_is_public_but_the_edge,
        "Engine",
        without("AWS::S3::Bucket", "PublicAccessBlockConfiguration", "BlockPublicPolicy"),
    ),
    (
        across.test_no_rule_lets_the_world_in_but_at_the_edge,
        "Data",
        setting("AWS::EC2::SecurityGroup", SecurityGroupIngress=[RULE]),
    ),
    (across.test_every_queue_has_dead_letters_or_is_them, "Data", plus(Type="AWS::SQS::Queue", Properties={})),
    (across.test_every_log_group_has_a_retention_and_a_key, "Ledger", without("AWS::Logs::LogGroup", "KmsKeyId")),
    (
        across.test_every_log_group_has_a_retention_and_a_key,
        "Engine",
        without("AWS::Logs::LogGroup", "RetentionInDays"),
    ),
    (
        across.test_in_prod_what_is_stored_can_be_brought_back,
        "Data",
        setting("AWS::RDS::DBCluster", BackupRetentionPeriod=1),
    ),
    (
        across.test_in_prod_what_is_stored_can_be_brought_back,
        "Engine",
        without("AWS::S3::Bucket", "VersioningConfiguration"),
    ),
    (
        across.test_no_secret_stands_in_a_template,
        "Ledger",
        lambda resources: first(resources, "AWS::ECS::TaskDefinition")["ContainerDefinitions"][0]["Environment"].append(
            {"Name": "DATABASE_PASSWORD", "Value": "x"}
        ),
    ),
    (stored.test_everything_stored_is_under_a_key_of_ours, "Data", without("AWS::SQS::Queue", "KmsMasterKeyId")),
    (stored.test_in_prod_what_holds_data_outlives_its_stack, "Data", kept_no_more),
    (stored.test_ids_of_what_holds_data_never_change, "Data", renamed),
    (watching.test_what_runs_or_stores_has_an_alarm, "Data", without_alarms_on("Undelivered")),
    (watching.test_what_runs_or_stores_has_an_alarm, "Gateway", without_alarms_on("Balancer")),
    (watching.test_every_alarm_names_a_runbook_that_exists, "Data", lost_runbook),
    (watching.test_every_alarm_reaches_somebody, "Data", setting("AWS::CloudWatch::Alarm", ActionsEnabled=False)),
]


@pytest.mark.parametrize(
    ("rule", "stack", "fault"), FAULTS, ids=[f"{rule.__name__}-{at}" for at, (rule, _, _) in enumerate(FAULTS)]
)
def test_a_planted_fault_is_found(rule: Callable[[Any], None], stack: str, fault: Change, prod: Any) -> None:
    rule(prod)
    stacks = prod.stacks | {stack: copy.deepcopy(prod.stacks[stack])}
    fault(stacks[stack]["Resources"])
    with pytest.raises(AssertionError):
        rule(dataclasses.replace(prod, stacks=stacks))


def test_every_rule_about_all_stacks_has_been_red() -> None:
    rules = {value for name, value in vars(across).items() if name.startswith("test_")}
    assert rules <= {rule for rule, _, _ in FAULTS}

"""Synth refuses what could not, or must not, be deployed where it stands, and names the construct."""

import json
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from config.region_guard import FACTS, problems

HOME = "ap-southeast-3"


def test_the_exchange_itself_may_be_deployed(exchanges: dict[str, Any]) -> None:
    (folder,) = {exchange.folder.parent for exchange in exchanges.values()}
    assert problems(folder) == []


FAULTS = [
    ("eu-west-1", "AWS::SQS::Queue", {}, "Trial: region eu-west-1 is not allowed; allowed are ap-southeast-1, ap-"),
    (
        HOME,
        "AWS::Amplify::App",
        {"Name": "a"},
        "Trial/Planted: AWS::Amplify::App does not exist in ap-southeast-3 (as of",
    ),
    (HOME, "AWS::MemoryDB::Cluster", {}, "Trial/Planted: AWS::MemoryDB::Cluster does not exist in ap-southeast-3"),
    (HOME, "AWS::QLDB::Ledger", {}, "Trial/Planted: AWS::QLDB::Ledger: QLDB ended 2025-07-31"),
    (HOME, "AWS::KinesisAnalytics::Application", {}, "Trial/Planted: AWS::KinesisAnalytics::Application: Kinesis Data"),
    (HOME, "AWS::AppRunner::Service", {}, "Trial/Planted: AWS::AppRunner::Service: App Runner takes no new customers"),
    (
        HOME,
        "AWS::EC2::Instance",
        {"InstanceType": "m6a.large"},
        "Trial/Planted: instance family of m6a.large is not offered",
    ),
    (
        HOME,
        "AWS::EC2::Instance",
        {"InstanceType": "c7gn.4xlarge"},
        "Trial/Planted: instance family of c7gn.4xlarge is not",
    ),
    (
        HOME,
        "AWS::RDS::DBInstance",
        {"DBInstanceClass": "db.r6i.large"},
        "Trial/Planted: instance family of db.r6i.large",
    ),
    (
        HOME,
        "AWS::MSK::Cluster",
        {"BrokerNodeGroupInfo": {"InstanceType": "kafka.m6a.large"}},
        "Trial/Planted: instance family of kafka.m6a.large is not offered in ap-southeast-3",
    ),
    ("us-east-1", "AWS::EC2::Instance", {"InstanceType": "m7g.large"}, "allowed are none: no host belongs there"),
    ("us-east-1", "AWS::DynamoDB::Table", {}, "may hold customer data, which stays in ap-southeast-3"),
    ("ap-southeast-1", "AWS::RDS::DBCluster", {}, "may hold customer data, which stays in ap-southeast-3"),
    (
        HOME,
        "AWS::KMS::Key",
        {
            "KeyPolicy": {
                "Statement": [{"Condition": {"StringEquals": {"kms:RecipientAttestation:ImageSha384": "0" * 96}}}]
            }
        },
        "Trial/Planted: kms:RecipientAttestation:ImageSha384 is all zero",
    ),
]


@pytest.mark.parametrize(
    ("region", "kind", "properties", "complaint"), FAULTS, ids=[f"{r}-{k}" for r, k, _, _ in FAULTS]
)
def test_a_fault_is_one_line_that_names_the_construct(
    tmp_path: Path, synth_app: Any, region: str, kind: str, properties: dict[str, Any], complaint: str
) -> None:
    app = synth_app(tmp_path)
    stack = cdk.Stack(app, "Trial", env=cdk.Environment(account="123456789012", region=region))
    cdk.CfnResource(stack, "Planted", type=kind, properties=properties)
    app.synth()
    found = problems(tmp_path)
    assert len(found) >= 1
    assert complaint in found[0]
    assert "\n" not in found[0]


def test_to_refuse_a_measurement_of_zeros_is_no_fault(tmp_path: Path, synth_app: Any) -> None:
    app = synth_app(tmp_path)
    stack = cdk.Stack(app, "Trial", env=cdk.Environment(account="123456789012", region=HOME))
    refused = {"Effect": "Deny", "Condition": {"StringEquals": {"kms:RecipientAttestation:ImageSha384": "0" * 96}}}
    cdk.CfnResource(stack, "Key", type="AWS::KMS::Key", properties={"KeyPolicy": {"Statement": [refused]}})
    app.synth()
    assert problems(tmp_path) == []


@pytest.mark.parametrize("region", ["ap-southeast-3", "ap-southeast-1", "us-east-1"])
def test_the_table_agrees_with_the_linters_own(exchanges: dict[str, Any], region: str) -> None:
    """Two sources: our dated table, and the types that the linter knows of the region."""
    known = set(PROVIDER_SCHEMA_MANAGER.get_resource_types(region))
    for exchange in exchanges.values():
        manifest = json.loads((exchange.folder / "manifest.json").read_text())
        for artifact in manifest["artifacts"].values():
            if artifact["type"] == "aws:cloudformation:stack" and artifact["environment"].endswith(f"/{region}"):
                template = json.loads((exchange.folder / artifact["properties"]["templateFile"]).read_text())
                kinds = {each["Type"] for each in template.get("Resources", {}).values()}
                assert {kind for kind in kinds - known if not kind.startswith("Custom::")} == set(), artifact[
                    "displayName"
                ]


def test_what_the_table_calls_absent_is_unknown_to_the_linter_too() -> None:
    facts = json.loads(FACTS.read_text())
    known = PROVIDER_SCHEMA_MANAGER.get_resource_types(HOME)
    absent = tuple(facts["regions"][HOME]["absent_types"])
    assert [kind for kind in known if kind.startswith(absent)] == []

"""What lands from another exchange can touch nothing, and names lead where the cut-over says."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import Stack
from aws_cdk import aws_route53 as route53
from aws_cdk.assertions import Template

from config.environments import DEV
from config.migration import CutOverConfig
from config.model import ConfigError, checked
from exchange_constructs.cut_over_name import NOBODY, CutOverName
from runtime.migration.flow import FLOW, NOT_BUILT

OLD = ("198.51.100.7", "198.51.100.8")


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_the_importer_reads_what_came_and_writes_reports_and_nothing_else(exchange: Any) -> None:
    found = {
        (action, exchange.text(resource).partition("/")[2])
        for path, policy in exchange.of_type("AWS::IAM::ManagedPolicy")
        if path.startswith("Migration/Importer")
        for statement in policy["PolicyDocument"]["Statement"]
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
        if action.startswith("s3:")
    }
    assert found == {("s3:GetObject", "incoming/*"), ("s3:PutObject", "reports/*")}
    reaching = [
        path
        for path, rule in exchange.of_type("AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress")
        if path.startswith("Migration/") and ("Engine" in str(rule) or "Database" in str(rule))
    ]
    assert [path for path in reaching if "DatabaseCopy" not in path] == []


def test_what_landed_leaves_in_time(exchange: Any) -> None:
    ((_, bucket),) = (each for each in exchange.of_type("AWS::S3::Bucket") if each[0].startswith("Migration/"))
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    assert rule["ExpirationInDays"] == exchange.config.migration.landing_days


def test_the_copy_stands_in_every_template_and_runs_nowhere_yet(exchange: Any) -> None:
    governed = {
        resource["Type"]: resource["Condition"]
        for path, resource in exchange.resources()
        if path.startswith("Migration/DatabaseCopy")
    }
    assert governed == dict.fromkeys(
        ("AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupIngress", "AWS::DMS::ReplicationConfig"), "CopiesDatabase"
    )
    ((_, copy),) = exchange.of_type("AWS::DMS::ReplicationConfig")
    assert exchange.text(copy["SourceEndpointArn"]).endswith(
        f":dms:ap-southeast-3:{exchange.config.account}:endpoint:bursa-{exchange.config.name}-source"
    )
    assert "KeysData" in exchange.text(copy["ComputeConfig"]["KmsKeyId"])
    assert exchange.config.migration.copies_database is False


def test_what_is_not_built_says_so_before_it_reads_a_file() -> None:
    choices = {each["StringEquals"]: each["Next"] for each in FLOW["States"]["WhatIsAsked"]["Choices"]}
    assert set(choices) == {"dry-run", *NOT_BUILT}
    for what, cause in NOT_BUILT.items():
        assert FLOW["States"][choices[what]] == {"Type": "Fail", "Error": "NotBuilt", "Cause": cause}


def test_every_public_name_is_weighted(exchange: Any) -> None:
    domain = exchange.config.domain
    records = [
        (each["Name"].rstrip("."), each.get("SetIdentifier"), each.get("Weight"))
        for _, each in exchange.of_type("AWS::Route53::RecordSet")
        if each["Type"] == "A" and each["Name"].rstrip(".") in {domain, f"api.{domain}", f"stream.{domain}"}
    ]
    weight = exchange.config.migration.cut_over.weight
    for name in (domain, f"api.{domain}", f"stream.{domain}"):
        assert (name, "bursa", weight) in records
        assert (name, "predecessor", 255 - weight) in records
    assert len(records) == 6


@pytest.mark.parametrize(
    ("predecessor", "weight", "theirs", "newer"),
    [((), 255, False, True), (OLD, 0, True, False), (OLD, 64, True, False), (OLD, 255, True, False)],
)
def test_a_cut_over_moves_answers_and_no_client_by_ipv6(
    synth_app: Any, tmp_path: Path, predecessor: tuple[str, ...], weight: int, *, theirs: bool, newer: bool
) -> None:
    stack = Stack(synth_app(tmp_path), "Names")
    zone = route53.HostedZone.from_hosted_zone_attributes(stack, "Zone", hosted_zone_id="Z1", zone_name="bursa.example")
    cut_over = CutOverConfig(predecessor=predecessor, weight=weight, frozen=False, rollback_hours=24)
    target = route53.RecordTarget.from_ip_addresses("203.0.113.1")
    CutOverName(
        stack, "Name", cut_over=cut_over, zone=zone, name="bursa.example", target=target, has_ipv6=True
    )  # fmt: skip
    template = Template.from_stack(stack).to_json()
    records = {
        (each["Properties"]["Type"], each["Properties"].get("SetIdentifier")): each
        for each in template["Resources"].values()
    }
    on = {name: each["Switch"]["On"] == "yes" for name, each in template["Mappings"].items()}
    (has,) = (value for name, value in on.items() if "HasPredecessor" in name)
    (alone,) = (value for name, value in on.items() if "IsAlone" in name)
    assert (has, alone) == (theirs, newer)
    assert records["A", "bursa"]["Properties"]["Weight"] == weight
    assert "Condition" not in records["A", "bursa"]
    old = records["A", "predecessor"]["Properties"]
    assert (old["Weight"], old["ResourceRecords"]) == (255 - weight, list(predecessor or (NOBODY,)))
    assert old["TTL"] == "60"
    assert "HasPredecessor" in records["A", "predecessor"]["Condition"]
    assert "IsAlone" in records["AAAA", None]["Condition"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": 100}, "migration.cut_over.weight: must be 255 without a predecessor: there is nowhere else to go"),
        ({"weight": 256}, "migration.cut_over.weight: must be 0 to 255, was 256"),
        (
            {"weight": 1, "frozen": True, "predecessor": OLD},
            "migration.cut_over.weight: must be 0 while the exchange is frozen, was 1",
        ),
        ({"predecessor": ("old.example",)}, "must be one IPv4 address, such as 203.0.113.10, was 'old.example'"),
        ({"predecessor": OLD[:1] * 2, "weight": 0}, "migration.cut_over.predecessor: must name each address once"),
        ({"rollback_hours": 0}, "migration.cut_over.rollback_hours: must be 1 to 720, was 0"),
    ],
)
def test_a_wrong_cut_over_is_named_with_what_is_allowed(change: dict[str, Any], message: str) -> None:
    cut_over = dataclasses.replace(DEV.migration.cut_over, **change)
    wrong = dataclasses.replace(DEV, migration=dataclasses.replace(DEV.migration, cut_over=cut_over))
    with pytest.raises(ConfigError) as refused:
        checked(wrong)
    assert message in str(refused.value)


def test_a_size_that_dms_has_not_is_refused() -> None:
    wrong = dataclasses.replace(DEV, migration=dataclasses.replace(DEV.migration, copy_units_max=3))
    with pytest.raises(ConfigError, match="copy_units_max: must be one of 1, 2, 4, 8"):
        checked(wrong)

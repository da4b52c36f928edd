"""The reconciliation reads everything and changes nothing; what it finds wakes somebody, and so does its silence."""

import dataclasses
import json
from typing import Any

import pytest

from config.environments import DEV, RECONCILIATION
from config.model import ConfigError, checked


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_it_may_read_and_tell_and_nothing_else(exchange: Any) -> None:
    actions = {
        action
        for path, policy in exchange.of_type("AWS::IAM::ManagedPolicy")
        if path.startswith("Reconciliation/ReconcilerRole")
        for statement in policy["PolicyDocument"]["Statement"]
        for action in listed(statement["Action"])
    }
    assert {"dynamodb:Scan", "dynamodb:GetItem", "events:PutEvents", "rds-db:connect"} <= actions
    assert not {each for each in actions if each.startswith("dynamodb:")} - {"dynamodb:Scan", "dynamodb:GetItem"}
    rules = [
        json.dumps(rule)
        for path, rule in exchange.of_type("AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress")
        if path.startswith("Reconciliation/")
    ]
    assert rules
    assert not [each for each in rules if "Engine" in each]


def test_both_nodes_are_asked_about_the_wallets_of_the_configuration(exchange: Any) -> None:
    (function,) = (
        each for path, each in exchange.of_type("AWS::Lambda::Function") if path.startswith("Reconciliation/")
    )
    variables = function["Environment"]["Variables"]
    given = exchange.config.reconciliation
    assert json.loads(variables["WALLETS"]) == {each.name: each.address for each in given.wallets}
    assert (int(variables["HOT_BIPS_MAX"]), int(variables["COLD_BIPS_MIN"])) == (
        given.hot_bips_max,
        given.cold_bips_min,
    )
    assert len(variables["NODE_ADDRESSES"].split(",")) == 2


def test_a_difference_and_a_silence_wake_somebody(exchange: Any) -> None:
    (alarm,) = (
        each for _path, each in exchange.of_type("AWS::CloudWatch::Alarm") if each.get("MetricName") == "AssetsApart"
    )
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (0, "GreaterThanThreshold")
    assert alarm["TreatMissingData"] == "breaching"
    assert "ledger-sum" in json.dumps(alarm)
    assert alarm["Period"] * alarm["EvaluationPeriods"] > exchange.config.reconciliation.every_minutes * 60


def test_a_tier_that_stays_wrong_is_told_and_only_what_is_too_hot_wakes_somebody(exchange: Any) -> None:
    alarms = {
        alarm["MetricName"]: alarm
        for _path, alarm in exchange.of_type("AWS::CloudWatch::Alarm")
        if alarm.get("Namespace") == "Bursa/Custody"
    }
    assert alarms.keys() == {"AssetsTooHot", "AssetsNotCold"}
    filters = {
        made["MetricTransformations"][0]["MetricName"]: made["FilterPattern"]
        for path, made in exchange.of_type("AWS::Logs::MetricFilter")
        if path.startswith("Reconciliation/")
    }
    for name, field in (("AssetsTooHot", "assets_too_hot"), ("AssetsNotCold", "assets_not_cold")):
        alarm = alarms[name]
        assert field in filters[name]
        assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (0, "GreaterThanThreshold")
        assert alarm["Statistic"] == "Minimum", "at every look, so that a deposit that is moved soon is no alarm"
        assert alarm["Period"] >= 2 * exchange.config.reconciliation.every_minutes * 60
        assert "runbooks/custody-tiers.md" in alarm["AlarmDescription"]
        assert ("Page" in alarm["AlarmName"]) is (name == "AssetsTooHot")


def test_the_dashboard_shows_each_tier_of_each_asset_and_its_bound(exchange: Any) -> None:
    (board,) = (
        each
        for _, each in exchange.of_type("AWS::CloudWatch::Dashboard")
        if each["DashboardName"] == f"Bursa-{exchange.config.name}-Business"
    )
    shown = json.loads(exchange.text(board["DashboardBody"]))["widgets"]
    graphs = {each["properties"]["title"]: each["properties"] for each in shown}
    bounds = {"hot": exchange.config.reconciliation.hot_bips_max, "cold": exchange.config.reconciliation.cold_bips_min}
    for tier in ("hot", "warm", "cold"):
        graph = graphs[f"{tier.title()} wallets, percent of all"]
        dimensions = [line for line in graph["metrics"] if "TierShareBips" in line]
        assert dimensions
        assert all(line[line.index("Tier") + 1] == tier for line in dimensions)
        lines = graph.get("annotations", {}).get("horizontal", [])
        assert [line["value"] * 100 for line in lines] == [bounds[each] for each in (tier,) if each in bounds]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wallets": ()}, "reconciliation.wallets: must be one or more different addresses"),
        ({"wallets": RECONCILIATION.wallets[:1] * 2}, "reconciliation.wallets: must be one or more different"),
        ({"hot_bips_max": 5_000}, "reconciliation.hot_bips_max: must be 1 to 4999, was 5000"),
        ({"cold_bips_min": 5_000}, "reconciliation.cold_bips_min: must be 5001 to 10000, was 5000"),
        (
            {"cold_bips_min": 7_001},
            "reconciliation.cold_bips_min: must be at most 7000, which is what hot_bips_max leaves, was 7001",
        ),
        ({"wallets": RECONCILIATION.wallets[:1]}, "reconciliation.wallets: must have a cold one, for the majority"),
        ({"every_minutes": 1}, "reconciliation.every_minutes: must be 15 to 30, was 1"),
        (
            {"wallets": (dataclasses.replace(RECONCILIATION.wallets[0], address="0x12"),)},
            "reconciliation.wallets.0.address: must be an Ethereum address with its checksum, was '0x12'",
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(change: dict[str, Any], message: str) -> None:
    wrong = dataclasses.replace(DEV, reconciliation=dataclasses.replace(RECONCILIATION, **change))
    with pytest.raises(ConfigError) as refused:
        checked(wrong)
    assert message in str(refused.value)

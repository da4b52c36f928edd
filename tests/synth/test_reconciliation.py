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
    assert variables["WALLET_ADDRESSES"].split(",") == [each.address for each in exchange.config.reconciliation.wallets]
    assert len(variables["NODE_ADDRESSES"].split(",")) == 2


def test_a_difference_and_a_silence_wake_somebody(exchange: Any) -> None:
    (alarm,) = (
        each for _path, each in exchange.of_type("AWS::CloudWatch::Alarm") if each.get("MetricName") == "AssetsApart"
    )
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (0, "GreaterThanThreshold")
    assert alarm["TreatMissingData"] == "breaching"
    assert "ledger-sum" in json.dumps(alarm)
    assert alarm["Period"] * alarm["EvaluationPeriods"] > exchange.config.reconciliation.every_minutes * 60


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wallets": ()}, "reconciliation.wallets: must be one or more different addresses"),
        ({"wallets": RECONCILIATION.wallets[:1] * 2}, "reconciliation.wallets: must be one or more different"),
        ({"every_minutes": 1}, "reconciliation.every_minutes: must be 15 to 1440, was 1"),
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

"""Who may close an account, who may touch its keys, and how long what remains of it is kept."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from config.environments import DEV, PROD
from config.model import ConfigError, checked


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def allowed(exchange: Any) -> Iterator[tuple[str, str, str]]:
    """Yield role, action and resource of everything that managed policies allow; a boundary allows nothing."""
    for path, policy in exchange.of_type("AWS::IAM::ManagedPolicy"):
        if policy.get("ManagedPolicyName") == f"bursa-{exchange.config.name}-boundary":
            continue
        for statement in policy["PolicyDocument"]["Statement"]:
            for action in listed(statement["Action"]):
                for resource in listed(statement["Resource"]):
                    yield path.partition("RoleGrants")[0], action, exchange.text(resource)


def holders(exchange: Any, action: str, part: str) -> set[str]:
    return {role for role, given, resource in allowed(exchange) if given == action and part in resource}


def environment(exchange: Any, name: str) -> dict[str, Any]:
    (function,) = (
        each
        for path, each in exchange.of_type("AWS::Lambda::Function")
        if path.startswith(f"Offboarding/{name}Function")
    )
    variables: dict[str, Any] = function["Environment"]["Variables"]
    return variables


def test_one_function_alone_changes_api_keys_and_it_opens_no_secret(exchange: Any) -> None:
    touching = {
        (role, action)
        for role, action, resource in allowed(exchange)
        if "ApiKeysTable" in resource
        and action.startswith("dynamodb:")
        and not role.startswith(("Backup/", "Gateway/"))
    }
    assert touching == {("Offboarding/Clerk", "dynamodb:Query"), ("Offboarding/Clerk", "dynamodb:UpdateItem")}
    secrets = {role for role, _, resource in allowed(exchange) if "KeysApiSecrets" in resource}
    assert "Offboarding/Clerk" not in secrets


def test_engine_ledger_and_withdrawals_are_each_reached_by_one(exchange: Any) -> None:
    reaching = {
        path.partition("Access")[0]
        for path, rule in exchange.of_type("AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress")
        if path.startswith("Offboarding/") and "Engine" in str(rule)
    }
    assert {each.removeprefix("Offboarding/")[:6] for each in reaching} == {"Broker"}
    signing_in = {role for role, action, _ in allowed(exchange) if action == "rds-db:connect"}
    ledger = {"Offboarding/Exporter", "Offboarding/Writer"}
    assert {role for role in signing_in if role.startswith("Offboarding/")} == ledger
    assert holders(exchange, "lambda:InvokeFunction", "DoorFunction") == {"Gateway/Rest", "Offboarding/Clerk"}


def test_a_door_for_each_who_asks_and_one_place_for_approvals(exchange: Any) -> None:
    starting = {
        role for role, action, _ in allowed(exchange) if action == "states:StartExecution" and "Offboarding" in role
    }
    assert starting == {"Offboarding/Door", "Offboarding/Desk", "Offboarding/HandOverDesk"}
    answering = {
        role for role, action, _ in allowed(exchange) if action == "states:SendTaskSuccess" and "Offboarding" in role
    }
    assert answering == {"Offboarding/Approvals"}


def test_functions_are_told_what_the_configuration_says(exchange: Any) -> None:
    config = exchange.config
    clerk = environment(exchange, "Clerk")
    assert clerk["APPROVERS"].split(",") == list(config.offboarding.approvers)
    for name in ("Approvals", "Exporter"):
        assert environment(exchange, name)["APPROVERS"] == clerk["APPROVERS"]
    assert int(clerk["FILES_YEARS"]) == config.offboarding.files_years
    assert int(clerk["BOOKS_YEARS"]) == config.records.ledger_years
    assert int(environment(exchange, "Broker")["SETTLE_DAYS_MAX"]) == config.offboarding.settle_days_max


def test_what_was_handed_over_is_locked_for_its_years(exchange: Any) -> None:
    ((_, bucket),) = (each for each in exchange.of_type("AWS::S3::Bucket") if each[0].startswith("Offboarding/"))
    retention = bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
    days = exchange.config.offboarding.transfer_out_years * 366
    assert retention == {"Days": days, "Mode": exchange.config.records.lock_mode}
    rules = bucket["LifecycleConfiguration"]["Rules"]
    assert {"ExpirationInDays": days}.items() <= rules[0].items()
    assert rules[1]["Transitions"][0]["StorageClass"] == "GLACIER_IR"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"approvers": DEV.offboarding.approvers[:2]}, "offboarding.approvers: "),
        ({"approvers": (DEV.offboarding.approvers[0],) * 3}, "offboarding.approvers: must name each key once"),
        ({"approvers": ("x", "y", "z")}, "must be an Ed25519 public key, 64 hexadecimal digits, was 'x'"),
        ({"settle_days_max": 0}, "offboarding.settle_days_max: must be 1 to 360, was 0"),
        ({"files_years": 4}, "offboarding.files_years: must be at least 5, the floor of the law, was 4"),
        ({"transfer_out_years": 4}, "offboarding.transfer_out_years: must be at least 5, the floor of the law, was 4"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(change: dict[str, Any], message: str) -> None:
    wrong = dataclasses.replace(PROD, offboarding=dataclasses.replace(PROD.offboarding, **change))
    with pytest.raises(ConfigError) as refused:
        checked(wrong)
    assert message in str(refused.value)

"""Who may start a withdrawal, who may approve one, who may move money, and who may ask for a signature."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest

from config.environments import DEV, WITHDRAWALS
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


def test_one_function_starts_withdrawals_and_another_answers_those_that_wait(exchange: Any) -> None:
    started = holders(exchange, "states:StartExecution", "FlowMachine")
    answered = holders(exchange, "states:SendTaskSuccess", "FlowMachine")
    assert {each for each in started if each.startswith("Withdrawals/")} == {"Withdrawals/Door"}
    assert {each for each in answered if each.startswith("Withdrawals/")} == {"Withdrawals/Approvals"}
    # Of machines of their own.
    others = {"Onboarding/Ear", "Offboarding/Approvals", "Offboarding/Desk", "Offboarding/Door"}
    assert started | answered == others | {"Withdrawals/Door", "Withdrawals/Approvals"}


def test_the_clerk_alone_asks_signers_and_never_the_engine(exchange: Any) -> None:
    table = f"table/bursa-{exchange.config.name}-signing"
    asking = {
        (role, action) for role, action, resource in allowed(exchange) if table in resource and "Custody/" not in role
    }
    actions = {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"}
    assert asking == {("Withdrawals/Clerk", action) for action in actions}
    reaching = [
        json.dumps(rule)
        for path, rule in exchange.of_type("AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress")
        if path.startswith("Withdrawals/") and "Engine" in json.dumps(rule)
    ]
    assert reaching
    assert all("Teller" in each for each in reaching)


def test_the_table_of_signers_opens_to_one_role_of_the_other_account(exchange: Any) -> None:
    (table,) = (
        each for path, each in exchange.of_type("AWS::DynamoDB::GlobalTable") if path.startswith("Custody/Signing")
    )
    (replica,) = table["Replicas"]
    (statement,) = replica["ResourcePolicy"]["PolicyDocument"]["Statement"]
    core, name = exchange.config.account, exchange.config.name
    assert set(statement["Action"]) == {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"}
    assert f":{core}:root" in exchange.text(statement["Principal"]["AWS"])
    arn = exchange.text(statement["Condition"]["ArnEquals"]["aws:PrincipalArn"])
    assert arn.endswith(f":iam::{core}:role/bursa-{name}-withdrawals")
    names = {path: role.get("RoleName") for path, role in exchange.of_type("AWS::IAM::Role")}
    assert [path for path, given in names.items() if given == f"bursa-{name}-withdrawals"] == [
        path for path in names if path.startswith("Withdrawals/ClerkRole")
    ]


def test_the_clerk_and_the_watcher_alone_reach_the_nodes_each_by_its_port(exchange: Any) -> None:
    nodes = exchange.config.nodes
    (clerk,) = (
        each for path, each in exchange.of_type("AWS::Lambda::Function") if path.startswith("Withdrawals/ClerkFunction")
    )
    addresses = clerk["Environment"]["Variables"]["NODE_ADDRESSES"].split(",")
    assert len(addresses) == 2
    ports = {int(each.rpartition(":")[2]) for each in addresses}
    rules = [
        (path.split("/")[0], rule["FromPort"], json.dumps(rule))
        for path, rule in exchange.of_type("AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress")
        if "A node of" in str(rule.get("Description"))
    ]
    # A way out of the asker, and a way into the link.
    asking = [port for stack, port, text in rules if stack == "Withdrawals" and "ClerkAccess" in text]
    assert sorted(asking) == sorted([*ports, *ports])
    others = [text for stack, _, text in rules if stack == "Withdrawals" and "ClerkAccess" not in text]
    assert others == []
    assert json.loads(clerk["Environment"]["Variables"]["CONFIRMATIONS"]) == nodes.confirmations("ethereum")


def test_the_steps_are_told_the_rules_of_the_configuration(exchange: Any) -> None:
    (clerk,) = (
        each for path, each in exchange.of_type("AWS::Lambda::Function") if path.startswith("Withdrawals/ClerkFunction")
    )
    rules = json.loads(clerk["Environment"]["Variables"]["RULES"])
    assert rules == [dataclasses.asdict(rule) for rule in exchange.config.withdrawals.rules]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"minimum": 0}, "withdrawals.rules.0.minimum: must be 1 to"),
        ({"asset": "DOGE"}, "withdrawals.rules.0.asset: must be an asset of the catalogue, was 'DOGE'"),
        ({"asset": "BTC"}, "withdrawals.rules.0.asset: must be an asset of nodes.chains.ethereum, which tells when"),
        ({"chain": "bitcoin"}, "withdrawals.rules.0.chain: must be ethereum, the only chain that is signed for"),
        ({"fee": 10**9}, "withdrawals.rules.0: must have fee < minimum <= transaction_max <= day_max <= hour_max"),
    ],
)
def test_a_wrong_rule_is_named_with_what_is_allowed(change: dict[str, Any], message: str) -> None:
    rules = (dataclasses.replace(WITHDRAWALS.rules[0], **change),)
    wrong = dataclasses.replace(DEV, withdrawals=dataclasses.replace(WITHDRAWALS, rules=rules))
    with pytest.raises(ConfigError) as refused:
        checked(wrong)
    assert message in str(refused.value)

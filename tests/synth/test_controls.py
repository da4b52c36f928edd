"""Who may halt, who may open, and that the one who halts has no way to open."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from config.environments import DEV
from config.model import ConfigError, checked
from runtime.controls.carrier import AMISS


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
                    yield path.partition("RoleGrants")[0].partition("Grants")[0], action, exchange.text(resource)


def holders(exchange: Any, action: str, part: str = "") -> set[str]:
    return {
        role.removeprefix("Controls/")
        for role, given, resource in allowed(exchange)
        if given == action and part in resource and role.startswith("Controls/")
    }


def test_only_who_carries_out_what_was_approved_opens_and_writes_limits(exchange: Any) -> None:
    assert holders(exchange, "ssm:PutParameter") == {"Approve", "Watch"}
    assert holders(exchange, "dynamodb:DeleteItem") == {"Approve", "Watch"}
    writers = {role for role, action, _ in allowed(exchange) if action == "ssm:PutParameter"}
    assert writers == {"Controls/Approve", "Controls/Watch"}


def test_only_who_tells_the_engine_reaches_it(exchange: Any) -> None:
    reaching = {
        path.removeprefix("Controls/").partition("Access")[0]
        for path, rule in exchange.of_type("AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress")
        if path.startswith("Controls/") and "Engine" in str(rule)
    }
    assert {each[:5] for each in reaching} == {"Brake", "Appro", "Watch"}


@pytest.mark.parametrize(("role", "function"), [("Brakeman", "Brake"), ("Asker", "Ask"), ("Approver", "Approve")])
def test_each_operator_calls_one_function_reads_what_is_asked_and_needs_a_second_factor(
    exchange: Any, role: str, function: str
) -> None:
    given = {(action, resource) for name, action, resource in allowed(exchange) if name == f"Controls/{role}"}
    assert {action for action, _ in given if not action.startswith("kms:")} == {
        "dynamodb:GetItem",
        "lambda:InvokeFunction",
    }
    (called,) = (resource for action, resource in given if action == "lambda:InvokeFunction")
    assert f"{function}Function" in called
    (trust,) = (
        each["AssumeRolePolicyDocument"]
        for path, each in exchange.of_type("AWS::IAM::Role")
        if path.startswith(f"Controls/{role}") and "Function" not in path
    )
    conditions = [statement["Condition"] for statement in trust["Statement"]]
    assert conditions == [{"Bool": {"aws:MultiFactorAuthPresent": "true"}}]


def test_what_writes_the_catalogue_runs_once_at_a_time_and_the_watch_every_minute(exchange: Any) -> None:
    functions = {
        each["Handler"].rpartition(".")[2]: each
        for path, each in exchange.of_type("AWS::Lambda::Function")
        if path.startswith("Controls/")
    }
    assert set(functions) == {"brake", "ask", "approve", "watch"}
    assert {name for name, each in functions.items() if each["ReservedConcurrentExecutions"] == 1} == {
        "approve",
        "watch",
    }
    approvers = functions["approve"]["Environment"]["Variables"]["APPROVERS"]
    assert approvers.split(",") == list(exchange.config.controls.approvers)
    (rule,) = (each for path, each in exchange.of_type("AWS::Events::Rule") if path.startswith("Controls/"))
    assert rule["ScheduleExpression"] == "rate(1 minute)"


@pytest.mark.parametrize(
    ("approvers", "message"),
    [
        (DEV.controls.approvers[:2], "controls.approvers: "),
        ((DEV.controls.approvers[0],) * 3, "controls.approvers: must name each key once"),
        (("x", "y", "z"), "must be an Ed25519 public key, 64 hexadecimal digits, was 'x'"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(approvers: tuple[str, ...], message: str) -> None:
    wrong = dataclasses.replace(DEV, controls=dataclasses.replace(DEV.controls, approvers=approvers))
    with pytest.raises(ConfigError) as refused:
        checked(wrong)
    assert message in str(refused.value)


def test_what_stays_looser_than_wanted_wakes_somebody_and_so_does_silence(exchange: Any) -> None:
    (read,) = [each for path, each in exchange.of_type("AWS::Logs::MetricFilter") if path.startswith("Controls/")]
    assert read["FilterPattern"] == f'{{ $.{AMISS} = "*" }}'
    assert exchange.text(read["LogGroupName"]).startswith("<WatchLogs")
    (metric,) = read["MetricTransformations"]
    (alarm,) = [
        each
        for _, each in exchange.of_type("AWS::CloudWatch::Alarm")
        if each.get("Namespace") == metric["MetricNamespace"]
    ]
    assert (alarm["MetricName"], metric["MetricValue"]) == (metric["MetricName"], f"$.{AMISS}")
    assert (alarm["Threshold"], alarm["EvaluationPeriods"], alarm["TreatMissingData"]) == (0, 3, "breaching")
    assert alarm["AlarmName"].endswith("Page")
    assert "market-controls.md" in exchange.text(alarm["AlarmDescription"])

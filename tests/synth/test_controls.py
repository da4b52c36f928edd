"""Who may halt, who may open, and that the one who halts has no way to open."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest

from config.environments import DEV
from config.model import ConfigError, checked
from local.delivery.inputs import shaped
from runtime.business_metrics.measures import LedgerSum, ledger_case
from runtime.controls.carrier import AMISS
from runtime.controls.handler import ControlAsked


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
    (schedule,) = (
        each["ScheduleExpression"]
        for path, each in exchange.of_type("AWS::Events::Rule")
        if path.startswith("Controls/Watch")
    )
    assert schedule == "rate(1 minute)"


def test_a_case_of_money_that_may_be_missing_pulls_the_brake_on_withdrawals(exchange: Any) -> None:
    (rule,) = (each for path, each in exchange.of_type("AWS::Events::Rule") if path.startswith("Controls/Brake"))
    ledger = ledger_case([LedgerSum(asset="USDT", balances=1, postings=0)], 0)
    assert rule["EventPattern"] == {
        "source": [ledger.source],
        "detail-type": [ledger.detail_type],
        "detail": {"kind": list(exchange.config.controls.halting_cases)},
    }
    assert ledger.kind in exchange.config.controls.halting_cases
    (target,) = rule["Targets"]
    assert "BrakeFunction" in exchange.text(target["Arn"])
    template = target["InputTransformer"]["InputTemplate"]
    event = {"id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718", "detail": {"kind": ledger.kind}}
    asked = ControlAsked.model_validate(json.loads(shaped(target, event, "arn:aws:events:x:1:rule/r")))
    assert (asked.kind, asked.value, asked.reason) == ("withdrawals", "halt", ledger.kind), template


@pytest.mark.parametrize(
    ("approvers", "message"),
    [
        (DEV.controls.approvers[:2], "controls.approvers: "),
        ((DEV.controls.approvers[0],) * 3, "controls.approvers: must name each key once"),
        (("x", "y", "z"), "must be an Ed25519 public key, 64 hexadecimal digits, was 'x'"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(approvers: tuple[str, ...], message: str) -> None:
    assert message in refusal_of(approvers=approvers)


@pytest.mark.parametrize(
    ("cases", "message"),
    [
        ((), "controls.halting_cases"),
        (("ledger-sum", "ledger-sum"), "controls.halting_cases: must name each kind once"),
        (("wash-trade",), "must be 'ledger-sum', 'ledger-apart' or 'reserve-short', was 'wash-trade'"),
    ],
)
def test_only_cases_of_missing_money_halt_withdrawals(cases: tuple[str, ...], message: str) -> None:
    assert message in refusal_of(halting_cases=cases)


def refusal_of(**wrong: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        checked(dataclasses.replace(DEV, controls=dataclasses.replace(DEV.controls, **wrong)))
    return str(refused.value)


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

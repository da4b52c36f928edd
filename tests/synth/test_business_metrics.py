"""The emitter reads everything and changes nothing; what is wrong, and its silence, wakes somebody."""

import dataclasses
import json
from typing import Any

import pytest

from config.business import BusinessConfig
from config.environments import DEV
from config.model import ConfigError, checked

PAGES = {
    "LedgerAssetsUnbalanced": "ledger-sum",
    "ReservesShort": "ledger-sum",
    "MarketsClosed": "business",
    "MarketsWide": "business",
    "TradesAreFew": "business",
    "WithdrawnSharePpm": "business",
}
WAKING = PAGES.keys() - {"MarketsWide", "TradesAreFew"}
SILENCE_IS_BAD = {"LedgerAssetsUnbalanced", "MarketsClosed"}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_it_may_read_and_tell_and_nothing_else(exchange: Any) -> None:
    statements = [
        statement
        for path, policy in exchange.of_type("AWS::IAM::ManagedPolicy")
        if path.startswith("BusinessMetrics/EmitterRole")
        for statement in policy["PolicyDocument"]["Statement"]
    ]
    actions = {action for statement in statements for action in listed(statement["Action"])}
    assert {"events:PutEvents", "rds-db:connect", "ssm:GetParameter"} <= actions
    on_withdrawals = {
        action
        for statement in statements
        for action in listed(statement["Action"])
        if action.startswith("dynamodb:")
        and any("Withdrawals/" in exchange.text(each) for each in listed(statement["Resource"]))
    }
    assert on_withdrawals == {"dynamodb:GetItem"}


def test_it_measures_with_the_numbers_of_the_configuration(exchange: Any) -> None:
    (function,) = (
        each for path, each in exchange.of_type("AWS::Lambda::Function") if path.startswith("BusinessMetrics/")
    )
    variables = function["Environment"]["Variables"]
    assert variables["SPREAD_BIPS_MAX"] == str(exchange.config.business.spread_bips_max)
    assert json.loads(variables["HOUR_LIMITS"]) == {
        rule.asset: rule.hour_max for rule in exchange.config.withdrawals.rules
    }
    assert function["Timeout"] < 60
    assert function["ReservedConcurrentExecutions"] == 1


def test_what_is_wrong_and_a_silence_reach_somebody(exchange: Any) -> None:
    alarms = {
        alarm["MetricName"]: alarm
        for _, alarm in exchange.of_type("AWS::CloudWatch::Alarm")
        if alarm.get("MetricName") in PAGES
    }
    assert alarms.keys() == PAGES.keys()
    for name, alarm in alarms.items():
        assert f"runbooks/{PAGES[name]}.md" in str(alarm["AlarmDescription"])
        assert ("Page" in alarm["AlarmName"]) is (name in WAKING)
        assert (alarm["TreatMissingData"] == "breaching") is (name in SILENCE_IS_BAD)
        assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    halted = alarms["MarketsClosed"]
    assert (halted["Threshold"], halted["Period"] * halted["EvaluationPeriods"]) == (0, 300)
    assert halted["Statistic"] == "Minimum", "at every look, so that an auction wakes nobody"
    assert alarms["WithdrawnSharePpm"]["Threshold"] < 1_000_000, "before all withdrawals halt"


def test_trading_that_ends_or_is_unusual_reaches_somebody(exchange: Any) -> None:
    (function,) = (
        each for path, each in exchange.of_type("AWS::Lambda::Function") if path.startswith("BusinessMetrics/")
    )
    given = function["Environment"]["Variables"]["TRADES_MIN"]
    assert given == str(exchange.config.business.trades_minute_min)
    assert (int(given) > 0) is (exchange.config.name == "prod"), "elsewhere nobody may trade for hours"
    (alarm,) = [
        each for _, each in exchange.of_type("AWS::CloudWatch::Alarm") if each["AlarmName"].endswith("unusual-Ticket")
    ]
    assert alarm["ComparisonOperator"] == "LessThanLowerOrGreaterThanUpperThreshold"
    assert "runbooks/business.md" in str(alarm["AlarmDescription"])
    assert alarm["EvaluationPeriods"] == alarm["DatapointsToAlarm"] == 3
    assert alarm["TreatMissingData"] == "notBreaching"
    queries = {each["Id"]: each for each in alarm["Metrics"]}
    band = queries.pop(alarm["ThresholdMetricId"])
    (watched,) = queries.values()
    assert band["Expression"] == f"ANOMALY_DETECTION_BAND({watched['Id']},4)"
    assert watched["MetricStat"]["Metric"]["MetricName"] == "Trades"
    assert (watched["MetricStat"]["Stat"], watched["MetricStat"]["Period"]) == ("Sum", 900)


def test_the_dashboard_shows_every_market_and_every_asset_in_whole_numbers_of_it(exchange: Any) -> None:
    (board,) = (
        each
        for _, each in exchange.of_type("AWS::CloudWatch::Dashboard")
        if each["DashboardName"] == f"Bursa-{exchange.config.name}-Business"
    )
    shown = exchange.text(board["DashboardBody"])
    catalogue = exchange.config.catalogue
    assert not [each.symbol for each in catalogue.markets if f'"{each.symbol}"' not in shown]
    assert not [each.name for each in catalogue.assets if f'"{each.name}"' not in shown]
    graphs = {each["properties"]["title"]: each["properties"]["metrics"] for each in json.loads(shown)["widgets"]}
    scales = {
        line[0]["label"]: line[0]["expression"].split(" / ")[1]
        for line in graphs["Volume in a minute, quote asset"]
        if isinstance(line[0], dict)
    }
    assert (scales["BTCUSDT"], scales["BTCIDR"]) == (str(10**8), str(10**2))


@pytest.mark.parametrize("wrong", [0, 5_001])
def test_a_wrong_bound_is_named_with_what_is_allowed(wrong: int) -> None:
    with pytest.raises(ConfigError) as refused:
        checked(dataclasses.replace(DEV, business=BusinessConfig(spread_bips_max=wrong, trades_minute_min=0)))
    assert f"business.spread_bips_max: must be 1 to 5000, was {wrong}" in str(refused.value)

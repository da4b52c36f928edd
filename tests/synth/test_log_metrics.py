"""What services tell in their pulse is counted and watched, field by field."""

from typing import Any

from exchange_constructs.log_metric import (
    CUT_OFF,
    LEDGER_STOPPED,
    LIMITS_ALONE,
    NUMBERS,
    SERVICES,
    TRADES_GIVEN_UP,
    TRADES_STUCK,
)
from runtime.gateway.limit_models import LimitSettings
from runtime.gateway.limits import Limiter
from runtime.gateway.market_link import MarketLink
from runtime.gateway.parts import pulse
from runtime.ledger.main import Ledger
from runtime.market_data.trade_stream import TradePublisher
from runtime.shared.engine_link import EngineLink

WHERE = {
    f"{CUT_OFF}-rest": "Gateway/Rest",
    f"{CUT_OFF}-ws": "Gateway/WebSocket",
    f"{LIMITS_ALONE}-rest": "Gateway/Rest",
    f"{LIMITS_ALONE}-ws": "Gateway/WebSocket",
    f"{LEDGER_STOPPED}-ledger": "Ledger/Ledger",
    f"{TRADES_STUCK}-market_data": "MarketData/MarketData",
    f"{TRADES_GIVEN_UP}-market_data": "MarketData/MarketData",
}


def test_every_field_is_one_that_a_service_tells(exchange: Any) -> None:
    told = {
        *pulse(
            Limiter(LimitSettings(), exchange.config.catalogue), EngineLink("engine:7000"), MarketLink("market:7100")
        ),
        *Ledger("engine:7000", "url", "arn", 6).pulse(),
        *TradePublisher(lambda _data, _after: "", "main").pulse(),
    }
    assert {field.removeprefix("$.") for namespace, field in NUMBERS.values() if namespace == SERVICES} == told - {
        "trades_waiting"
    }


def test_each_service_that_tells_it_is_read_and_watched(exchange: Any) -> None:
    filters = [
        (path, each, each["MetricTransformations"][0])
        for path, each in exchange.of_type("AWS::Logs::MetricFilter")
        if each["MetricTransformations"][0]["MetricNamespace"] == SERVICES
    ]
    assert {transformation["MetricName"] for _, _, transformation in filters} == WHERE.keys()
    for path, each, transformation in filters:
        _, field = NUMBERS[transformation["MetricName"].partition("-")[0]]
        assert (each["FilterPattern"], transformation["MetricValue"]) == (f'{{ {field} = "*" }}', field)
        stack, _, service = WHERE[transformation["MetricName"]].partition("/")
        assert path.startswith(f"{stack}/")
        assert exchange.text(each["LogGroupName"]).startswith(f"<{service}Logs")
    alarms = {
        alarm["MetricName"]: alarm
        for _, alarm in exchange.of_type("AWS::CloudWatch::Alarm")
        if alarm.get("Namespace") == SERVICES
    }
    assert alarms.keys() == WHERE.keys()
    assert all("degraded.md" in exchange.text(alarm["AlarmDescription"]) for alarm in alarms.values())
    assert alarms[f"{LEDGER_STOPPED}-ledger"]["TreatMissingData"] == "breaching"

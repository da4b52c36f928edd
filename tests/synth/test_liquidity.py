"""The liquidity programme has its place, shows what was promised, and claims nothing more."""

import dataclasses
import json
from typing import Any

import pytest

from config.environments import PROD
from config.liquidity import LiquidityConfig, QuotePromise
from config.model import ConfigError, checked

PROMISE = QuotePromise(
    partner="MakerOne", symbol="BTCIDR", tier="market_maker", spread_bips_max=50, depth_min=1, uptime_percent_min=90
)


def test_the_monitor_touches_nothing_and_only_operators_call_it(exchange: Any) -> None:
    (function,) = [path for path, _ in exchange.of_type("AWS::Lambda::Function") if path.startswith("Liquidity/")]
    granted = {}
    for path, policy in exchange.of_type("AWS::IAM::ManagedPolicy"):
        if path.startswith("Liquidity/"):
            for statement in policy["PolicyDocument"]["Statement"]:
                actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
                granted.setdefault(path.split("/")[1][:7], set()).update(action.split(":")[0] for action in actions)
    assert granted == {"Monitor": {"kms", "logs", "sqs"}, "Manager": {"lambda"}}
    waking = [path for path, _ in exchange.of_type("AWS::Lambda::Permission") if path.startswith("Liquidity/")]
    assert waking == [], function


def test_each_promise_is_a_line_across_what_its_market_shows(exchange: Any) -> None:
    (body,) = [
        json.loads(exchange.text(each["DashboardBody"]))
        for path, each in exchange.of_type("AWS::CloudWatch::Dashboard")
        if path.startswith("Liquidity/Dashboard")
    ]
    note, *graphs = body["widgets"]
    assert "not built" in note["properties"]["markdown"]
    shown = {
        (graph["properties"]["title"].split(":")[0], line["label"].split(":")[0], line["value"])
        for graph in graphs
        for line in graph["properties"].get("annotations", {}).get("horizontal", [])
    }
    wanted = {
        (promise.symbol, promise.partner, value)
        for promise in exchange.config.liquidity.promises
        for value in (promise.spread_bips_max, promise.depth_min)
    }
    assert shown == wanted
    assert len(graphs) == 3 * len(exchange.config.catalogue.markets)


def test_prod_shows_a_promise(prod: Any) -> None:
    """Else the test above would hold of a dashboard that draws no line."""
    assert prod.config.liquidity.promises


@pytest.mark.parametrize(
    ("promises", "message"),
    [
        (
            (dataclasses.replace(PROMISE, partner="Nobody"),),
            "0.partner: must be one of MakerOne, MakerTwo, was 'Nobody'",
        ),
        (
            (dataclasses.replace(PROMISE, symbol="BTCEUR"),),
            "0.symbol: must be one of BTCIDR, BTCUSDT, ETHIDR, ETHUSDT, was 'BTCEUR'",
        ),
        (
            (dataclasses.replace(PROMISE, tier="gold"),),
            "0.tier: must be one of market_maker, professional, standard, was 'gold'",
        ),
        ((PROMISE, PROMISE), "1: must be the partner's one promise for the market, was 'BTCIDR'"),
    ],
)
def test_a_promise_names_what_there_is(promises: tuple[QuotePromise, ...], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(dataclasses.replace(PROD, liquidity=LiquidityConfig(promises=promises)))
    assert str(caught.value) == f"config/environments.py: prod.liquidity.promises.{message}"

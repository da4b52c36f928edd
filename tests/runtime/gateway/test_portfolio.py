"""What an account holds, as a signed client asks for it: cost, results and shares of real trades."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from config.markets import CATALOGUE
from runtime.gateway import answers_portfolio
from runtime.shared import messages as m
from tests.runtime.gateway.test_endpoints import ask, refused
from tests.runtime.gateway.world import Trader, World

ROUTE = "GET /sapi/v1/portfolio/holdings"
TICK, LOT = 100, 100_000
"""Ticks in a tether, lots in a bitcoin."""
ONE = Decimal(1)


def trade(world: World, buyer: Trader, seller: Trader, price: int, lots: int) -> None:
    """Let `seller` rest and `buyer` take, at a price in tether."""
    world.rest_order(seller.account, m.SELL, price * TICK, lots, f"{seller.name}-{price}")
    world.rest_order(buyer.account, m.BUY, price * TICK, lots, f"{buyer.name}-{price}")


def held(answer: Any, asset: str) -> Any:
    (found,) = [each for each in answer["holdings"] if each["asset"] == asset]
    return found


def test_cost_results_and_shares_of_what_was_traded() -> None:
    world = World()
    (tier,) = (each for each in CATALOGUE.tiers if each.id == 1)
    fee, maker_fee = (Decimal(each) / 10**6 for each in (tier.taker_ppm, tier.maker_ppm))
    trade(world, world.ana, world.budi, 60_000, LOT)
    trade(world, world.budi, world.ana, 66_000, LOT * 4 // 10)
    answer = ask(world, ROUTE, world.ana, currency="USDT")
    coin = held(answer, "BTC")
    bought = ONE * (1 - fee)
    (cost,) = coin["costs"]
    assert cost["currency"] == "USDT"
    assert Decimal(coin["quantity"]) == 10 + bought - Decimal("0.4")
    assert Decimal(cost["quantity"]) == bought - Decimal("0.4"), "what was bought is sold before what came by transfer"
    assert Decimal(coin["uncosted"]) == 10
    left = 60_000 * (bought - Decimal("0.4")) / bought
    assert abs(Decimal(cost["cost"]) - left) < Decimal("0.0000001")
    earned = Decimal("0.4") * 66_000 * (1 - maker_fee) - (60_000 - left)
    assert abs(Decimal(cost["realized"]) - earned) < Decimal("0.0000001")
    worth = Decimal(cost["quantity"]) * 66_000
    assert Decimal(cost["unrealized"]) == worth - Decimal(cost["cost"])
    cash = held(answer, "USDT")
    assert Decimal(coin["value"]) == Decimal(coin["quantity"]) * 66_000
    assert cash["value"] == cash["quantity"]
    assert Decimal(answer["value"]) == Decimal(coin["value"]) + Decimal(cash["value"])
    assert Decimal(coin["share"]) + Decimal(cash["share"]) == 1
    assert answer["withoutPrice"] == []
    assert all(isinstance(each, str) for each in (answer["value"], cost["cost"], coin["share"]))
    assert world.ledger.waited_for[-1] == world.engine.core.sequence, "an account finds its own last trade"


def test_what_has_no_price_is_named_and_has_no_result() -> None:
    world = World()
    world.engine.apply(m.Deposit(world.ana.account, CATALOGUE.asset("ETH").id, 5, "ether"))
    trade(world, world.ana, world.budi, 60_000, LOT)
    answer = ask(world, ROUTE, world.ana, currency="IDR")
    assert answer["withoutPrice"] == ["BTC", "ETH", "USDT"]
    assert Decimal(answer["value"]) == 0
    coin = held(answer, "BTC")
    assert "value" not in coin
    assert Decimal(coin["costs"][0]["unrealized"]) < 0, (
        "that result is in tether, whatever is asked for: the fee is lost"
    )


def test_a_market_that_never_traded_makes_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    trade(world, world.ana, world.budi, 60_000, LOT)

    async def none() -> dict[int, int]:
        return {}

    monkeypatch.setattr(world.ledger, "last_prices", none)
    answer = ask(world, ROUTE, world.ana, currency="USDT")
    assert "unrealized" not in held(answer, "BTC")["costs"][0]
    assert answer["withoutPrice"] == ["BTC"]


def test_each_account_sees_its_own_and_an_empty_one_nothing() -> None:
    world = World()
    trade(world, world.ana, world.budi, 60_000, LOT)
    mine, theirs = (ask(world, ROUTE, each, currency="USDT") for each in (world.ana, world.budi))
    assert held(mine, "BTC")["costs"][0]["quantity"] != "0.00000000"
    assert Decimal(held(theirs, "BTC")["quantity"]) == 9
    empty = Trader("citra", world.engine.open("citra"), "HMAC", world.keys)
    assert ask(world, ROUTE, empty, currency="USDT") == {
        "currency": "USDT",
        "value": "0.00000000",
        "holdings": [],
        "withoutPrice": [],
    }


def test_more_postings_than_are_folded_for_one_answer_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    count = len(asyncio.run(world.ledger.account_postings(world.ana.account, 10**6)) or ())
    monkeypatch.setattr(answers_portfolio, "LINES_MAX", count)
    assert ask(world, ROUTE, world.ana, currency="USDT")["holdings"]
    monkeypatch.setattr(answers_portfolio, "LINES_MAX", count - 1)
    assert refused(world, ROUTE, world.ana, currency="USDT").code == -1020


def test_it_needs_a_signature_a_readers_key_and_a_known_asset() -> None:
    world = World()
    assert refused(world, ROUTE, currency="USDT").code == -1102
    trader = Trader("trader", world.ana.account, "HMAC", world.keys, permissions={"TRADE"})
    assert refused(world, ROUTE, trader, currency="USDT").code == -2015
    assert refused(world, ROUTE, world.ana).code == -1102
    assert (
        refused(world, ROUTE, world.ana, currency="DOGE").code
        == refused(world, "GET /sapi/v1/capital/deposit/address", world.ana, coin="DOGE").code
    )

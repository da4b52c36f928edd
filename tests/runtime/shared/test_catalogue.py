"""A wrong catalogue is one message that names entry, field, value and what is allowed."""

import json
from typing import Any

import pytest

from config.markets import CATALOGUE
from runtime.shared.catalogue import CatalogueError, read_catalogue


def changed(path: str, value: Any) -> str:
    document = json.loads(CATALOGUE.to_json())
    *steps, last = path.split(".")
    place = document
    for step in steps:
        place = place[int(step) if step.isdigit() else step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return json.dumps(document)


def test_what_is_written_is_read_back() -> None:
    assert read_catalogue(CATALOGUE.to_json(), "here") == CATALOGUE


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("assets.0.name", "btc", "assets.0.name: .*'btc'"),
        ("assets.0.decimals", 19, "assets.0.decimals: .*18, was 19"),
        ("assets.1.name", "BTC", "assets: BTC listed twice"),
        ("assets.1.id", 1, "assets: ids .* are not unique"),
        ("markets.0.base", "DOGE", r"markets\[DOGEUSDT\].base: was DOGE, allowed: BTC, ETH, USDT, IDR"),
        ("markets.0.base", "USDT", r"markets\[USDTUSDT\].quote: was USDT, allowed: an asset other"),
        ("markets.0.tick", "0", r"markets\[BTCUSDT\].tick: was 0"),
        ("markets.0.tick", "0.000000001", r"\.tick: was 0.000000001, allowed: a positive multiple of 10\*\*-8"),
        ("markets.2.tick", "1", r"\.tick: was 1, allowed: a tick that times the lot 0.00001"),
        ("markets.0.lot", "0.000000001", r"\.lot: was 0.000000001, allowed: a positive multiple of 10\*\*-8 BTC"),
        ("markets.0.lot", "-1", "markets.0.lot: must be a plain decimal"),
        ("markets.0.min_price", "0.015", r"\.min_price: was 0.015, allowed: a multiple of the tick 0.01"),
        ("markets.0.max_price", "0.00", r"\.max_price: was 0.00"),
        ("markets.0.min_quantity", "10000", r"\.min_quantity: was 10000, allowed: more than zero and at most max_quan"),
        ("markets.0.max_quantity", "99999999999999", r"\.max_quantity: .* fewer than"),
        ("markets.0.max_notional", "99999999999999999", r"\.max_notional: .* at most"),
        ("markets.0.max_price", "999999999999999", r"\.max_price: .* fewer than"),
        ("tiers.0.taker_ppm", 50_001, "tiers.0.taker_ppm: .*50001"),
        ("tiers.0.colour", "red", "tiers.0.colour: Extra inputs are not permitted"),
        ("tiers", [], "tiers: .*at least 1 item"),
        ("markets.0.tick", None, "markets.0.tick: Field required"),
        ("format", 2, "format: Input should be 1, was 2"),
    ],
)
def test_wrong_values(path: str, value: Any, message: str) -> None:
    with pytest.raises(CatalogueError, match=message) as refusal:
        read_catalogue(changed(path, value), "SSM parameter x")
    assert str(refusal.value).startswith("SSM parameter x: ")
    assert "\n" not in str(refusal.value)


def test_prices_in_ticks_and_back() -> None:
    market = CATALOGUE.market_by_symbol["BTCIDR"]
    assert market.ticks("977123000") == 977_123
    assert market.price_text(977_123) == "977123000.00000000"
    with pytest.raises(ValueError, match="multiple of the tick 1000, was 977123500"):
        market.ticks("977123500")

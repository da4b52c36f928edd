"""What can be asked for, and what a wrong asking is told."""

import pytest

from config.markets import CATALOGUE
from runtime.controls.rules import ControlError, control_of, is_looser
from runtime.shared.messages import AUCTION, CANCEL_ONLY, HALT, TRADING
from tests.runtime.controls.desk import BTC


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("status", BTC, "open", {}), "value: must be one of trading, cancel-only, halt, was 'open'"),
        (("withdrawals", "", "trading", {}), "value: must be one of open, halt, was 'trading'"),
        (("status", "DOGEUSDT", "halt", {}), "symbol: must be ALL or one of .*BTCUSDT.*, was 'DOGEUSDT'"),
        (("limits", "ALL", "", {"band_up_ppm": 1}), "symbol: limits are of one market, was ALL"),
        (("limits", BTC, "", {}), "limits: must be some of band_down_ppm, .*, was none"),
        (("limits", BTC, "", {"tick": "1"}), "limits: must be some of band_down_ppm, .*, was tick"),
        (("limits", BTC, "", {"band_up_ppm": -1}), f"limits of {BTC}: "),
    ],
)
def test_what_cannot_be_done_is_told_with_what_is_allowed(
    asked: tuple[str, str, str, dict[str, int]], told: str
) -> None:
    with pytest.raises(ControlError, match=told):
        control_of(*asked, CATALOGUE)


def test_all_markets_are_as_many_settings() -> None:
    settings = control_of("status", "ALL", "halt", {}, CATALOGUE).settings(CATALOGUE)
    assert settings == tuple(f"status#{market.symbol}" for market in CATALOGUE.markets)


@pytest.mark.parametrize(
    ("wanted", "loose"),
    [("halt", {CANCEL_ONLY, TRADING, AUCTION}), ("cancel-only", {TRADING, AUCTION}), ("trading", set())],
)
def test_looser_is_whatever_lets_more_happen(wanted: str, loose: set[int]) -> None:
    assert {status for status in (HALT, CANCEL_ONLY, TRADING, AUCTION) if is_looser(wanted, status)} == loose

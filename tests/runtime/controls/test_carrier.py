"""Every way of a control: alone, asked, approved, overtaken, with the engine away, and a step that comes late."""

import asyncio

import pytest

from config.markets import CATALOGUE
from runtime.controls.carrier import NotApprovedError
from runtime.shared.business_events import CaseOpened, ControlChanged, MarketStatusChanged
from runtime.shared.engine_link import EngineUnavailableError
from runtime.shared.messages import CANCEL_ONLY, HALT, TRADING
from runtime.shared.request_table import StatusError
from runtime.withdrawals.approvals import ApprovalError
from tests.runtime.controls.desk import BTC, ETH, FIRST, SECOND, THIRD, Desk


def test_one_operator_halts_a_market_at_once_and_a_case_tells_a_second_person(desk: Desk) -> None:
    assert desk.alone("halt-0001", "status", BTC, "halt") == "done"
    assert (desk.engine.status(BTC), desk.engine.status(ETH)) == (HALT, TRADING)
    kinds = [type(event) for event in desk.events]
    assert kinds == [CaseOpened, MarketStatusChanged, ControlChanged]


def test_one_operator_halts_everything_by_one_command(desk: Desk) -> None:
    desk.alone("halt-0001", "status", "ALL", "halt")
    assert set(desk.engine.statuses.values()) == {HALT}
    assert len(desk.engine.sent) == 1
    assert all(desk.register.wanted(f"status#{market.symbol}").is_told for market in CATALOGUE.markets)


@pytest.mark.parametrize("asked", [("status", BTC, "trading"), ("withdrawals", "", "open")])
def test_nobody_opens_anything_alone(desk: Desk, asked: tuple[str, ...]) -> None:
    with pytest.raises(NotApprovedError, match="2 approvals are needed"):
        desk.alone("open-0001", *asked)
    assert desk.engine.sent == []


def test_cancel_only_is_safer_than_trading_but_opens_a_halted_market(desk: Desk) -> None:
    desk.alone("only-0001", "status", BTC, "cancel-only")
    assert desk.engine.status(BTC) == CANCEL_ONLY
    desk.alone("halt-0001", "status", BTC, "halt")
    with pytest.raises(StatusError, match="cancel-only would open what is halted"):
        desk.alone("only-0002", "status", BTC, "cancel-only")
    assert desk.engine.status(BTC) == HALT


def test_two_signatures_open_and_one_does_not(desk: Desk) -> None:
    desk.alone("halt-0001", "status", BTC, "halt")
    desk.ask("open-0001", "status", BTC, "trading")
    desk.sign("open-0001", FIRST)
    with pytest.raises(NotApprovedError, match="2 approvals are needed, 1 count"):
        desk.approved("open-0001")
    assert desk.engine.status(BTC) == HALT
    desk.sign("open-0001", FIRST)  # the same person again is still one
    with pytest.raises(NotApprovedError, match="1 count"):
        desk.approved("open-0001")
    desk.sign("open-0001", SECOND)
    assert desk.approved("open-0001") == "done"
    assert desk.engine.status(BTC) == TRADING


def test_an_expired_signature_does_not_count(desk: Desk) -> None:
    desk.ask("open-0001", "status", BTC, "trading")
    desk.sign("open-0001", FIRST, life_s=60)
    desk.sign("open-0001", SECOND)
    desk.now_s += 60
    with pytest.raises(NotApprovedError, match="1 count"):
        desk.approved("open-0001")


def test_who_asked_does_not_sign(desk: Desk) -> None:
    desk.ask("open-0001", "status", BTC, "trading")
    with pytest.raises(ApprovalError, match="asked for themselves"):
        desk.sign("open-0001", THIRD)


def test_a_signature_of_one_control_counts_for_no_other(desk: Desk) -> None:
    desk.ask("open-0001", "status", BTC, "trading")
    desk.sign("open-0001", FIRST)
    desk.ask("open-0002", "status", ETH, "trading")
    (word,) = [text for name, text in desk.register.control("open-0001").items() if name.startswith("approval#")]
    approver = next(name for name in desk.register.control("open-0001") if name.startswith("approval#"))[9:]
    desk.register.approve("open-0002", approver, word)
    with pytest.raises(NotApprovedError, match="0 count"):
        desk.approved("open-0002")


def test_a_yes_is_of_the_halt_that_was_looked_at_and_of_no_later_one(desk: Desk) -> None:
    desk.alone("halt-0001", "status", BTC, "halt")
    desk.ask("open-0001", "status", BTC, "trading")
    desk.sign("open-0001", FIRST, SECOND)
    desk.alone("halt-0002", "status", BTC, "halt")
    with pytest.raises(StatusError, match="changed since control open-0001 was asked for"):
        desk.approved("open-0001")
    assert desk.engine.status(BTC) == HALT


def test_a_late_retry_of_an_opening_repeats_the_newer_halt(desk: Desk) -> None:
    desk.ask("open-0001", "status", BTC, "trading")
    desk.sign("open-0001", FIRST, SECOND)
    desk.engine.is_away = True
    with pytest.raises(EngineUnavailableError):
        desk.approved("open-0001")
    desk.engine.is_away = False
    desk.alone("halt-0001", "status", BTC, "halt")
    assert desk.approved("open-0001") == "superseded"
    assert desk.engine.status(BTC) == HALT


def test_a_halt_that_comes_while_an_opening_is_told_is_told_last(desk: Desk) -> None:
    desk.ask("open-0001", "status", BTC, "trading")
    desk.sign("open-0001", FIRST, SECOND)
    desk.ask("halt-0001", "status", BTC, "halt")
    desk.engine.before_reply.append(lambda: desk.register.take("halt-0001", ("trading", "halt")))
    assert desk.approved("open-0001") == "superseded"
    assert desk.engine.status(BTC) == HALT


def test_a_halt_of_one_market_while_all_are_opened_is_told_last(desk: Desk) -> None:
    desk.ask("open-0001", "status", "ALL", "trading")
    desk.sign("open-0001", FIRST, SECOND)
    desk.ask("halt-0001", "status", BTC, "halt")
    desk.engine.before_reply.append(lambda: desk.register.take("halt-0001", ("trading", "halt")))
    desk.approved("open-0001")
    assert (desk.engine.status(BTC), desk.engine.status(ETH)) == (HALT, TRADING)


def test_the_watch_carries_a_halt_past_an_engine_that_was_away(desk: Desk) -> None:
    desk.engine.is_away = True
    with pytest.raises(EngineUnavailableError):
        desk.alone("halt-0001", "status", BTC, "halt")
    assert isinstance(desk.events[0], CaseOpened)  # whoever must hear of it has heard
    with pytest.raises(EngineUnavailableError):
        desk.watch()
    desk.engine.is_away = False
    assert desk.watch() == [f"status#{BTC}"]
    assert desk.engine.status(BTC) == HALT
    assert desk.register.control("halt-0001")["status"] == "done"
    assert desk.watch() == []


def test_the_watch_halts_again_what_somebody_opened_beside_it_and_leaves_what_is_safer(desk: Desk) -> None:
    desk.alone("only-0001", "status", BTC, "cancel-only")
    market = CATALOGUE.market_by_symbol[BTC].id
    desk.engine.statuses[market] = TRADING
    assert desk.watch() == [f"status#{BTC}"]
    assert desk.engine.status(BTC) == CANCEL_ONLY
    desk.engine.statuses[market] = HALT
    assert desk.watch() == []
    assert desk.engine.status(BTC) == HALT


def test_withdrawals_are_halted_alone_and_let_out_by_two(desk: Desk) -> None:
    desk.engine.is_away = True  # it is not needed
    assert desk.alone("halt-0001", "withdrawals", "", "halt") == "done"
    assert desk.withdrawals.is_halted
    desk.now_s += 10
    desk.ask("open-0001", "withdrawals", "", "open")
    desk.sign("open-0001", FIRST, SECOND)
    assert desk.approved("open-0001") == "done"
    assert not desk.withdrawals.is_halted


def test_withdrawals_that_halted_by_themselves_after_the_asking_stay_halted(desk: Desk) -> None:
    desk.ask("open-0001", "withdrawals", "", "open")
    desk.sign("open-0001", FIRST, SECOND)
    desk.withdrawals.halt("hour", desk.now_s + 5)
    desk.engine.is_away = True
    assert desk.approved("open-0001") == "superseded"
    assert desk.withdrawals.is_halted
    desk.engine.is_away = False
    assert desk.watch() == []


def test_limits_are_moved_by_two_where_the_next_leader_reads_them_and_where_the_present_one_trades(desk: Desk) -> None:
    desk.ask("limit-001", "limits", BTC, band_up_ppm=1_234_500)
    with pytest.raises(NotApprovedError):
        asyncio.run(desk.carrier.alone("limit-001"))
    desk.sign("limit-001", FIRST, SECOND)
    assert desk.approved("limit-001") == "done"
    assert desk.markets.catalogue.market_by_symbol[BTC].band_up_ppm == 1_234_500
    assert desk.engine.configured[-1].markets == desk.markets.catalogue.specs()


def test_limits_that_were_moved_one_after_another_all_outlive_a_deployment(desk: Desk) -> None:
    for name, limits in (("limit-001", {"band_up_ppm": 1_234_500}), ("limit-002", {"band_down_ppm": 54_321})):
        desk.ask(name, "limits", BTC, **limits)
        desk.sign(name, FIRST, SECOND)
        desk.approved(name)
    moved = desk.markets.catalogue
    desk.markets.catalogue = CATALOGUE  # a deployment writes its own
    assert desk.watch() == [f"limits#{BTC}"]
    assert desk.markets.catalogue == moved
    assert desk.engine.configured[-1].markets == moved.specs()
    assert desk.watch() == []


def test_what_the_engine_refuses_holds_up_no_other_setting_and_is_raised(desk: Desk) -> None:
    desk.alone("halt-0001", "status", BTC, "halt")
    desk.alone("halt-0002", "withdrawals", "", "halt")
    desk.engine.statuses[CATALOGUE.market_by_symbol[BTC].id] = TRADING
    desk.withdrawals.reopen(desk.now_s)
    desk.engine.refuses = True
    with pytest.raises(ExceptionGroup, match="other than wanted"):
        desk.watch()
    assert desk.withdrawals.is_halted


def test_the_same_control_twice_is_one_and_another_of_its_name_is_refused(desk: Desk) -> None:
    desk.alone("halt-0001", "status", BTC, "halt")
    sent = len(desk.engine.sent)
    assert desk.alone("halt-0001", "status", BTC, "halt") == "done"
    assert desk.register.wanted(f"status#{BTC}").turn == 1
    assert len(desk.engine.sent) == sent + 1  # the newest was told once more, which changes nothing
    with pytest.raises(StatusError, match="another control has the id"):
        desk.alone("halt-0001", "status", ETH, "halt")

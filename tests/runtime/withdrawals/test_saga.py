"""The whole way of a withdrawal on the true engine core, cut off at every effect it has."""

import asyncio
import json

import pytest

from runtime.shared.business_events import CaseOpened
from runtime.shared.request_table import StatusError
from runtime.withdrawals.approvals import ApprovalError
from runtime.withdrawals.register import HELD, PREPARED, REFUSED, RELEASED
from runtime.withdrawals.rules import Request, Rule
from runtime.withdrawals.teller import NotApprovedError
from tests.runtime.custody import vault
from tests.runtime.engine.test_engine import ALICE, COIN
from tests.runtime.shared.fuse import Fuse, Killed
from tests.runtime.withdrawals.office import NOW, RULE, Office


def nonces(office: Office, *names: str) -> list[int]:
    return [json.loads(office.register.withdrawal(name)["transfer"])["nonce"] for name in names]


@pytest.mark.parametrize("after", [False, True], ids=["before the effect", "after the effect"])
def test_a_process_that_ends_anywhere_neither_loses_nor_doubles(office: Office, *, after: bool) -> None:
    assert office.run(office.ask("withdrawal-whole")) == "Settled"
    effects = office.fuse.effects
    assert effects > 8
    for at in range(effects):
        free, held = office.balance
        sent, received, name = len(office.sent), office.received, f"withdrawal-{at:04}"
        office.fuse = Fuse(at, after)
        assert office.run(office.ask(name)) == "Settled", at
        assert office.fuse.effects > at
        assert office.balance == (free - 10 * COIN, held), at
        assert (len(office.sent), office.received) == (sent + 1, received + 9 * COIN), at
    names = ["withdrawal-whole", *(f"withdrawal-{at:04}" for at in range(effects))]
    assert nonces(office, *names) == list(range(effects + 1))


@pytest.mark.parametrize("after", [False, True], ids=["before the effect", "after the effect"])
def test_a_refund_is_exact_wherever_the_process_ends(office: Office, *, after: bool) -> None:
    stranger = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"
    office.know(stranger)
    before = office.balance
    assert office.run(office.ask("withdrawal-whole", destination=stranger)) == "Refused"
    effects = office.fuse.effects
    for at in range(effects):
        name = f"withdrawal-{at:04}"
        office.fuse = Fuse(at, after)
        assert office.run(office.ask(name, destination=stranger)) == "Refused", at
        assert (office.balance, office.reasons(name)) == (before, ["signer-refused"]), at
        assert nonces(office, name) == [0], at  # the place of the one before
    assert office.sent == set()
    office.fuse = Fuse()
    request = Request(
        request_id="x", account=ALICE, asked_by="a", asset="ETH", chain="ethereum", destination="", amount=1,
        receiver=None,
    )  # fmt: skip
    assert office.register.left_today(request, NOW) == 0


def test_a_large_withdrawal_needs_two_who_did_not_ask(office: Office) -> None:
    before = office.balance
    large = {"amount": 150 * COIN}
    assert office.run(office.ask("withdrawal-none", **large)) == "Refused"
    assert office.run(office.ask("withdrawal-one", **large), 0) == "Refused"
    assert office.run(office.ask("withdrawal-twice", **large), 1, 1) == "Refused"
    assert office.reasons("withdrawal-twice") == ["not-approved"]
    assert office.balance == before
    asked = office.ask("withdrawal-self", **large, asked_by=vault.public(vault.APPROVERS[0]))
    with pytest.raises(ApprovalError, match="nobody approves what they asked for"):
        office.run(asked, 0, 1)
    assert office.run(asked) == "Refused"  # the execution goes on, and frees the place in the wallet's order
    assert office.run(office.ask("withdrawal-two", **large), 0, 1) == "Settled"
    assert office.balance == (before[0] - 150 * COIN, before[1])
    assert office.decided("withdrawal-two") == ["waiting", "signed", "sent", "final"]


def test_an_approval_of_another_transfer_or_after_its_end_holds_nothing(office: Office) -> None:
    name = office.ask("withdrawal-late", amount=150 * COIN)
    for step in ("check", "prepare"):
        office.clerk.do({"step": step, "withdrawal_id": name})
    office.approve(name, 0)
    office.approve(name, 1)
    office.now_s = NOW + 601
    with pytest.raises(NotApprovedError, match="2 approvals are needed, 0 count"):
        asyncio.run(office.teller.hold(name))
    office.now_s = NOW
    changed = office.register.withdrawal(name)["transfer"].replace('"nonce":0', '"nonce":1')
    office.register.move(name, (PREPARED,), PREPARED, transfer=changed)
    with pytest.raises(NotApprovedError, match="0 count"):
        asyncio.run(office.teller.hold(name))


def test_too_much_in_an_hour_halts_everything_until_somebody_opens_again(office: Office) -> None:
    office.rule = Rule(**{name: getattr(RULE, name) for name in RULE.__dataclass_fields__} | {"hour_max": 25 * COIN})
    assert [office.run(office.ask(f"withdrawal-{n:04}")) for n in range(3)] == ["Settled", "Settled", "Refused"]
    assert office.reasons("withdrawal-0002") == ["withdrawals-halted"]
    cases = [event for event in office.events if isinstance(event, CaseOpened)]
    assert [case.kind for case in cases] == ["withdrawals-halted"]
    office.now_s = NOW + 3 * 3600
    assert office.run(office.ask("withdrawal-0003")) == "Refused"
    office.client.delete_item(TableName="withdrawals", Key={"id": {"S": "switch#halted"}})
    assert office.run(office.ask("withdrawal-0004")) == "Settled"


def test_too_many_in_an_hour_halt_everything(office: Office) -> None:
    office.count_max = 2
    ends = [office.run(office.ask(f"withdrawal-{n:04}", amount=10 * COIN)) for n in range(4)]
    assert ends == ["Settled", "Settled", "Refused", "Refused"]


def test_a_customers_day_and_lock_bound_the_customer_alone(office: Office) -> None:
    office.rule = Rule(**{name: getattr(RULE, name) for name in RULE.__dataclass_fields__} | {"day_max": 25 * COIN})
    ends = [office.run(office.ask(f"withdrawal-{n:04}")) for n in range(3)]
    assert (ends, office.reasons("withdrawal-0002")) == (["Settled", "Settled", "Refused"], ["above-day-limit"])
    assert not office.register.is_halted
    office.now_s, office.locked = NOW + 24 * 3600, frozenset({ALICE})
    assert office.run(office.ask("withdrawal-0003")) == "Refused"
    assert office.reasons("withdrawal-0003") == ["account-locked"]


def test_more_than_there_is_or_out_of_turn_moves_nothing(office: Office) -> None:
    before = office.balance
    office.rule = Rule(
        **{name: getattr(RULE, name) for name in RULE.__dataclass_fields__}
        | {"transaction_max": 10**15, "day_max": 10**15, "hour_max": 10**15, "approval_above": 10**15}
    )
    assert office.run(office.ask("withdrawal-much", amount=before[0] + 1)) == "Refused"
    assert office.reasons("withdrawal-much") == ["insufficient-balance"]
    name = office.ask("withdrawal-skip")
    for step in ("hold", "settle", "release"):
        with pytest.raises(StatusError):
            asyncio.run(office.teller.do(step, name))
    office.register.move(name, ("asked",), HELD)
    with pytest.raises(StatusError):
        asyncio.run(office.teller.settle(name))
    assert office.balance == before


def test_one_id_is_one_withdrawal(office: Office) -> None:
    office.ask("withdrawal-0001")
    office.ask("withdrawal-0001")
    with pytest.raises(StatusError, match="another withdrawal has the id"):
        office.ask("withdrawal-0001", amount=11 * COIN)


def test_no_signature_in_time_ends_with_a_person_and_the_funds_held(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, held = office.balance

    def silence(_office: Office, _name: str) -> None:
        office.now_s += 700

    monkeypatch.setattr(Office, "answer", silence)
    assert office.run(office.ask("withdrawal-lost")) == "NotDecided"
    assert office.balance == (free - 10 * COIN, held + 10 * COIN)
    assert [e.kind for e in office.events if isinstance(e, CaseOpened)] == ["withdrawal-undecided"]


@pytest.mark.parametrize("after", [False, True], ids=["before the effect", "after the effect"])
def test_a_refusal_that_broke_off_never_lends_its_place_twice(office: Office, *, after: bool) -> None:
    def prepared(name: str) -> str:
        for step in ("check", "prepare"):
            office.clerk.do({"step": step, "withdrawal_id": office.ask(name) if step == "check" else name})
        return name

    settled, reached = [], set()
    for at in range(20):
        name = prepared(f"withdrawal-a{at:03}")
        office.clerk.do({"step": "not-approved", "withdrawal_id": name})
        office.fuse = Fuse(at, after)
        try:
            office.clerk.do({"step": "refuse", "withdrawal_id": name})
            break
        except Killed:
            reached.add(office.register.withdrawal(name)["status"])
        first = prepared(f"withdrawal-b{at:03}")  # has the place of the other, if it is free already
        ends = office.run(name)  # another execution takes the refusal up
        second = prepared(f"withdrawal-c{at:03}")  # has it otherwise
        for each in sorted((first, second), key=lambda each: nonces(office, each)):
            assert office.run(each) == "Settled"
        settled += [first, second, *([name] if ends == "Settled" else [])]
    assert reached == {RELEASED, REFUSED} | (set() if after else {PREPARED})
    assert sorted(nonces(office, *settled)) == list(range(len(settled)))
    assert len(office.sent) == len(settled)
